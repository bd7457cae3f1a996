"""One run of Great Expectations takes seconds, so that one data set holds every fault at once."""

import json
from pathlib import Path

import pandas as pd
import pytest

from lookalike.config import DataConfig
from lookalike.data.expectations import validate_manifest
from lookalike.data.prepare import prepare_manifest
from lookalike.errors import UserError


def damage(data: Path) -> set[str]:
    """Break the data in all the ways that are known; return the files that must be named."""
    train = sorted((data / "bounding_box_train").glob("*.jpg"))
    query = sorted((data / "query").glob("*.jpg"))
    gallery = sorted((data / "bounding_box_test").glob("000[1-9]_*.jpg"))
    train[0].write_bytes(train[0].read_bytes()[:500])
    train[1].write_bytes(gallery[0].read_bytes())
    foreign = train[2].rename(train[2].with_name("holiday.jpg"))
    person = query[-1].name.split("_")[0]
    stray = train[3].rename(train[3].with_name(f"{person}_c1s9_000001_01.jpg"))
    nameless = train[4].rename(train[4].with_name(f"{train[4].name[:4]}_s1_000001_01.jpg"))
    for image in (data / "bounding_box_test").glob(f"{person}_*.jpg"):
        image.unlink()
    alone = list((data / "query").glob(f"{person}_*.jpg"))
    bad = [train[0], train[1], foreign, stray, nameless, *alone]
    return {f"data/{path.parent.name}/{path.name}" for path in bad}


def test_sound_data_is_valid_and_documented(repository: Path, data_config: DataConfig) -> None:
    manifest, problems = prepare_manifest(repository / "data", repository, data_config, 1)
    docs = repository / "of $HOME and ${HOME}, 100% 'it's'" / "docs"
    docs.mkdir(parents=True)
    (docs / "stale.html").write_text("of an earlier run")
    verdict = validate_manifest(manifest, problems, data_config, docs)
    verdict.check()
    assert verdict.success and verdict.quarantined == [] and verdict.problems == []
    pd.testing.assert_frame_equal(verdict.accepted, manifest)
    assert {check["table"] for check in verdict.expectations} == {
        *("images", "persons", "queries", "problems")
    }
    assert json.loads(json.dumps(verdict.to_json()))["images"] == len(manifest)
    pages = [path.read_text() for path in docs.rglob("*.html")]
    assert (docs / "index.html").is_file() and not (docs / "stale.html").exists()
    assert any("used_sha256" in page for page in pages)


def test_bad_data_fails_and_every_file_is_named(repository: Path, data_config: DataConfig) -> None:
    bad = damage(repository / "data")
    manifest, problems = prepare_manifest(repository / "data", repository, data_config, 1)
    verdict = validate_manifest(manifest, problems, data_config, repository / "docs")
    assert not verdict.success and verdict.quarantined == []
    assert {problem["file"] for problem in verdict.problems} == bad
    with pytest.raises(UserError) as error:
        verdict.check()
    for file in sorted(bad)[:10]:
        assert file in str(error.value)
    # The suite sees by itself what can be seen in the manifest.
    failed = {(c["table"], c["column"]) for c in verdict.expectations if not c["success"]}
    assert failed >= {
        ("images", "used_sha256"),
        ("images", "camera_id"),
        ("persons", "side"),
        ("queries", "matches"),
        ("problems", "rows"),
    }


def test_quarantine_leaves_exactly_the_rest(repository: Path, data_config: DataConfig) -> None:
    bad = damage(repository / "data")
    config = data_config.model_copy(update={"on_problem": "quarantine"})
    manifest, problems = prepare_manifest(repository / "data", repository, config, 1)
    verdict = validate_manifest(manifest, problems, config, repository / "docs")
    verdict.check()
    everything = {f"data/{p.parent.name}/{p.name}" for p in (repository / "data").rglob("*.jpg")}
    assert set(verdict.accepted["member"]) == everything - bad
    assert verdict.quarantined == sorted(bad)
    assert f"left out {len(bad)} files" in verdict.summary()
    failed = [check for check in verdict.expectations if not check["success"]]
    assert [(c["table"], c["severity"]) for c in failed] == [("problems", "warning")]


def test_what_no_file_explains_fails_even_under_quarantine(
    repository: Path, data_config: DataConfig
) -> None:
    config = data_config.model_copy(update={"on_problem": "quarantine", "source": "market1501"})
    manifest, problems = prepare_manifest(repository / "data", repository, config, 1)
    manifest.loc[0, "sha256"] = "not a digest"
    verdict = validate_manifest(manifest, problems, config, repository / "docs")
    failed = {(c["table"], c["column"]): c for c in verdict.expectations if not c["success"]}
    # Counts only warn here: whoever quarantines accepts fewer images than were published.
    assert failed["counts", "images"]["severity"] == "warning"
    assert "published_images=12936" in failed["counts", "images"]["observed"]
    assert not verdict.success
    with pytest.raises(UserError, match=manifest.loc[0, "member"]):
        verdict.check()
