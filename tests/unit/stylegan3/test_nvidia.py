"""Published checkpoints: the same images, and nothing but tensors and settings taken over."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from lookalike import cli, weights
from lookalike.config import GanConfig
from lookalike.errors import UserError
from lookalike.stylegan3.checkpoint import load_generator
from lookalike.stylegan3.classes import Classes
from lookalike.stylegan3.design import GeneratorConfig
from lookalike.stylegan3.discriminator import Discriminator
from lookalike.stylegan3.gan import build_gan
from lookalike.stylegan3.generator import Generator
from lookalike.stylegan3.nvidia import (
    discriminator_state,
    generator_state,
    import_checkpoint,
    read_checkpoint,
)
from lookalike.stylegan3.transfer import transfer
from lookalike.training.model_file import load_model

from .golden import assert_close, load, load_json, part
from .published import (
    EasyDict,
    Persistent,
    discriminator_kwargs,
    discriminator_tensors,
    dump,
    generator_kwargs,
    generator_tensors,
    network,
)

SMALL = GeneratorConfig(
    32, 32, z_dim=8, w_dim=6, channel_base=256, channel_max=12, num_layers=11, margin=4
)
WIDTHS = (256, 16)  # of the discriminator
NAME = "stylegan3-t-ffhqu-256"


def networks(radial: bool = False, c_dim: int = 0) -> tuple[Generator, Discriminator]:
    """Networks in which no tensor has its initial value; config R with twice the channels."""
    torch.manual_seed(0)
    widths = {"channel_base": 512, "channel_max": 24} if radial else {}
    classes = Classes("class", ("0", "1", "2")[:c_dim], (1,) * c_dim) if c_dim else None
    generator = Generator(replace(SMALL, radial=radial, c_dim=c_dim, **widths), classes)
    discriminator = Discriminator(32, 32, *WIDTHS, c_dim=c_dim)
    for module in (generator, discriminator):
        for tensor in module.state_dict().values():
            tensor.add_(0.1 * torch.rand_like(tensor))
    return generator.eval(), discriminator


def snapshot(radial: bool = False, source: str = "", c_dim: int = 0) -> dict[str, Any]:
    """What a published file holds, before it is pickled."""
    generator, discriminator = networks(radial, c_dim)
    tensors, kwargs = generator_tensors(generator), generator_kwargs(generator)
    ema = network(tensors, kwargs, "Generator", source)
    other = network({n: t + 1 for n, t in tensors.items()}, kwargs, "Generator", source)
    judge = network(
        discriminator_tensors(discriminator, 32),
        discriminator_kwargs(32, *WIDTHS, c_dim),
        "Discriminator",
        source,
    )
    pipe = network({"Hz_geom": torch.zeros(12)}, {"xflip": 1}, "AugmentPipe", source)
    return {
        "G": other,
        "D": judge,
        "G_ema": ema,
        "augment_pipe": pipe,
        "training_set_kwargs": EasyDict(class_name="ImageFolderDataset", xflip=True),
    }


@pytest.mark.parametrize("protocol", [3, 4])
@pytest.mark.parametrize("radial", [False, True])
def test_the_same_images_bit_for_bit(tmp_path: Path, radial: bool, protocol: int) -> None:
    published, output = tmp_path / "published.pkl", tmp_path / "ours.safetensors"
    published.write_bytes(dump(snapshot(radial), protocol))
    import_checkpoint(published, output, "theirs")
    generator, discriminator = networks(radial)
    loaded = load_generator(output)
    assert loaded.config == generator.config
    z = torch.randn(2, SMALL.z_dim)
    with torch.no_grad():
        assert torch.equal(loaded(z, 0.7), generator(z, 0.7))
    target = Generator(loaded.config), Discriminator(32, 32, *WIDTHS)
    report = transfer(output, *target)
    assert report.names("new") == report.names("adapted") == []
    images = torch.randn(4, 3, 32, 32)
    assert torch.equal(target[1](images), discriminator(images))
    saved = load_model(output, "stylegan3")
    provenance = {
        "source": "published.pkl",
        "source_sha256": hashlib.sha256(published.read_bytes()).hexdigest(),
        "licence": "theirs",
    }
    assert saved.recipe == provenance
    assert report.licence == "theirs"

    described = json.loads(output.with_suffix(".json").read_text())
    assert described.items() >= provenance.items()
    assert described["file"] == "ours.safetensors"
    assert described["sha256"] == hashlib.sha256(output.read_bytes()).hexdigest()
    assert described["taken"] == "G_ema (the averaged generator) and D; G was left out"
    assert described["generator"] == saved.architecture["generator"]
    assert described["discriminator"] == saved.architecture["discriminator"]
    assert {name: entry["shape"] for name, entry in described["tensors"].items()} == {
        name: list(tensor.shape) for name, tensor in saved.tensors.items()
    }
    assert {entry["dtype"] for entry in described["tensors"].values()} == {"float32"}


def test_conditional_networks_bit_for_bit(tmp_path: Path) -> None:
    published, output = tmp_path / "published.pkl", tmp_path / "ours.safetensors"
    published.write_bytes(dump(snapshot(c_dim=3)))
    assert "32x32, 3 classes, 11 layers" in str(import_checkpoint(published, output, "theirs"))
    generator, discriminator = networks(c_dim=3)
    loaded = load_generator(output)
    assert loaded.classes == Classes("class", ("0", "1", "2"), (1, 1, 1))
    z, images, labels = torch.randn(4, 8), torch.randn(4, 3, 32, 32), torch.tensor([0, 1, 2, 1])
    read = read_checkpoint(published)
    with torch.no_grad():
        assert torch.equal(loaded(z, 0.7, labels=labels), generator(z, 0.7, labels=labels))
        assert torch.equal(read.discriminator(images, labels), discriminator(images, labels))


def test_config_r_fits_the_parameters_that_name_half_its_channels(
    tmp_path: Path, config: GanConfig
) -> None:
    """As the published R checkpoints: channel_base 65536 for gan.channel_base 32768."""
    published, output = tmp_path / "published.pkl", tmp_path / "ours.safetensors"
    published.write_bytes(dump(snapshot(radial=True)))
    import_checkpoint(published, output, "theirs")
    sizes = {"height": 32, "width": 16, "z_dim": 8, "w_dim": 6, "margin": 4, "num_layers": 11}
    widths = {"channel_base": 256, "channel_max": 12}
    judges = {"discriminator_channel_base": WIDTHS[0], "discriminator_channel_max": WIDTHS[1]}
    gan = build_gan(config.model_copy(update={"config": "r", **sizes, **widths, **judges}), 1)
    report = transfer(output, gan.generator, gan.discriminator)
    assert report.names("new") == []
    assert report.names("adapted") == ["discriminator.fc.weight"]


def test_golden_numbers(tmp_path: Path) -> None:
    arrays, judge = load("stylegan3_t_64.npz"), load("discriminator_64.npz")
    kwargs = load_json("stylegan3_t_64.json")["kwargs"]
    content = {
        "G_ema": network(part(arrays, "G."), kwargs, "Generator"),
        "D": network(part(judge, "D."), discriminator_kwargs(64, 512, 16), "Discriminator"),
    }
    path = tmp_path / "golden.pkl"
    path.write_bytes(dump(content))
    checkpoint = read_checkpoint(path)
    assert_close(checkpoint.generator(arrays["z"][:1]), arrays["image"][:1])
    assert_close(checkpoint.generator.mapping(arrays["z"], 0.7), arrays["ws_psi07"])
    assert_close(checkpoint.discriminator(judge["x"]), judge["logits"])


def test_source_code_in_the_file_is_not_run(tmp_path: Path) -> None:
    marker, path = tmp_path / "marker", tmp_path / "published.pkl"
    path.write_bytes(dump(snapshot(source=f"open({str(marker)!r}, 'w').close()")))
    assert read_checkpoint(path).generator.config == SMALL
    assert not marker.exists()


def test_networks_of_fp32_are_taken_and_it_is_said(tmp_path: Path) -> None:
    """NVIDIA's `--fp32` sets these two; the weights are the same kind of weights."""
    published, output = tmp_path / "published.pkl", tmp_path / "ours.safetensors"
    content = snapshot()
    published.write_bytes(dump(content))
    plain = read_checkpoint(published)
    for role in ("G_ema", "D"):
        settings(role, conv_clamp=None, num_fp16_res=0)(content)
    published.write_bytes(dump(content))
    checkpoint = import_checkpoint(published, output, "theirs")
    assert str(checkpoint).endswith("; made with --fp32: here activations beyond 256 are cut")
    assert json.loads(output.with_suffix(".json").read_text())["clamped"] is False
    assert "fp32" not in str(plain)
    z = torch.randn(2, SMALL.z_dim)
    assert torch.equal(checkpoint.generator(z), plain.generator(z))


