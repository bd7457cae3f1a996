import pytest
import torch

from lookalike.stylegan3.loss import hinge_discriminator_loss, hinge_generator_loss
from lookalike.stylegan3.projected import MIXED, Mix, ProjectedDiscriminator


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    return torch.rand(4, 3, 64, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1


def projected(c_dim: int = 0, height: int = 64, width: int = 32) -> ProjectedDiscriminator:
    torch.manual_seed(3)
    return ProjectedDiscriminator(height, width, c_dim)


def test_every_head_judges_positions(images: torch.Tensor) -> None:
    assert projected()(images).shape == (4, 4 * 8)  # four heads, maps of 4x2


@pytest.mark.parametrize("size", [(64, 64), (96, 40), (32, 8), (128, 48), (50, 50)])
def test_takes_any_canvas(size: tuple[int, int]) -> None:
    logits = projected(height=size[0], width=size[1])(torch.zeros(2, 3, *size))
    assert torch.isfinite(logits).all()


def test_only_heads_are_trained_and_their_loss_reaches_the_image(images: torch.Tensor) -> None:
    network = projected()
    assert {name.split(".")[0] for name, p in network.named_parameters() if p.requires_grad} == {
        "heads"
    }
    seen = images.clone().requires_grad_()
    hinge_generator_loss(network(seen)).backward()
    assert seen.grad is not None
    assert (seen.grad.abs().sum((1, 2, 3)) > 0).all()


def test_the_mix_is_the_same_for_a_seed_whatever_torch_has_drawn() -> None:
    torch.manual_seed(1)
    one = Mix((24, 40, 112, 320), 1).state_dict()
    torch.manual_seed(2)
    same, other = Mix((24, 40, 112, 320), 1).state_dict(), Mix((24, 40, 112, 320), 2).state_dict()
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not any(torch.equal(one[name], other[name]) for name in one)


def test_coarse_maps_reach_all_finer_ones_and_not_the_other_way() -> None:
    mix = Mix((24, 40, 112, 320), 1)
    maps = [torch.zeros(1, c, 32 >> i, 16 >> i) for i, c in enumerate((24, 40, 112, 320))]
    coarsest = [*maps[:3], torch.ones_like(maps[3])]
    assert [bool(m.any()) for m in mix(coarsest)] == [True] * 4
    finest = [torch.ones_like(maps[0]), *maps[1:]]
    assert [bool(m.any()) for m in mix(finest)] == [True, False, False, False]
    assert [m.shape[1] for m in mix(maps)] == list(MIXED)


def test_parts_of_a_batch_are_judged_as_the_whole(images: torch.Tensor) -> None:
    network = projected()
    parts = torch.cat([network(images[:1]), network(images[1:])])
    torch.testing.assert_close(parts, network(images), rtol=1e-4, atol=1e-4)


def test_spectral_norms_move_when_told_only(images: torch.Tensor) -> None:
    network = projected()
    before = {name: b.clone() for name, b in network.heads.named_buffers()}
    network.train()
    network(images)
    assert all(torch.equal(b, before[name]) for name, b in network.heads.named_buffers())
    for _ in range(60):
        network.normalise()
    weights = [m.weight for m in network.heads.modules() if isinstance(m, torch.nn.Conv2d)]
    norms = [torch.linalg.matrix_norm(w.detach().flatten(1), 2).item() for w in weights]
    assert norms == pytest.approx([1.0] * len(norms), rel=0.02)


def test_labels_matter_once_they_are_trained(images: torch.Tensor) -> None:
    network = projected(c_dim=2)
    zeros, ones = torch.zeros(4, dtype=torch.int64), torch.ones(4, dtype=torch.int64)
    assert torch.equal(network(images, zeros), network(images, ones))
    network(images, zeros).sum().backward()
    with torch.no_grad():
        for head in network.heads:
            head.embed.weight -= head.embed.weight.grad  # type: ignore[operator, union-attr]
    assert not torch.equal(network(images, zeros), network(images, ones))


def test_hinge_losses() -> None:
    real, fake = torch.tensor([[2.0, 0.5]]), torch.tensor([[-3.0, 0.0]])
    assert hinge_discriminator_loss(real, fake) == pytest.approx(0.25 + 0.5)
    assert hinge_generator_loss(fake) == pytest.approx(1.5)
