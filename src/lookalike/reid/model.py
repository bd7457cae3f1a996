"""The network for re-identification: a backbone, the study's head or BNNeck; its weights file.

Images come in [-1, 1], as everywhere in this project; ImageNet's normalisation happens inside, so
that nothing outside can forget it or do it twice.
"""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn
from torchvision.models import resnet50

from lookalike.config import RESNET50, ReidConfig
from lookalike.errors import UserError
from lookalike.reid.backbone import feature_maps, timm_backbone
from lookalike.reid.convolution import use_products
from lookalike.training.model_file import (
    Kind,
    build_fitting,
    load_model,
    one_line,
    read_settings,
    save_model,
    unreadable,
)

KIND: Kind = "reid"
IMAGENET_MEAN = (0.485, 0.456, 0.406)  # of RGB in [0, 1]
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class ReidArchitecture:
    """Everything that determines the network: a new field has the default that older files mean.

    Raises ``ValueError`` if there can be no such network.
    """

    num_classes: int
    """Persons to tell apart while training."""
    height: int
    """Of the images that it is trained for, pixels; kept for whoever embeds with it."""
    width: int
    embedding_dim: int | None
    """Width of the fc layer, D; None leaves it out, and D is the backbone's (2048 of ResNet50)."""
    dropout: float
    """Probability, before the classifier only."""
    last_stride: Literal[1, 2]
    """Of layer4; 1 doubles its resolution (Luo et al. 2019, 2.4)."""
    pooling: Literal["average", "gem"] = "average"
    """gem: the generalised mean (Radenovic et al. 2018)."""
    ibn: bool = False
    """Instance norm on half of the channels in layers 1 to 3 (IBN-a, Pan et al. 2018)."""
    bnneck: bool = False
    """Batch norm without shift and classifier without bias (Luo et al. 2019, 2.5), which lets
    cross-entropy and metric losses work on either side of the batch norm."""
    backbone: str = RESNET50
    """Or a model of timm, which has no other stride, pooling or norms than its own."""

    def __post_init__(self) -> None:
        if min(self.height, self.width) < 1:
            raise ValueError("height and width must be at least 1")


class ReidNet(nn.Module):
    """Backbone -> [fc ->] batch norm -> dropout -> one output per person."""

    mean: Tensor
    std: Tensor

    def __init__(self, architecture: ReidArchitecture):
        super().__init__()
        self.architecture = architecture
        self.height, self.width = architecture.height, architecture.width
        embedding_dim, bnneck = architecture.embedding_dim, architecture.bnneck
        if architecture.backbone == RESNET50:
            self.backbone, pooled = _resnet50(architecture)
        else:
            self.backbone, pooled = timm_backbone(architecture.backbone, self.height, self.width)
        self.embedding = nn.Linear(pooled, embedding_dim) if embedding_dim else nn.Identity()
        self.norm = nn.BatchNorm1d(embedding_dim or pooled)
        self.dropout = nn.Dropout(architecture.dropout)
        self.classifier = nn.Linear(self.embedding_dim, architecture.num_classes, bias=not bnneck)
        if isinstance(self.embedding, nn.Linear):
            nn.init.kaiming_normal_(self.embedding.weight, mode="fan_out", nonlinearity="linear")
            nn.init.zeros_(self.embedding.bias)
        # Almost equal outputs at first, so that the first gradients are small.
        nn.init.normal_(self.classifier.weight, std=0.001)
        if bnneck:
            self.norm.bias.requires_grad_(False)
        else:
            nn.init.zeros_(self.classifier.bias)
        for name, values in (("mean", IMAGENET_MEAN), ("std", IMAGENET_STD)):
            # Normalisation of [-1, 1] is that of [0, 1] seen through x -> 2x - 1.
            tensor = torch.tensor(values).view(1, 3, 1, 1) * 2
            self.register_buffer(name, tensor - 1 if name == "mean" else tensor, persistent=False)
        # The weights' layout decides that of the activations, whatever the images have.
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    @property
    def embedding_dim(self) -> int:
        """Length of the embedding, D."""
        return self.norm.num_features

    def before_norm(self, x: Tensor) -> Tensor:
        """What metric losses compare while training, [N, D]; images as for `features`."""
        embedding: Tensor = self.embedding(self.backbone((x - self.mean) / self.std))
        return embedding

    def maps(self, x: Tensor) -> dict[str, Tensor]:
        """Feature maps [N, C, H, W] of the backbone's stages, by name; images as for `features`."""
        return feature_maps(self.backbone, (x - self.mean) / self.std)

    def features(self, x: Tensor) -> Tensor:
        """The embedding [N, D] that cosine ranking compares: after batch norm, before dropout.

        Not of unit length; differentiable with respect to the images, float [N, 3, H, W] in
        [-1, 1] of any size (height and width are what it was trained for).
        """
        embedding: Tensor = self.norm(self.before_norm(x))
        return embedding

    def classify(self, before_norm: Tensor) -> Tensor:
        """Logits [N, num_classes] of what `before_norm` returned."""
        logits: Tensor = self.classifier(self.dropout(self.norm(before_norm)))
        return logits

    def forward(self, x: Tensor) -> Tensor:
        """Logits [N, num_classes]."""
        return self.classify(self.before_norm(x))