def test_the_command_puts_it_where_gan_start_finds_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(weights.VARIABLE, raising=False)
    published = Path("weights") / weights.FILES[NAME].imported_from
    published.parent.mkdir()
    with pytest.raises(UserError, match=r"put stylegan3-t-ffhqu-256x256.pkl at .*weights import"):
        weights.find(NAME, Path())
    published.write_bytes(dump(snapshot()))
    with pytest.raises(UserError, match=r"is there: run `lookalike weights import"):
        weights.find(NAME, Path())

    def run(*arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", ["lookalike", "weights", "import", *arguments])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        return f"{caught.value.code or 0}: {capsys.readouterr().err}"

    assert "StyleGAN3-T 32x32, 11 layers" in run(str(published), "--dry-run")
    assert list(published.parent.iterdir()) == [published], "a dry run"
    assert "NOT commercial" in run(str(published))
    found = weights.find(NAME, Path())
    assert found == published.with_suffix(".safetensors")
    assert load_generator(found).config == SMALL
    mine = found.rename("weights/mine.safetensors")
    assert weights.find("mine.safetensors", Path()) == mine
    assert run("no.pkl").startswith("2: error: no file at no.pkl")
    assert "must end in .safetensors" in run(str(published), "--output", "x.pkl")


def settings(network: str, **changes: object) -> Callable[[dict[str, Any]], None]:
    return lambda content: content[network].meta["state"]["_init_kwargs"].update(changes)


def part_of(content: dict[str, Any], name: str, *path: str) -> dict[str, Any]:
    """The state of a part of a network."""
    state: dict[str, Any] = content[name].meta["state"]
    for step in path:
        state = state["_modules"][step].meta["state"]
    return state


def foreign_tensor(content: dict[str, Any]) -> None:
    part_of(content, "G_ema", "synthesis")["_buffers"]["noise"] = torch.zeros(2)


def missing_tensor(content: dict[str, Any]) -> None:
    del part_of(content, "D", "b16", "conv0")["_parameters"]["bias"]


def part_twice(content: dict[str, Any]) -> None:
    blocks = part_of(content, "D")["_modules"]
    blocks["b16"] = blocks["b8"]


def stylegan2(content: dict[str, Any]) -> None:
    block = network({"const": torch.zeros(4, 4, 4)}, {}, "SynthesisBlock")
    part_of(content, "G_ema", "synthesis")["_modules"]["b4"] = block


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda content: content.pop("G_ema"), "no networks called G_ema and D"),
        (lambda content: content.update(D=[1]), "is no network"),
        (
            settings("G_ema", c_dim=6),
            r"mapping\.embed\.weight is absent, its settings demand \(6, 6\)",
        ),
        (
            settings("D", c_dim=6),
            r"out\.weight is \(1, 16\), its settings demand \(16, 16\)",
        ),
        (settings("D", mapping_kwargs={"num_layers": 2}), "num_layers is 2, here it is 8"),
        (settings("D", mapping_kwargs=[1]), "D.mapping: settings of unknown form"),
        (settings("D", c_dim=-1), "c_dim is -1, expected 0 to"),
        (settings("G_ema", conv_clamp="x"), "conv_clamp is x, here it is 256"),
        (settings("D", conv_clamp=128), "conv_clamp is 128, here it is 256"),
        (settings("D", architecture=None), "architecture is another value, here it is resnet"),
        (settings("G_ema", colour="blue"), "G_ema was made with colour, unknown here"),
        (settings("G_ema", use_radial_filters=True), "neither config T nor config R"),
        (settings("G_ema", mapping_kwargs={"lr_multiplier": 1}), "lr_multiplier is 1, here"),
        (settings("G_ema", img_resolution=24), "img_resolution is 24, expected a power of two"),
        (settings("D", architecture="skip"), "architecture is skip, here it is resnet"),
        (foreign_tensor, r"tensors without counterpart: synthesis\.noise"),
        (missing_tensor, r"blocks\.1\.conv0\.bias is absent, its settings demand \(16,\)"),
        (part_twice, r"the part b\d+\. is no network, or used twice"),
        (stylegan2, "a generator of StyleGAN2"),
        # Settings that claim more than the file holds: refused before anything is allocated.
        (
            settings("G_ema", channel_base=2**24, channel_max=2**16),
            r"input\.weight is \(12, 12\), its",
        ),
        (
            settings("G_ema", w_dim=2**16),
            r"mapping\.w_avg is \(6,\), its settings demand \(65536,\)",
        ),
        (settings("G_ema", num_layers=10**9), "num_layers is 1000000000, expected 1 to 64"),
        (
            settings("G_ema", mapping_kwargs={"num_layers": 65}),
            "num_layers is 65, expected 1 to 64",
        ),
        (settings("G_ema", num_layers=12), r"layers\.8\.weight is \(10, 12, 3, 3\), its"),
        (settings("G_ema", img_resolution=2**40), "img_resolution is 1099511627776, expected"),
        (settings("G_ema", first_stopband=1e-300), "first_stopband is 1e-300, expected"),
        (settings("G_ema", margin_size=10**6), "margin_size is 1000000"),
        (
            settings("D", channel_base=2**24, channel_max=2**16),
            r"from_rgb\.weight is \(8, 3, 1, 1\)",
        ),
        (
            settings("D", img_resolution=1024, channel_max=16),
            "channel_base is 256, expected 1024 to",
        ),
        (settings("D", channel_max=0), "channel_max is 0, expected 1 to"),
        (settings("D", img_resolution=2048), "img_resolution is 2048, expected 16 to 1024"),
        # Settings that change what the discriminator's weights mean.
        (
            settings("D", epilogue_kwargs={"mbstd_group_size": 8}),
            "D.epilogue: mbstd_group_size is 8, here it is 4",
        ),
        (
            settings("D", block_kwargs={"resample_filter": [1, 2, 1]}),
            r"D.block: resample_filter is \[1, 2, 1\], here it is \[1, 3, 3, 1\]",
        ),
        (settings("D", block_kwargs={"colour": 1}), "D.block was made with colour, unknown here"),
        (settings("G_ema", epilogue_kwargs={}), "G_ema was made with epilogue_kwargs, unknown"),
    ],
)
def test_what_has_no_counterpart_is_refused(
    tmp_path: Path, change: Callable[[dict[str, Any]], None], message: str
) -> None:
    content = snapshot()
    change(content)
    path = tmp_path / "published.pkl"
    path.write_bytes(dump(content))
    with pytest.raises(UserError, match=message) as caught:
        read_checkpoint(path)
    assert str(caught.value).startswith(f"{path} is refused, and nothing in it was run")
    assert "\n" not in str(caught.value)


