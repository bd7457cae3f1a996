"""The model that MLflow serves: base64 pictures in, unit-length embeddings out.

MLflow runs this file when it loads the model ("models from code"), with the copy of this package
that was registered beside it, so that later changes of a checkout cannot break a served model and
nothing is unpickled.
"""

from __future__ import annotations

import base64
import binascii
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.models import set_model
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE
from mlflow.pyfunc.model import PythonModel, PythonModelContext

from lookalike.data.loading import decode, resize
from lookalike.errors import UserError
from lookalike.reid.embedder import Embedder

COLUMN = "image"
MAX_IMAGES = 256  # per request
MAX_BYTES = 8 * 1024 * 1024  # of one encoded picture


class EmbeddingModel(PythonModel):
    """Answers `image` (base64 of JPEG, PNG, ...) with one list of D numbers per picture."""

    def load_context(self, context: PythonModelContext) -> None:
        """Read the weights; `flip` as in the evaluation that the gates judged."""
        flip = bool((context.model_config or {}).get("flip", False))
        self.embedder = Embedder.load(Path(context.artifacts["weights"]), flip=flip)

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
        texts = list(model_input[COLUMN])
        if len(texts) > MAX_IMAGES:
            raise _refused(f"{len(texts)} pictures in a request; send at most {MAX_IMAGES}")
        height, width = self.embedder.model.height, self.embedder.model.width
        images = np.empty((len(texts), height, width, 3), dtype=np.uint8)
        for row, text in enumerate(texts):  # one at a time: a large picture is soon small again
            images[row] = _picture(str(text), row, height, width)
        embeddings: list[list[float]] = self.embedder.embed(images).astype(float).tolist()
        return embeddings


def _picture(text: str, row: int, height: int, width: int) -> np.ndarray:
    if len(text) > MAX_BYTES * 4 // 3 + 4:
        raise _refused(f"image in row {row} is larger than {MAX_BYTES} bytes")
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise _refused(f"image in row {row} is not base64: {error}") from error
    try:
        return resize(decode(data, f"image in row {row}"), height, width)
    except UserError as error:
        raise _refused(str(error)) from error


def _refused(message: str) -> MlflowException:
    return MlflowException(message, error_code=INVALID_PARAMETER_VALUE)


set_model(EmbeddingModel())
