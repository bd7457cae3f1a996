"""A repository as small as a study needs it: rendered data, and what a filter has kept."""

from __future__ import annotations

from pathlib import Path

import pytest

PARAMS = """\
data:
  rendered: {train_persons: 6, test_persons: 3, images_per_person: 6, distractors: 1, junk: 1}
  validation_persons: 2
reid:
  {backbone: mobilenetv3_small_050, height: 16, width: 8, embedding_dim: 8,
   epochs: 1, batch_size: 8, micro_batch: 8}
generate: {persons: {count: 3, images_per_person: 2}, variations: {images_per_person: 2}}
"""


@pytest.fixture(scope="session")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Read only: the data, the manifest, and 4 persons with 2 images, of whom a filter kept 3."""
    from lookalike.config import load_config
    from lookalike.data.manifest import write_manifest
    from lookalike.data.population import render_population
    from lookalike.data.prepare import prepare_manifest
    from lookalike.study.oracle import new_persons
    from lookalike.study.trainings import MANIFEST

    root = tmp_path_factory.mktemp("study")
    (root / "params.yaml").write_text(PARAMS)
    config = load_config(root / "params.yaml")
    assert config.data.rendered is not None
    size = config.data.rendered.model_dump()
    render_population(root / "data", **size, workers=1, progress=False)
    manifest, problems = prepare_manifest(root / "data", root, config.data, config.seed)
    assert problems.empty
    write_manifest(manifest, root / MANIFEST)
    for stage, count in {"generate": 4, "filter": 3}.items():
        made = new_persons(count, 2, root, Path("made"))
        write_manifest(made, root / "artifacts" / stage / "persons" / "manifest.parquet")
    return root


@pytest.fixture
def repository(rendered: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same, to write into; the working directory."""
    root = tmp_path / "repository"
    root.mkdir()
    for name in ("params.yaml", "data", "artifacts", "made"):
        (root / name).symlink_to(rendered / name)
    monkeypatch.chdir(root)
    return root