def widest_claim(content: dict[str, Any]) -> None:
    """Tensors that agree with the largest width, but for the one that would take 16 GiB."""
    change = settings("G_ema", z_dim=1, w_dim=2**16)
    change(content)
    mapping = part_of(content, "G_ema", "mapping")
    mapping["_buffers"]["w_avg"] = torch.zeros(2**16)
    for name, columns in (("fc0", 1), ("fc1", 0)):
        layer = part_of(content, "G_ema", "mapping", name)["_parameters"]
        layer["weight"] = torch.zeros(2**16, 1) if columns else torch.zeros(1)
        layer["bias"] = torch.zeros(2**16)


def test_nothing_of_a_claimed_size_is_allocated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content, path = snapshot(), tmp_path / "published.pkl"
    widest_claim(content)
    path.write_bytes(dump(content))

    def shapes_only(*arguments: Any) -> Generator:
        assert torch.empty(0).device.type == "meta"
        return Generator(*arguments)

    monkeypatch.setitem(read_checkpoint.__globals__, "Generator", shapes_only)
    with pytest.raises(UserError, match=r"layers\.1\.weight is \(1,\), its settings demand"):
        read_checkpoint(path)


def test_many_small_layers_are_refused(tmp_path: Path) -> None:
    """Their filters would have the canvas's size, however few their channels."""
    kwargs = generator_kwargs(networks()[0]) | {"num_layers": 200, "img_resolution": 1024}
    tensors = {f"synthesis.L{i}_1024_1.weight": torch.zeros(1, 1, 3, 3) for i in range(201)}
    content, path = snapshot(), tmp_path / "published.pkl"
    content["G_ema"] = network(tensors, kwargs, "Generator")
    path.write_bytes(dump(content))
    with pytest.raises(UserError, match="num_layers is 200, expected 1 to 64"):
        read_checkpoint(path)


