"""Files of weights of the right shapes with random numbers in them, for a rehearsal alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
import torchvision

from lookalike.config import Config, GanConfig
from lookalike.errors import UserError
from lookalike.filtering.untrained_yolo import write_untrained
from lookalike.metrics.features import inception_network
from lookalike.stylegan3.checkpoint import DiscriminatorConfig, save_gan
from lookalike.stylegan3.gan import build_gan
from lookalike.weights import FILES, required_for, status

# The published generators by their names: their configuration, and what they have in common.
FFHQ = {"stylegan3-t-ffhqu-256": "t", "stylegan3-r-ffhqu-256": "r"}
SQUARE = {
    "height": 256,
    "width": 256,
    "channel_base": 16384,
    "channel_max": 512,
    "discriminator_channel_base": 16384,
    "discriminator_channel_max": 512,
    "z_dim": 512,
    "w_dim": 512,
    "num_layers": 14,
    "margin": 10,
}


def bring_weights(config: Config, root: Path, folder: Path) -> list[str]:
    """Link what the profile reads and `root` has into `folder`; write a stand-in for the rest.

    Returns:
        Names of the stand-ins, in the order of `weights.required_for`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    missing = []
    for entry in status(dict.fromkeys(required_for(config)), root):
        if entry.file.shipped:
            continue
        if entry.usable:
            target = folder / entry.file.file_name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.symlink_to(entry.path.resolve())
        else:
            missing.append(entry.file.name)
    for name in missing:
        write_stand_in(name, config, folder)
    return missing


def write_stand_in(name: str, config: Config, folder: Path) -> None:
    """One file of `weights.FILES`, or the generator of `gan.start`, in the shapes of the real one.

    Raises:
        UserError: another file of the user's own, whose shapes nobody knows.
    """
    torch.manual_seed(0)
    if name.startswith("yolov4-tiny"):
        write_untrained(folder)  # both
    elif name in STATES:
        torch.save(STATES[name](), folder / FILES[name].file_name)
    elif name != config.gan.start:
        raise UserError(f"nothing can stand in for {name}: put it into weights/ first")
    else:
        path = folder / (FILES[name].file_name if name in FILES else name)
        path.parent.mkdir(parents=True, exist_ok=True)
        _write_gan(config.gan, path, published=FFHQ.get(name))


def _write_gan(config: GanConfig, path: Path, *, published: str | None) -> None:
    """A pair of networks of the profile, or the published pair of a configuration, T or R."""
    square = SQUARE | {"config": published} if published else {}
    plain = config.model_copy(update={"condition": "none", "discriminator": "stylegan"} | square)
    gan = build_gan(plain, seed=0)
    widths = DiscriminatorConfig(plain.discriminator_channel_base, plain.discriminator_channel_max)
    save_gan(path, gan.average, gan.discriminator, widths, {"start": "random weights"})


def _classifier(build: Callable[..., torch.nn.Module]) -> Callable[[], dict[str, torch.Tensor]]:
    return lambda: build(weights=None).state_dict()


STATES: dict[str, Callable[[], dict[str, torch.Tensor]]] = {
    "resnet50-imagenet": _classifier(torchvision.models.resnet50),
    "vgg16-imagenet": _classifier(torchvision.models.vgg16),
    "alexnet-imagenet": _classifier(torchvision.models.alexnet),
    "inception-2015": lambda: inception_network().state_dict(),
}
