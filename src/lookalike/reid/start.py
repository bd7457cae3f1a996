"""Where the training of a re-ID network starts: nowhere, or at published weights."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from lookalike.config import PACKAGED, RESNET50, ReidConfig
from lookalike.files import sha256_file
from lookalike.metrics import imagenet
from lookalike.reid.backbone import timm_state
from lookalike.reid.model import read_state
from lookalike.weights import find


def starting_weights(config: ReidConfig, root: Path) -> tuple[dict[str, Tensor] | None, str]:
    """What `load_imagenet` takes, from what `config.weights` stands for, and its SHA-256.

    Args:
        config: the recipe.
        root: the repository root, where files of weights are looked for.

    Returns:
        The tensors and the digest; None and "" where training starts from scratch.

    Raises:
        UserError: they are missing, damaged, or of another backbone.
    """
    if config.weights == "none":
        return None, ""
    if config.weights in PACKAGED:
        return imagenet.backbone_state(config.weights), imagenet.NETWORKS[config.weights].sha256
    path = find(config.weights, root)
    if config.backbone == RESNET50:
        state = read_state(path)
    else:
        state = timm_state(config.backbone, config.height, config.width, path)
    return state, sha256_file(path)