def nested(depth: int, name: str) -> Persistent:
    """Parts within parts, all under one name that the file holds once."""
    part = network({"const": torch.zeros(1)}, {}, "Part")
    for _ in range(depth):
        outer = network({}, {}, "Part")
        outer.meta["state"]["_modules"][name] = part
        part = outer
    return part


@pytest.mark.parametrize(
    ("part", "message"),
    [
        (lambda: nested(60, "a"), "nested deeper than 8"),
        (lambda: nested(1, "a" * 100_000), "a name of more than 128 characters"),
        (lambda: nested(8, "a" * 20), "a name of more than 128 characters"),
        (lambda: network({f"a{i}": torch.zeros(1) for i in range(5000)}, {}, "Part"), "than 4096"),
    ],
)
def test_names_do_not_grow_without_bound(
    tmp_path: Path, part: Callable[[], Persistent], message: str
) -> None:
    content, path = snapshot(), tmp_path / "published.pkl"
    content["D"] = part()
    path.write_bytes(dump(content))
    with pytest.raises(UserError, match=message) as caught:
        read_checkpoint(path)
    assert len(str(caught.value)) < 500
    assert "\n" not in str(caught.value)


def test_an_unreadable_file_is_a_line() -> None:
    if not (path := Path("/proc/self/mem")).is_file():
        pytest.skip("a file of Linux that is there and cannot be read")
    with pytest.raises(UserError, match=r"cannot read /proc/self/mem: .*Input/output error"):
        read_checkpoint(path)


