"""Packing a re-ID model for MLflow's server, with an ONNX graph beside it, and trying both."""

from __future__ import annotations

import base64
import contextlib
import importlib.metadata
import logging
import os
import shutil
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

import lookalike
from lookalike.addresses import hidden
from lookalike.data.decoding import decode
from lookalike.errors import UserError
from lookalike.files import sha256_file
from lookalike.progress import say
from lookalike.registry.drift import Reference
from lookalike.registry.gates import ServingCheck
from lookalike.reid.embedder import Embedder
from lookalike.reid.onnx_export import export_onnx, run_onnx

if TYPE_CHECKING:
    from mlflow.models import Model
    from mlflow.pyfunc import PyFuncModel

# What the shipped code imports; the versions are those of this environment, which trained it.
REQUIREMENTS = (
    "mlflow",
    "numpy",
    "pandas",
    "pillow",
    "pydantic",
    "pyyaml",
    "rich",
    "safetensors",
    "torch",
    "torchvision",
)
LATENCY_REQUESTS = 7
ONNX = "model.onnx"  # among the packed model's artifacts
REFERENCE = "reference.npz"  # the same


def save_serving_model(
    folder: Path,
    weights: Path,
    flip: bool,
    description: Model,
    reference: Reference | None = None,
) -> None:
    """Write an MLflow model: weights (safetensors), this package's code, signature, requirements.

    Beside the weights lies the same model as ONNX. Weights that cannot be exported are packed
    without; a gate refuses them.

    Args:
        folder: a new folder.
        weights: of `reid.model.save_reid`.
        flip: whether the evaluation averaged with mirror images; serving does as it did.
        description: MLflow's record of the model; completed and written as `MLmodel`.
        reference: what a server compares its embeddings with; without it, it says nothing of drift.
    """
    import mlflow.pyfunc
    from mlflow.models import ModelSignature
    from mlflow.types.schema import AnyType, Array, ColSpec, DataType, Schema

    package = Path(lookalike.__file__).parent
    signature = ModelSignature(
        # Text, bytes, array or path.
        inputs=Schema([ColSpec(AnyType(), "image")]),  # type: ignore[no-untyped-call]
        outputs=Schema([ColSpec(Array(DataType.double))]),
    )
    with tempfile.TemporaryDirectory() as scratch, _quiet():
        code = Path(scratch) / package.name
        shutil.copytree(package, code, ignore=_only_python)
        artifacts, graph = {"weights": str(weights)}, Path(scratch) / ONNX
        about = {"weights_sha256": sha256_file(weights), "flip": str(flip).lower()}
        try:
            export_onnx(Embedder.load(weights, flip=flip), graph, about)
            artifacts["onnx"] = str(graph)
        except UserError as error:
            say(f"registered without ONNX: {error}")
        if reference is not None:
            reference.save(Path(scratch) / REFERENCE)
            artifacts["reference"] = str(Path(scratch) / REFERENCE)
        mlflow.pyfunc.save_model(
            folder,
            python_model=str(package / "registry" / "serving_model.py"),
            artifacts=artifacts,
            code_paths=[str(code)],
            signature=signature,
            pip_requirements=[f"{n}=={importlib.metadata.version(n)}" for n in REQUIREMENTS],
            model_config={"flip": flip},
            mlflow_model=description,
        )


def load_serving_model(folder: Path) -> PyFuncModel:
    """Load a packed model with pickle forbidden.

    In this process the shipped code is not imported again where this checkout's already is.
    """
    import mlflow.pyfunc

    path = sys.path
    try:
        with _no_pickle(), _quiet():
            model: PyFuncModel = mlflow.pyfunc.load_model(str(folder))
            return model
    finally:
        sys.path = path  # MLflow puts the shipped code in front of it


def check_serving(folder: Path, pictures: Sequence[bytes]) -> tuple[ServingCheck, bool]:
    """Load a packed model, send it pictures, and time it.

    Args:
        folder: the packed model.
        pictures: encoded images, at least one.

    Returns:
        What it answered, and whether it loaded without pickle. Nothing is raised: whatever goes
        wrong is the gates' business.
    """
    import pandas as pd

    files = [p for p in folder.rglob("*") if p.is_file() and p.name != ONNX]
    size_mb = sum(p.stat().st_size for p in files) / 1e6
    loaded = False
    try:
        model = load_serving_model(folder)
        loaded = True
        table = pd.DataFrame({"image": [base64.b64encode(p).decode() for p in pictures]})
        embeddings = np.asarray(model.predict(table), dtype=np.float64)
        assert embeddings.shape[:1] == (len(pictures),), "one embedding per picture"
        times = []
        for _ in range(LATENCY_REQUESTS):
            began = time.perf_counter()
            model.predict(table.head(1))
            times.append(1000 * (time.perf_counter() - began))
    except Exception as error:  # any failure of a model is a verdict about it
        reason = f"{type(error).__name__}: {' '.join(hidden(str(error)).split())[:300]}"
        return ServingCheck(None, float("nan"), size_mb, float("nan"), reason), loaded
    difference = _onnx_difference(folder / "artifacts" / ONNX, pictures, embeddings)
    return ServingCheck(embeddings, min(times), size_mb, difference), loaded


def _onnx_difference(
    graph: Path, pictures: Sequence[bytes], embeddings: npt.NDArray[np.float64]
) -> float:
    """The largest between an ONNX graph's embeddings and these; NaN where it gives none."""
    if not graph.is_file():
        return float("nan")
    try:
        images = [np.asarray(decode(picture)) for picture in pictures]
        alike = [n for n, image in enumerate(images) if image.shape == images[0].shape]
        # One by one, and those of one size at once.
        there = run_onnx(graph, [*images, np.stack([images[n] for n in alike])])
        here = np.concatenate([embeddings, embeddings[alike]])
        return float(np.abs(there - here).max())
    except Exception as error:  # as above
        say(f"{ONNX}: {type(error).__name__}: {' '.join(str(error).split())[:300]}")
        return float("nan")


def _only_python(folder: str, names: list[str]) -> set[str]:
    """What not to copy: the starting generator and other data that serving does not need."""
    here = Path(folder)
    return {n for n in names if not n.endswith(".py") and not (here / n).is_dir()} | {"__pycache__"}


@contextlib.contextmanager
def _no_pickle() -> Iterator[None]:
    name = "MLFLOW_ALLOW_PICKLE_DESERIALIZATION"
    before = os.environ.get(name)
    os.environ[name] = "false"
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without MLflow's advice on type hints and input examples: the signature is explicit."""
    logger = logging.getLogger("mlflow")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(before)
