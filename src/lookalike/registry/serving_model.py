"""The model that MLflow serves: pictures in, unit-length embeddings out.

MLflow runs this file when it loads the model ("models from code"), with the copy of this package
that was registered beside it, so that later changes of a checkout cannot break a served model and
nothing is unpickled.

A picture is one of these, in the column `image`, mixed as you like:

- text: base64 of an encoded image (JPEG, PNG, BMP, WebP);
- `bytes` of an encoded image;
- an array, uint8 [H, W, 3], RGB; over HTTP nested lists of whole numbers from 0 to 255;
- a `pathlib.Path`. Text is never taken for a path: JSON has no paths, so nobody can have a server
  read its own files.
"""

from __future__ import annotations

import base64
import binascii
import threading
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.models import set_model
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE
from mlflow.pyfunc.model import PythonModel, PythonModelContext
from PIL import Image

from lookalike.data.decoding import decode
from lookalike.data.loading import resize
from lookalike.device import default_device
from lookalike.errors import UserError
from lookalike.registry.drift import Reference, Watch
from lookalike.reid.embedder import Embedder

COLUMN = "image"
MAX_IMAGES = 256  # per request
MAX_BYTES = 8 * 1024 * 1024  # of one encoded picture
MAX_PIXELS = 32 * 1024 * 1024  # of all pictures of a request: 256 crops of 512x256


class EmbeddingModel(PythonModel):
    """Answers each picture of the column `image` with a list of D numbers."""

    def load_context(self, context: PythonModelContext) -> None:
        """Read the weights, to a GPU where there is one.

        `flip` is as in the evaluation that the gates judged.
        """
        flip = bool((context.model_config or {}).get("flip", False))
        device = default_device()
        self.embedder = Embedder.load(Path(context.artifacts["weights"]), flip=flip, device=device)
        self.turn, self.decoding = threading.Lock(), threading.Lock()
        reference = context.artifacts.get("reference")  # older versions have none
        self.watch = Watch(Reference.load(Path(reference))) if reference else None

    def predict(
        self,
        context: PythonModelContext,
        model_input: pd.DataFrame,
        params: dict[str, Any] | None = None,
    ) -> list[list[float]]:
        """Embed every picture.

        Raises:
            MlflowException: a picture is none, or the request is too large; the server answers 400
                with the message, which names the row.
        """
        pictures = list(model_input[COLUMN])
        if len(pictures) == 1 and _is_texts(pictures[0]):
            pictures = pictures[0]  # MLflow makes one row of {"image": [TEXT, TEXT, ...]}
        if not pictures:
            raise _refused(f"no pictures: give at least one in the column {COLUMN}")
        if len(pictures) > MAX_IMAGES:
            raise _refused(f"{len(pictures)} pictures in a request; send at most {MAX_IMAGES}")
        height, width = self.embedder.model.height, self.embedder.model.width
        images = np.empty((len(pictures), height, width, 3), dtype=np.uint8)
        pixels_left = MAX_PIXELS
        for row, picture in enumerate(pictures):  # one at a time: a large one is soon small again
            name = f"image in row {row}"
            # Of all requests, too: Pillow mostly decodes one at a time anyway, and large pictures
            # take hundreds of megabytes each.
            with self.decoding:
                try:
                    decoded = read_picture(picture, name, pixels_left)
                except (UserError, OSError) as error:
                    raise _refused(str(error)) from error
                pixels_left -= decoded.width * decoded.height
                images[row] = resize(decoded, height, width)
                del decoded
        # Requests come in threads. One at a time through the network is as fast, and their
        # activations do not add up.
        with self.turn:
            embeddings = self.embedder.embed(images)
            if self.watch is not None:
                self.watch.add(embeddings)
        rows: list[list[float]] = embeddings.astype(float).tolist()
        return rows

    def figures(self) -> dict[str, tuple[str, float]]:
        """Gauges for a server's metrics: names, what they are, and their values."""
        return {} if self.watch is None else self.watch.figures()


def read_picture(picture: object, name: str, max_pixels: int) -> Image.Image:
    """Decode a picture in any of the forms that the model takes.

    Raises:
        UserError: it is none, or too large; says `name`.
        OSError: a path that cannot be read.
    """
    if isinstance(picture, list | np.ndarray):
        return Image.fromarray(_array(picture, name, max_pixels))
    if isinstance(picture, Path):
        if picture.stat().st_size > MAX_BYTES:
            raise UserError(f"{name} is larger than {MAX_BYTES} bytes")
        data = picture.read_bytes()
    elif isinstance(picture, bytes):
        data = picture
    elif isinstance(picture, str):
        if len(picture) > MAX_BYTES * 4 // 3 + 4:
            raise UserError(f"{name} is larger than {MAX_BYTES} bytes")
        try:
            data = base64.b64decode(picture, validate=True)
        except (binascii.Error, ValueError) as error:
            raise UserError(f"{name} is not base64: {error}") from error
    else:
        raise UserError(f"{name} is neither base64, bytes, an array nor a path")
    if len(data) > MAX_BYTES:
        raise UserError(f"{name} is larger than {MAX_BYTES} bytes")
    return decode(data, name, max_pixels)


def _is_texts(cell: object) -> bool:
    return isinstance(cell, list) and all(isinstance(item, str) for item in cell)


def _array(
    picture: list[Any] | npt.NDArray[Any], name: str, max_pixels: int
) -> npt.NDArray[np.uint8]:
    if isinstance(picture, list):
        _check_numbers(picture, name)
    try:
        array = np.asarray(picture)
    except (ValueError, OverflowError) as error:  # lists of unequal length
        raise UserError(f"{name} is no array [H, W, 3]: {error}") from error
    if array.ndim != 3 or array.shape[2] != 3 or array.size == 0:
        raise UserError(f"{name} has shape {array.shape}; an array must be [H, W, 3]")
    if array.shape[0] * array.shape[1] > max_pixels:
        raise UserError(f"{name}: {array.shape[1]}x{array.shape[0]} pixels are too many")
    whole = array.dtype == np.uint8 or (isinstance(picture, list) and array.dtype.kind == "i")
    if not whole or array.min() < 0 or array.max() > 255:
        raise UserError(f"{name} must hold whole numbers from 0 to 255 (uint8), not {array.dtype}")
    return np.ascontiguousarray(array, dtype=np.uint8)


def _check_numbers(value: list[Any], name: str) -> None:
    """Refuse lists of something else: NumPy would make each text as long as the longest."""
    level: list[Any] = value
    while level and isinstance(level[0], list):
        if not all(isinstance(item, list) for item in level):
            raise UserError(f"{name} is no array [H, W, 3]: lists of unequal depth")
        level = [item for part in level for item in part]
    if not all(isinstance(item, int | float) for item in level):
        raise UserError(f"{name} must hold whole numbers from 0 to 255")


def _refused(message: str) -> MlflowException:
    return MlflowException(message, error_code=INVALID_PARAMETER_VALUE)


set_model(EmbeddingModel())
