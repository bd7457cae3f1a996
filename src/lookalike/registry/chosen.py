"""The model that a command works with: the champion, another version, or a file of weights."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from lookalike.arguments import chosen_model, is_version
from lookalike.config import Config
from lookalike.errors import UserError
from lookalike.files import sha256_file
from lookalike.names import THE_CHAMPION
from lookalike.registry.ledger import Ledger

if TYPE_CHECKING:
    from lookalike.reid.embedder import Embedder


@dataclass(frozen=True)
class ChosenModel:
    """An embedder, and where it is from.

    Attributes:
        embedder: with the flip averaging that it was evaluated with.
        name: for people, say "lookalike-reid v3".
        digest: sha256 of the weights; with `embedder.flip` it decides about embeddings.
    """

    embedder: Embedder
    name: str
    digest: str

    @property
    def description(self) -> dict[str, str]:
        """What is kept with embeddings and exports."""
        flip = str(self.embedder.flip).lower()
        return {"model": self.name, "weights_sha256": self.digest, "flip": flip}


def choose_model(
    config: Config, root: Path, choice: str = THE_CHAMPION, *, accelerated: bool = False
) -> ChosenModel:
    """Load a model.

    Args:
        config: names the registered model; its `evaluate.flip` holds for a file.
        root: the repository root.
        choice: "@champion", a version's number, or the path of a file of re-ID weights.
        accelerated: embed on the accelerator, if there is one.

    Raises:
        UserError: there is no champion, version or file, the version was retired, or the file
            holds no re-ID model.
    """
    if not is_version(chosen_model(choice)):
        path = Path(choice)
        embedder = _load(path, config, config.evaluate.flip, accelerated)
        return ChosenModel(embedder, path.name, sha256_file(path))
    registry = Ledger(config, root)
    history = registry.history()
    version = history.champion if choice == THE_CHAMPION else int(choice)
    if version is None:
        raise UserError(f"{registry.without_champion()}; or give --model a file of weights")
    registry.version(version)
    registry.check_in_use(history, version)
    with _packed(registry, version) as (weights, flip):
        embedder = _load(weights, config, flip, accelerated)
        return ChosenModel(embedder, f"{registry.name} v{version}", sha256_file(weights))


def _load(weights: Path, config: Config, flip: bool, accelerated: bool) -> Embedder:
    """PyTorch comes here: not before it is known that there is a model."""
    from lookalike.device import default_device
    from lookalike.reid.embedder import Embedder

    device = default_device() if accelerated else "cpu"
    return Embedder.load(weights, config.evaluate.batch_size, flip, device)


@contextmanager
def _packed(registry: Ledger, version: int) -> Iterator[tuple[Path, bool]]:
    """A version's weights in a folder for a while, and its flip averaging."""
    import mlflow.artifacts
    from mlflow.exceptions import MlflowException
    from mlflow.models import Model

    store = registry.store
    with TemporaryDirectory() as scratch:
        try:
            uri = store.client.get_model_version_download_uri(registry.name, str(version))
            with store.selected():
                folder = Path(mlflow.artifacts.download_artifacts(uri, dst_path=scratch))
        except MlflowException as error:
            reason = " ".join(error.message.split())
            raise UserError(f"cannot load {registry.name} v{version}: {reason}") from error
        settings = Model.load(folder).flavors["python_function"].get("config") or {}
        (weights,) = (folder / "artifacts").glob("*.safetensors")
        yield weights, bool(settings.get("flip", False))