def _resnet50(architecture: ReidArchitecture) -> tuple[nn.Module, int]:
    """ResNet50 (He et al. 2016) with the changes of the recipes, and the width of its output."""
    # Residual branches start at zero (Goyal et al. 2017), which short trainings from scratch
    # need; loaded weights replace it.
    network = resnet50(weights=None, zero_init_residual=True)
    if architecture.last_stride == 1:
        block = network.layer4[0]
        block.conv2.stride = block.downsample[0].stride = (1, 1)
    if architecture.ibn:
        for layer in (network.layer1, network.layer2, network.layer3):
            for block in layer:
                block.bn1 = InstanceBatchNorm(block.bn1.num_features)
    use_products(network)
    if architecture.pooling == "gem":
        network.avgpool = GeneralisedMean()
    pooled = network.fc.in_features
    network.fc = nn.Identity()
    return network, pooled


class InstanceBatchNorm(nn.BatchNorm2d):
    """Instance norm on the first half of the channels, batch norm on the others (IBN-a).

    Its parameters and buffers are those of the batch norm that it replaces, so that ResNet50's
    weights fit; the running statistics of the first half are not used.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Normalise [N, C, H, W]."""
        half = self.num_features // 2
        assert self.running_mean is not None and self.running_var is not None
        instance = F.instance_norm(
            x[:, :half], weight=self.weight[:half], bias=self.bias[:half], eps=self.eps
        )
        batch = F.batch_norm(
            x[:, half:],
            self.running_mean[half:],
            self.running_var[half:],
            self.weight[half:],
            self.bias[half:],
            self.training,
            self.momentum or 0.0,
            self.eps,
        )
        return torch.cat([instance, batch], dim=1)


class GeneralisedMean(nn.Module):
    """Pooling [N, C, H, W] -> [N, C, 1, 1] by the mean of p-th powers, p learned from 3."""

    def __init__(self) -> None:
        super().__init__()
        self.p = nn.Parameter(torch.tensor(3.0))

    def forward(self, x: Tensor) -> Tensor:
        """(mean of x^p)^(1/p) over all pixels; in float32, because powers leave bf16's range."""
        powers = x.float().clamp(min=1e-6) ** self.p
        return powers.mean(dim=(2, 3), keepdim=True) ** (1 / self.p)


def new_reid(config: ReidConfig, num_classes: int) -> ReidNet:
    """An untrained network, from torch's random state.

    Raises:
        UserError: there is no such backbone.
    """
    architecture = ReidArchitecture(
        num_classes,
        config.height,
        config.width,
        config.embedding_dim,
        config.dropout,
        config.last_stride,
        pooling=config.pooling,
        ibn=config.ibn,
        bnneck=config.bnneck,
        backbone=config.backbone,
    )
    try:
        return ReidNet(architecture)
    except ValueError as error:
        raise UserError(str(error)) from error


def score_settings(model: ReidNet) -> dict[str, Any]:
    """What changes a model's score besides its weights; stored with them and with results."""
    return {
        "height": model.height,
        "width": model.width,
        "resize": "Pillow bicubic, antialiased",
        "colour": "RGB in [0, 1]",
        "mean": list(IMAGENET_MEAN),
        "std": list(IMAGENET_STD),
        "feature": "after batch norm, before dropout",
        "unit_length": True,
        "distance": "cosine",
    }