def test_a_description_of_something_else_is_not_overwritten(tmp_path: Path) -> None:
    published, output = tmp_path / "published.pkl", tmp_path / "ours.safetensors"
    published.write_bytes(dump(snapshot()))
    description = output.with_suffix(".json")
    for other in ("{}", '{"file": "other.safetensors"}', "no JSON", "[1]"):
        description.write_text(other)
        with pytest.raises(UserError, match=r"ours.json is there .* --output"):
            import_checkpoint(published, output, "theirs")
        assert description.read_text() == other
        assert not output.exists()
    description.unlink()
    for _ in range(2):  # its own it replaces
        import_checkpoint(published, output, "theirs")
    assert json.loads(description.read_text())["file"] == output.name
    assert sorted(tmp_path.iterdir()) == sorted([published, output, description])


# As published: `stylegan3-r-ffhqu-256x256.pkl`, with what conditional networks have besides.
PUBLISHED_LAYERS = """
    L0_36_1024 L1_36_1024 L2_36_1024 L3_52_1024 L4_52_1024 L5_84_1024 L6_84_1024 L7_148_724
    L8_148_512 L9_148_362 L10_276_256 L11_276_181 L12_276_128 L13_256_128 L14_256_3
""".split()  # noqa: SIM905 - a table of words
PUBLISHED_GENERATOR = {
    *("mapping.w_avg", "mapping.embed.weight", "mapping.embed.bias"),
    *("mapping.fc0.weight", "mapping.fc0.bias", "mapping.fc1.weight", "mapping.fc1.bias"),
    *("synthesis.input.weight", "synthesis.input.transform", "synthesis.input.freqs"),
    *("synthesis.input.phases", "synthesis.input.affine.weight", "synthesis.input.affine.bias"),
    *(
        f"synthesis.{layer}.{tensor}"
        for layer in PUBLISHED_LAYERS
        for tensor in ("weight", "bias", "magnitude_ema", "affine.weight", "affine.bias")
    ),
    *(f"synthesis.{la}.{f}" for la in PUBLISHED_LAYERS[:-1] for f in ("up_filter", "down_filter")),
}
PUBLISHED_DISCRIMINATOR = {
    *("b256.fromrgb.weight", "b256.fromrgb.bias", "b256.fromrgb.resample_filter"),
    *(
        f"b{side}.{tensor}"
        for side in (256, 128, 64, 32, 16, 8)
        for tensor in (
            *("resample_filter", "skip.weight", "skip.resample_filter"),
            *("conv0.weight", "conv0.bias", "conv0.resample_filter"),
            *("conv1.weight", "conv1.bias", "conv1.resample_filter"),
        )
    ),
    *("b4.conv.weight", "b4.conv.bias", "b4.conv.resample_filter", "b4.fc.weight", "b4.fc.bias"),
    *("b4.out.weight", "b4.out.bias", "mapping.embed.weight", "mapping.embed.bias"),
    *(f"mapping.fc{i}.{tensor}" for i in range(8) for tensor in ("weight", "bias")),
}


def test_the_published_names_of_conditional_config_r() -> None:
    classes = Classes("class", ("0", "1", "2"), (1, 1, 1))
    config = GeneratorConfig(
        256, 256, channel_base=32768, channel_max=1024, radial=True, c_dim=len(classes.names)
    )
    with torch.device("meta"):  # shapes only
        generator, discriminator = Generator(config, classes), Discriminator(256, 256, c_dim=3)
    for i, layer in enumerate(generator.synthesis.design.layers):
        assert PUBLISHED_LAYERS[i] == f"L{i}_{layer.out_size[0]}_{layer.out_channels}"
    names = {name: torch.empty(0) for name in PUBLISHED_GENERATOR}
    assert generator_state(names).keys() == generator.state_dict().keys()
    names = {name: torch.empty(0) for name in PUBLISHED_DISCRIMINATOR}
    assert discriminator_state(names).keys() == discriminator.state_dict().keys()
