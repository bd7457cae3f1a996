"""What a good inversion is: near in pixels, in perception and in identity, with a plausible latent.

The terms and their weights are ReStyle's and pSp's (Alaluf et al. 2021; Richardson et al. 2021),
with a re-ID model's features where theirs compare faces.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from lookalike.config import EncoderConfig
from lookalike.errors import UserError
from lookalike.metrics.imagenet import FeatureMaps

Backbone = Literal["random", "vgg16-imagenet", "alexnet-imagenet", "efficientnet-lite0"]
# What the distance is called: LPIPS is the paper's with a trained trunk alone.
NAMES: dict[Backbone, str] = {
    "random": "lpips_random",
    "vgg16-imagenet": "lpips",
    "alexnet-imagenet": "lpips",
    "efficientnet-lite0": "efficientnet_lite0",
}
FeatureNetwork = Callable[[Tensor], Tensor]  # [N, 3, H, W] in [-1, 1] -> [N, D], differentiable
RANDOM_SEED = 20180618  # any fixed number; the random backbone is part of the loss' definition


class Lpips(nn.Module):
    """LPIPS (Zhang et al. 2018) with a frozen trunk, for images as small as a crop.

    Args:
        model: of the lpips package.
        min_side: pixels below which the trunk's strides leave no map; smaller images are enlarged.
        gain: factor on the distances.
    """

    def __init__(self, model: nn.Module, min_side: int, gain: float = 1.0):
        super().__init__()
        self.model, self.min_side = model.eval().requires_grad_(False), min_side
        self.gain = gain

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Distances [N] of two [N, 3, H, W] in [-1, 1]."""
        factor = math.ceil(self.min_side / min(x.shape[2:]))
        if factor > 1:
            x, y = (F.interpolate(i, scale_factor=factor, mode="bilinear") for i in (x, y))
        distances: Tensor = self.model(x, y).flatten()
        return distances * self.gain


class FeatureDistance(nn.Module):
    """LPIPS' distance (Zhang et al. 2018) in EfficientNet-Lite0's features, without its weights.

    At each of four scales the squared difference of features of unit length, summed over channels
    and averaged over positions; then the mean over scales. It is no LPIPS, whose weights were
    fitted to people's judgements.
    """

    def __init__(self) -> None:
        super().__init__()
        self.features = FeatureMaps()

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Distances [N] of two [N, 3, H, W] in [-1, 1]."""
        with torch.no_grad():
            of_y = self.features(y)
        pairs = zip(self.features(x), of_y, strict=True)
        of_each = [(F.normalize(a) - F.normalize(b)).square().sum(1).mean((1, 2)) for a, b in pairs]
        return torch.stack(of_each).mean(0)


def perceptual_loss(backbone: Backbone, weights: Path | None = None) -> nn.Module:
    """Distances [N] of two [N, 3, H, W] in [-1, 1] as people might see them.

    `efficientnet-lite0` is `FeatureDistance`; its weights are a package of Python's.

    `random` needs no file: the paper's baseline of an untrained SqueezeNet, layers averaged without
    the learned weights, which were calibrated for trained features. It still sees edges and
    texture, but its numbers do not compare with those of a trained backbone: name the mode
    wherever they are shown.

    Args:
        backbone: which trunk.
        weights: torchvision's ImageNet state dict (.pth or .safetensors) for the trained trunks.

    Raises:
        UserError: the file or the package is missing, or does not fit the trunk.
    """
    if backbone == "efficientnet-lite0":
        return FeatureDistance()
    if backbone == "random":
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(RANDOM_SEED)
            model = _build("squeeze", lpips=False)
        # The package sums the layers; their mean is on the scale of calibrated distances, for
        # which the usual weight of 0.8 was chosen.
        return Lpips(model, 32, gain=1 / model.L)
    if weights is None or not weights.is_file():
        raise UserError(
            f"LPIPS {backbone} needs its weights ({weights or 'no file given'} is not there); "
            "see `lookalike weights`, or set encoder.perceptual_backbone: efficientnet-lite0"
        )
    name, min_side = {"vgg16-imagenet": ("vgg", 32), "alexnet-imagenet": ("alex", 64)}[backbone]
    model = _build(name)
    _load_trunk(model.net, weights)
    return Lpips(model, min_side)


def _build(trunk: str, **options: bool) -> Any:
    """The package's network; `pnet_rand` keeps torchvision from downloading the trunk.

    The learned weights of the layers ship with the package. It asks torchvision for the trunk in a
    deprecated way, which is none of the user's business.
    """
    import lpips  # training with other losses must not need it

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="torchvision.models._utils")
        return lpips.LPIPS(net=trunk, pnet_rand=True, verbose=False, **options)


def _load_trunk(trunk: nn.Module, weights: Path) -> None:
    """Fill lpips' slices from torchvision's `features.N.*`; they keep the layers' numbers."""
    try:
        if weights.suffix == ".safetensors":
            state = load_file(weights)
        else:
            state = torch.load(weights, map_location="cpu", weights_only=True)
        features = {
            key.removeprefix("features."): value
            for key, value in state.items()
            if key.startswith("features.")
        }
        trunk.load_state_dict({key: features[key.split(".", 1)[1]] for key in trunk.state_dict()})
    except (KeyError, RuntimeError, AttributeError, EOFError, SafetensorError) as error:
        line = " ".join(str(error).split())[:200]
        raise UserError(f"{weights} does not hold torchvision's weights: {line}") from error
    except Exception as error:  # torch.load's unpickling errors have no common class
        raise UserError(f"{weights} cannot be read safely: {error!s:.200}") from error


class InversionLoss:
    """The weighted sum of the terms; a term of weight zero is not computed.

    Args:
        config: holds the weights.
        w_avg: [w_dim], the generator's average latent.
        perceptual: see `perceptual_loss`.
        identity: re-ID features of images in [-1, 1].
    """

    def __init__(
        self, config: EncoderConfig, w_avg: Tensor, perceptual: nn.Module, identity: FeatureNetwork
    ):
        self.config, self.w_avg = config, w_avg
        self.perceptual, self.identity = perceptual, identity

    @torch.no_grad()
    def target(self, images: Tensor) -> Tensor | None:
        """Identity features of the real images, which stay the same over the steps."""
        return self.identity(images) if self.config.identity else None

    def __call__(
        self, images: Tensor, target: Tensor | None, reconstructions: Tensor, ws: Tensor
    ) -> dict[str, Tensor]:
        """Scalar terms by name, unweighted, and their weighted sum under `loss`.

        l2: mean squared error of pixels in [-1, 1]. Mean perceptual distance under the name of
        what it is (NAMES). identity: 1 - cosine of the re-ID
        features, in [0, 2]. latent_norm: mean Euclidean distance of ws from w_avg (pSp's
        regulariser).
        """
        config = self.config
        terms = {"l2": F.mse_loss(reconstructions, images)}
        weights = [config.l2]
        if config.perceptual:
            weights.append(config.perceptual)
            terms[NAMES[config.perceptual_backbone]] = self.perceptual(
                reconstructions, images
            ).mean()
        if target is not None:
            weights.append(config.identity)
            similarity = F.cosine_similarity(self.identity(reconstructions), target)
            terms["identity"] = 1 - similarity.mean()
        terms["latent_norm"] = (ws - self.w_avg).flatten(1).norm(dim=1).mean()
        weights.append(config.latent_norm)
        weighted = [weight * value for weight, value in zip(weights, terms.values(), strict=True)]
        return {"loss": torch.stack(weighted).sum(), **terms}