def save_reid(path: Path, model: ReidNet, config: ReidConfig, classes: list[str]) -> None:
    """Write the weights with everything that is needed to use them again.

    Args:
        path: safetensors file to write.
        model: the network.
        config: what it was trained with.
        classes: person ids in the order of the classifier's outputs.
    """
    assert len(classes) == model.classifier.out_features
    recipe = {
        "reid": config.recipe,
        "classes": classes,
        # Averaging with the mirror image is the embedder's choice and recorded by evaluation.
        "score": {**score_settings(model), "flip": "chosen when embedding"},
    }
    architecture = asdict(model.architecture)
    if model.architecture.backbone == RESNET50:
        del architecture["backbone"]  # so that the same network is the same file as ever
    save_model(path, KIND, model.state_dict(), architecture, recipe)


def load_reid(path: Path) -> ReidNet:
    """Read what `save_reid` wrote, today or by an older version; in evaluation mode.

    Raises:
        UserError: the file is missing, damaged, of another kind or of a newer version.
    """
    found = load_model(path, KIND)
    try:
        architecture = read_settings(ReidArchitecture, found.architecture, KIND)
        return build_fitting(lambda: ReidNet(architecture), found.tensors).eval()
    except ValueError as error:
        raise unreadable(path, error) from error


def read_classes(path: Path) -> list[str]:
    """The persons that the outputs of a model file stand for, in their order.

    Raises:
        UserError: as `load_reid`, or the file does not say.
    """
    classes = load_model(path, KIND).recipe.get("classes")
    if not isinstance(classes, list):
        raise UserError(f"{path} does not name the persons of its outputs; run `dvc repro`")
    return [str(name) for name in classes]


def read_state(path: Path) -> dict[str, Tensor]:
    """A published state dict: safetensors, or PyTorch's format with tensors and nothing else.

    Raises:
        UserError: missing, damaged, or something other than tensors in it.
    """
    try:
        if path.suffix == ".safetensors":
            return dict(load_file(path))
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise UserError(f"no weights at {path}; see `lookalike doctor`") from error
    except (pickle.UnpicklingError, RuntimeError, EOFError, zipfile.BadZipFile) as error:
        raise UserError(f"{path} is not a safe state dict: {one_line(error)}") from error
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise UserError(f"{path} is not a state dict: it must map names to tensors")
    return state


def load_imagenet(model: ReidNet, source: Mapping[str, Tensor] | Path) -> str:
    """Load published weights into the backbone; of torchvision's the classifier `fc.*` is dropped.

    Returns a line that says what was loaded. Every tensor must be there and have its shape; only
    the batch counters may be missing, as they are in files from before PyTorch 1.0. GeM's power
    is no part of them and stays.

    Raises:
        UserError: tensors are missing, unknown or of another shape; names the first ones.
    """
    state = read_state(source) if isinstance(source, Path) else source
    name = model.architecture.backbone
    shown = "ResNet50" if name == RESNET50 else name
    dropped = sorted(name for name in state if name.startswith("fc.") and shown == "ResNet50")
    given = {name: tensor for name, tensor in state.items() if name not in dropped}
    own = model.backbone.state_dict()
    optional = ("num_batches_tracked", "avgpool.p")
    missing = [n for n in own if n not in given and not n.endswith(optional)]
    unknown = [n for n in given if n not in own]
    misshapen = [n for n in given if n in own and given[n].shape != own[n].shape]
    problems = [
        f"{len(names)} {what} ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})"
        for what, names in (
            ("missing", missing),
            ("unknown", unknown),
            ("of another shape", misshapen),
        )
        if names
    ]
    if problems:
        raise UserError(f"not {shown}'s weights: tensors {'; '.join(problems)}")
    model.backbone.load_state_dict(given, strict=False)
    return f"{shown}: {len(given)} tensors loaded, dropped {', '.join(dropped) or 'nothing'}"


@contextmanager
def exact_float32(device: torch.device) -> Iterator[None]:
    """Float32 as such: no autocast, no TF32, whatever the caller has allowed."""
    before, convolutions = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False  # allowed unless told otherwise
    try:
        with torch.autocast(device.type, enabled=False):
            yield
    finally:
        torch.set_float32_matmul_precision(before)
        torch.backends.cudnn.allow_tf32 = convolutions
