"""Pictures of people among the files of MLflow's runs, which outlive the data that they show."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Set
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

from lookalike.registry.ledger import Ledger
from lookalike.registry.promotion import FOLDER, PICTURES
from lookalike.store import Store

SUFFIXES = (".png", ".jpg", ".jpeg")
SHOW_NOBODY = ("cmc.png", "similarities.png")  # curves; a picture that is not known shows somebody
DOCS = "data_docs"  # Great Expectations' pages, whose pictures are its own
EVIDENCE = f"{FOLDER}/{PICTURES}"  # test images, one by one: looked at, not guessed


@dataclass(frozen=True)
class KeptPicture:
    """A file of a run."""

    run_id: str
    stage: str
    path: str

    def __str__(self) -> str:
        return f"{self.path} of run {self.stage} ({self.run_id[:8]})"


def kept_pictures(registry: Ledger, digests: Set[str]) -> list[KeptPicture]:
    """Pictures of all runs that show, or may show, the images with these digests (SHA-256).

    What a sheet shows was not recorded, so each one counts. Evidence counts where it is one of the
    images, byte for byte: versions in use are judged and tried with the rest of it.
    """
    store = registry.store
    found = []
    for run in _runs(store):
        for path in _pictures(store, run[0]):
            if not path.startswith(f"{EVIDENCE}/") or _digest(store, run[0], path) in digests:
                found.append(KeptPicture(*run, path))
    return found


def delete_pictures(store: Store, pictures: list[KeptPicture]) -> None:
    """Delete them, wherever MLflow keeps files; what is not there any more is fine."""
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    with store.selected():
        for picture in pictures:
            uri = store.client.get_run(picture.run_id).info.artifact_uri
            repository = get_artifact_repository(uri)
            repository.delete_artifacts(picture.path)  # type: ignore[no-untyped-call]


def _runs(store: Store) -> Iterator[tuple[str, str]]:
    """Id and stage of every run, deleted ones too, whose files are still there."""
    from mlflow.entities import ViewType

    token = None
    while True:
        page = store.client.search_runs(
            [store.experiment_id], run_view_type=ViewType.ALL, max_results=1000, page_token=token
        )
        for run in page:
            yield run.info.run_id, run.info.run_name or ""
        token = page.token
        if not token:
            return


def _pictures(store: Store, run_id: str, folder: str = "") -> Iterator[str]:
    for item in store.client.list_artifacts(run_id, folder):
        path = PurePosixPath(item.path)
        if item.is_dir and item.path != DOCS:
            yield from _pictures(store, run_id, item.path)
        elif path.suffix.lower() in SUFFIXES and path.name not in SHOW_NOBODY:
            yield item.path


def _digest(store: Store, run_id: str, path: str) -> str:
    with TemporaryDirectory() as scratch:
        copied = Path(store.client.download_artifacts(run_id, path, scratch))
        return hashlib.sha256(copied.read_bytes()).hexdigest()
