"""What turns an image into the vector that the head works on: ResNet50, or any model of timm.

ResNet50 is torchvision's, with the changes of the re-ID recipes. Others come from timm as they are,
without their classifier, each with the pooling that it was published with.
"""

from __future__ import annotations

import difflib
import re
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from lookalike.config import RESNET50
from lookalike.errors import UserError

# Of timm's own registry: no "hf-hub:" or "local-dir:", which would fetch or read something else.
NAME = re.compile(r"[a-z0-9][a-z0-9_.]*")


def timm_backbone(name: str, height: int, width: int) -> tuple[nn.Module, int]:
    """A model of timm, untrained, from torch's random state.

    Args:
        name: one of `timm.list_models()`.
        height, width: of the images; transformers are built for one size.

    Returns:
        The network, float [N, 3, height, width] -> [N, D], and D.

    Raises:
        ValueError: timm has no such model, or not in this size; one line.
    """
    network: Any = _create(name, height, width)
    if not hasattr(network, "forward_intermediates"):
        raise ValueError(f"reid.backbone: {name} tells no feature maps; take another model")
    return network, int(network.head_hidden_size)


def timm_state(name: str, height: int, width: int, path: Path) -> dict[str, Tensor]:
    """The tensors of `timm_backbone` from a file that timm publishes, for this size of images.

    Raises:
        UserError: no such file, or it is not that model's.
    """
    if not path.is_file():
        raise UserError(f"no weights at {path}; see `lookalike doctor`")
    try:
        state = _create(name, height, width, path).state_dict()
    except ValueError as error:
        raise UserError(str(error)) from error
    with safe_open(path, framework="pt") as file:
        given = set(file.keys())
    # timm itself takes what fits and is silent about the rest.
    missing = [n for n in state if n not in given and not n.endswith("num_batches_tracked")]
    if missing:
        raise UserError(
            f"{path} is not the weights of {name}: {len(missing)} tensors are missing "
            f"({', '.join(missing[:3])})"
        )
    return state


def feature_maps(network: Any, x: Tensor) -> dict[str, Tensor]:
    """The maps [N, C, H, W] of a backbone's stages, the first one first, by name.

    `x` is what the backbone takes: images normalised as ImageNet's.
    """
    if hasattr(network, "forward_intermediates"):
        maps = network.forward_intermediates(x, intermediates_only=True)
        return {f"stage{number}": found for number, found in enumerate(maps, start=1)}
    found: dict[str, Tensor] = {}

    def keep(name: str, layer: nn.Module) -> Any:
        return layer.register_forward_hook(lambda _module, _x, y: found.update({name: y}))

    names = ("layer1", "layer2", "layer3", "layer4")
    hooks = [keep(name, getattr(network, name)) for name in names]
    try:
        network(x)
    finally:
        for hook in hooks:
            hook.remove()
    return found


def _create(name: str, height: int, width: int, weights: Path | None = None) -> nn.Module:
    import timm

    published = timm.get_pretrained_cfg(name) if _known(name) else None
    if published is None:
        close = ", ".join(difflib.get_close_matches(name, timm.list_models()))
        raise ValueError(
            f"reid.backbone: timm has no model {name}{f' (close: {close})' if close else ''}; "
            f"take {RESNET50} or one of timm.list_models()"
        )
    options: dict[str, Any] = {"num_classes": 0, "pretrained": weights is not None}
    if published.fixed_input_size:
        options["img_size"] = height, width
    if weights:
        options["pretrained_cfg_overlay"] = {"file": str(weights)}
    try:
        return timm.create_model(name, **options)
    except (AssertionError, RuntimeError, SafetensorError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())[:300]
        place = f"{weights} is not the weights of {name}" if weights else f"{name} cannot be built"
        raise ValueError(f"reid.backbone: {place} for {height}x{width} images: {reason}") from error


def _known(name: str) -> bool:
    import timm

    return bool(NAME.fullmatch(name)) and timm.is_model(name)
