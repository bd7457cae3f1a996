"""An embedder as one ONNX graph: pictures of any size in, unit-length embeddings out.

Preprocessing is part of the graph, resize included, so that nothing outside can do it another way.
ONNX's own Resize has other rounding than Pillow, and runtimes differ in what they support of it, so
the resize is written as two matrix products. They give Pillow's bytes, all of them.

The graph is traced by PyTorch's older exporter: the newer one needs two packages more, and several
times as long. The exported graph is always run and compared with PyTorch before it is written.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from lookalike.data.loading import Images
from lookalike.errors import UserError
from lookalike.files import replacing
from lookalike.reid.embedder import Embedder

INPUT, OUTPUT = "images", "embeddings"
OPSET = 18
TOLERANCE = 1e-4  # between the components of an embedding here and there
FRACTION = 2.0**22  # Pillow rounds its weights to so many parts of 1
CUBIC = -0.5  # the kernel's parameter a (Keys 1981)


def export_onnx(embedder: Embedder, path: Path, description: Mapping[str, str]) -> float:
    """Write an embedder as ONNX, with weights inside.

    The graph takes `images`, uint8 RGB [N, H, W, 3] with any N, H and W, and gives `embeddings`,
    float32 [N, D] of unit length.

    Args:
        embedder: on the CPU; with or without flip averaging, which becomes part of the graph.
        path: the file to write; its folder is made where it is missing.
        description: kept as the file's metadata.

    Returns:
        The largest difference between ONNX Runtime and PyTorch on pictures of several sizes, in
        batches of several lengths.

    Raises:
        UserError: they differ by more than 1e-4, or the network gives no finite numbers.
    """
    import onnx

    graph = onnx.load_from_string(trace(_Graph(embedder)))
    graph.doc_string = "uint8 RGB [N, H, W, 3] to person embeddings of unit length, float32 [N, D]"
    onnx.helper.set_model_props(graph, dict(description))
    onnx.checker.check_model(graph)
    data = graph.SerializeToString()
    difference = _difference(data, embedder)
    if not difference <= TOLERANCE:  # also NaN
        raise UserError(
            f"cannot export: ONNX Runtime and PyTorch differ by {difference:.1e}, more than "
            f"{TOLERANCE:.0e}; the weights may hold numbers that are not finite"
        )
    with replacing(path) as partial:
        partial.write_bytes(data)
    return difference


def run_onnx(graph: Path | bytes, pictures: Sequence[Images]) -> npt.NDArray[np.float32]:
    """Embeddings by ONNX Runtime on the CPU, float32 [N, D], of pictures of any sizes.

    Args:
        graph: of `export_onnx`.
        pictures: uint8 [H, W, 3], which are sent one by one, and [N, H, W, 3], which are sent at
            once; at least one.
    """
    import onnxruntime

    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    batches = (picture if picture.ndim == 4 else picture[None] for picture in pictures)
    found = [session.run([OUTPUT], {INPUT: batch})[0] for batch in batches]
    return np.concatenate(found)


def resize_like_pillow(images: Tensor, height: int, width: int) -> Tensor:
    """What `data.loading.resize` does, in operations that ONNX has.

    Pillow's antialiased bicubic kernel: along one side, round to bytes, along the other, round. Of
    float64, because Pillow's integers are exact too.

    Args:
        images: uint8 [N, H, W, 3].

    Returns:
        float64 [N, 3, height, width] with whole numbers in [0, 255].
    """
    pixels = images.permute(0, 3, 1, 2).to(torch.float64)
    down, tall = _weights(pixels.shape[2], height)
    across, wide = _weights(pixels.shape[3], width)
    across = across.T
    across_first = _round(down @ _round(pixels @ across))
    down_first = _round(_round(down @ pixels) @ across)
    # As Pillow 13 orders the passes: height first where much more of it goes away than of width.
    return torch.where((tall > 0) & (tall > 2 * wide), down_first, across_first)


def _weights(size: int, target: int) -> tuple[Tensor, Tensor]:
    """Weights [target, size] of the pixels along one side, and by how many the side shrinks.

    `size` stays symbolic while tracing, so its value is taken by counting; as a vector of one
    number, because the exporter would make a scalar a float32, which thirds of a pixel do not fit.
    """
    pixels = torch.ones(size, dtype=torch.float64)
    count = pixels.sum(0, keepdim=True)
    scale = count / target
    stretch = scale.clamp(min=1.0)  # the antialiasing: the kernel covers what a new pixel covers
    centres = (torch.arange(target, dtype=torch.float64) + 0.5) * scale
    places = pixels.cumsum(0) - 0.5
    x = ((places[None] - centres[:, None]) / stretch).abs()
    near = ((CUBIC + 2) * x - (CUBIC + 3)) * x * x + 1
    far = (((x - 5) * x + 8) * x - 4) * CUBIC
    weights = torch.where(x < 1, near, torch.where(x < 2, far, torch.zeros_like(x)))
    weights = weights / weights.sum(dim=1, keepdim=True)
    return (weights * FRACTION + 0.5).floor() / FRACTION, count - target


def _round(x: Tensor) -> Tensor:
    return (x + 0.5).floor().clamp(0, 255)


class _Graph(nn.Module):
    """`Embedder.embed` from the decoded picture to the unit-length embedding."""

    def __init__(self, embedder: Embedder):
        super().__init__()
        self.model, self.flip = embedder.model, embedder.flip

    def forward(self, images: Tensor) -> Tensor:
        pixels = resize_like_pillow(images, self.model.height, self.model.width)
        x = pixels.to(torch.float32) / 127.5 - 1.0
        if self.flip:
            plain, mirrored = self.model.features(torch.cat([x, x.flip(3)])).chunk(2)
            features = (plain + mirrored) / 2
        else:
            features = self.model.features(x)
        return nn.functional.normalize(features)


def trace(network: nn.Module) -> bytes:
    """The ONNX graph of what a network does with uint8 [N, H, W, 3], for any N, H and W."""
    stream = io.BytesIO()
    example = torch.zeros(2, 70, 40, 3, dtype=torch.uint8)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # that the exporter is the older one
        torch.onnx.export(
            network.eval(),
            (example,),
            stream,  # type: ignore[arg-type] # the older exporter takes streams
            dynamo=False,
            opset_version=OPSET,
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_axes={INPUT: {0: "N", 1: "H", 2: "W"}, OUTPUT: {0: "N"}},
        )
    return stream.getvalue()


def _difference(data: bytes, embedder: Embedder) -> float:
    """The largest difference on noise, which is the hardest to resize alike."""
    import onnxruntime

    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    height, width = embedder.model.height, embedder.model.width
    rng, differences = np.random.default_rng(0), []
    for count, shape in (
        (1, (2 * height, 2 * width)),
        (3, (height, width)),
        (2, (height + 37, width + 3)),
        (5, (height // 2 + 1, 3 * width)),
    ):
        images = rng.integers(0, 256, (count, *shape, 3), dtype=np.uint8)
        (there,) = session.run([OUTPUT], {INPUT: images})
        differences.append(np.abs(there - embedder.embed(images)).max())
    return float(np.max(differences))
