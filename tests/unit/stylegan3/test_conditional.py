"""Labels in both networks, names of classes on disk, and transfer from an unconditional source."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from lookalike.errors import UserError
from lookalike.stylegan3.checkpoint import (
    DiscriminatorConfig,
    load_generator,
    save_gan,
)
from lookalike.stylegan3.classes import Classes
from lookalike.stylegan3.design import GeneratorConfig
from lookalike.stylegan3.discriminator import Discriminator
from lookalike.stylegan3.generator import Generator
from lookalike.stylegan3.transfer import transfer
from lookalike.training.model_file import load_model

PLAIN = GeneratorConfig(
    16, 8, z_dim=6, w_dim=8, channel_base=64, channel_max=8, num_layers=4, margin=2
)
CAMERAS = Classes("camera", ("1", "2", "6"), (5, 1, 2))


def networks(seed: int, classes: Classes | None = CAMERAS) -> tuple[Generator, Discriminator]:
    torch.manual_seed(seed)
    c_dim = len(classes.names) if classes else 0
    generator = Generator(replace(PLAIN, c_dim=c_dim), classes)
    return generator, Discriminator(16, 8, channel_base=64, channel_max=8, c_dim=c_dim)


def save(path: Path, classes: Classes | None = CAMERAS) -> tuple[Generator, Discriminator]:
    generator, discriminator = networks(0, classes)
    generator.mapping.w_avg.normal_()
    save_gan(path, generator, discriminator, DiscriminatorConfig(64, 8), {})
    return generator, discriminator


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "gan.safetensors"


def normalised(x: np.ndarray) -> np.ndarray:
    scaled: np.ndarray = x / np.sqrt((x**2).mean(1, keepdims=True))
    return scaled


def layer(x: np.ndarray, state: dict[str, Tensor], name: str, lr_mul: float) -> np.ndarray:
    weight, bias = (state[f"{name}.{part}"].numpy().astype(float) for part in ("weight", "bias"))
    y: np.ndarray = x @ weight.T * lr_mul / np.sqrt(weight.shape[1]) + bias * lr_mul
    return y


def lrelu(x: np.ndarray) -> np.ndarray:
    y: np.ndarray = np.where(x > 0, x, 0.2 * x) * np.sqrt(2)
    return y


def test_the_mapping_gets_z_and_the_label() -> None:
    generator, _ = networks(0)
    state = generator.state_dict()
    torch.nn.init.normal_(state["mapping.embed.bias"])
    z, labels = torch.randn(3, 6), torch.tensor([2, 0, 2])
    embedding = layer(np.eye(3)[labels], state, "mapping.embed", 1.0)
    x = np.concatenate([normalised(z.numpy()), normalised(embedding)], axis=1)
    for i in range(2):
        x = lrelu(layer(x, state, f"mapping.layers.{i}", 0.01))
    with torch.no_grad():
        ws = generator.mapping(z, labels=labels)
    np.testing.assert_allclose(ws[:, 0], x, rtol=1e-4, atol=1e-5)
    with torch.no_grad():
        generator(z, collect_statistics=True, labels=labels)
    mean = generator.pending_statistics()["mapping.w_avg"]
    np.testing.assert_allclose(mean, x.mean(0), rtol=1e-4, atol=1e-5)


def test_the_logit_is_the_product_with_the_mapped_label() -> None:
    _, discriminator = networks(0)
    state = discriminator.state_dict()
    images, labels = torch.randn(3, 3, 16, 8), torch.tensor([2, 0, 1])
    features: list[Tensor] = []
    discriminator.out.register_forward_hook(lambda _, __, y: features.append(y))
    with torch.no_grad():
        logits = discriminator(images, labels)
    x = normalised(layer(np.eye(3)[labels], state, "mapping.embed", 1.0))
    for i in range(8):
        x = lrelu(layer(x, state, f"mapping.layers.{i}", 0.01))
    expected = (features[0].numpy() * x).sum(1, keepdims=True) / np.sqrt(8)
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-5)
    assert "mapping.layers.8.weight" not in state
    names = {id(p): name for name, p in discriminator.named_parameters()}
    assert {names[id(p)] for p in discriminator.trainable_parameters()} == set(names.values())


def test_without_classes_there_is_no_trace_of_them(path: Path) -> None:
    generator, discriminator = save(path, None)
    names = [*generator.state_dict(), *(f"D.{name}" for name in discriminator.state_dict())]
    assert not [name for name in names if "embed" in name or name.startswith("D.mapping")]
    assert generator.mapping.layers[0].weight.shape == (8, 6)
    architecture = load_model(path, "stylegan3").architecture
    assert "classes" not in architecture
    assert "c_dim" not in architecture["generator"]


def test_classes_are_kept_by_name(path: Path) -> None:
    generator, _ = save(path)
    loaded = load_generator(path)
    assert loaded.classes == CAMERAS
    assert loaded.config == generator.config
    z, labels = torch.randn(2, 6), torch.tensor([1, 2])
    with torch.no_grad():
        assert torch.equal(loaded(z, labels=labels), generator(z, labels=labels))
    assert loaded.classes.label("6") == 2
    with pytest.raises(UserError, match=r"no class '3': the generator knows camera 1, 2, 6"):
        loaded.classes.label("3")


def test_classes_of_a_training_set() -> None:
    classes, labels = Classes.of("person", ["0007", "0002", "0007", "0011"])
    assert classes == Classes("person", ("0002", "0007", "0011"), (1, 2, 1))
    assert labels.tolist() == [1, 0, 1, 2]
    drawn = Classes("person", ("a", "b", "c"), (1, 0, 3)).draw(4000, np.random.default_rng(0))
    shares = np.bincount(drawn, minlength=3) / 4000
    np.testing.assert_allclose(shares, [0.25, 0, 0.75], atol=0.03)
    many = Classes("person", tuple(f"{i:04d}" for i in range(700)), (1,) * 700)
    with pytest.raises(UserError, match=r"0000, .*0007 and 692 more$"):
        many.label("x")


def test_an_unconditional_source_draws_as_before_in_every_class(path: Path) -> None:
    source, judge = save(path, None)
    target = networks(1)
    fresh = [network.state_dict() for network in networks(1)]
    report = transfer(path, *target)
    table = {tensor.name: tensor for tensor in report.tensors}
    assert report.names("adapted") == ["generator.mapping.layers.0.weight"]
    assert table["generator.mapping.layers.0.weight"].reason == (
        "z's columns are the source's, the embedding's start at zero"
    )
    mapping = [
        f"discriminator.mapping.layers.{i}.{p}" for i in range(8) for p in ("weight", "bias")
    ]
    assert report.names("new") == [
        "generator.mapping.embed.weight",
        "generator.mapping.embed.bias",
        "discriminator.out.weight",
        "discriminator.out.bias",
        "discriminator.mapping.embed.weight",
        "discriminator.mapping.embed.bias",
        *mapping,
    ]
    for name in report.names("new"):
        role, _, own = name.partition(".")
        network = ("generator", "discriminator").index(role)
        assert torch.equal(target[network].state_dict()[own], fresh[network][own]), name
    assert torch.equal(target[1].fc.weight, judge.fc.weight)
    z = torch.randn(3, 6)
    with torch.no_grad():
        images = target[0](z, 0.8, labels=torch.tensor([0, 1, 2]))
        torch.testing.assert_close(images, source(z, 0.8), rtol=1e-4, atol=1e-5)
    # The embedding starts to count as soon as there is a gradient.
    target[0](z, labels=torch.tensor([0, 1, 2])).square().sum().backward()
    gradient = target[0].mapping.layers[0].weight.grad
    assert gradient is not None
    assert gradient[:, 6:].abs().sum() > 0


def test_other_classes_are_not_taken_for_the_own_ones(path: Path) -> None:
    save(path)
    same = transfer(path, *networks(1))
    assert same.names("new") == same.names("adapted") == []
    others = Classes("camera", ("1", "2", "7"), (5, 1, 2))
    report = transfer(path, *networks(1, others))
    assert report.names("new") == [
        f"{role}.mapping.embed.{part}"
        for role in ("generator", "discriminator")
        for part in ("weight", "bias")
    ]
    assert {t.reason for t in report.tensors if t.outcome == "new"} == {
        "the source has other classes"
    }
