"""Evidence survives a round trip, and leaks are found wherever they hide."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lookalike.data.manifest import new_manifest
from lookalike.errors import UserError
from lookalike.registry.evidence import EVIDENCE, Evidence, leaked, persons_seen, read_persons
from lookalike.reid.measurement import Measurement, per_query_frame


def rows(*specs: tuple[str, str, str], **changes: object) -> pd.DataFrame:
    """A manifest of (image_id, person_id, split)."""
    return new_manifest(
        [
            {
                "image_id": image,
                "person_id": person,
                "camera_id": 1,
                "split": split,
                "origin": "real",
                "member": f"{image}.jpg",
                "width": 64,
                "height": 128,
                "sha256": f"sha-{image}",
                **changes,
            }
            for image, person, split in specs
        ]
    )


MANIFEST = rows(
    ("t1", "0001", "train"),
    ("v1", "0002", "val"),
    ("q1", "0003", "query"),
    ("g1", "0003", "gallery"),
    ("d1", "0000", "distractor"),
)
TRAIN = MANIFEST[MANIFEST["split"] == "train"]


def test_clean_training_rows() -> None:
    made = rows(("s1", "0001", "train"), source_image="t1", recipe="mix:medium:psi=0.8:with=17")
    assert leaked({"gan": TRAIN, "reid": pd.concat([TRAIN, made])}, MANIFEST) == {
        "gan": (),
        "reid": (),
    }


@pytest.mark.parametrize(
    ("row", "leak"),
    [
        (rows(("x", "0003", "train")), "person 0003"),
        (rows(("x", "0002", "train")), "person 0002"),
        (rows(("d1", "0000", "train")), "image d1"),
        (rows(("x", "syn-1", "train"), sha256="sha-q1"), "image q1"),
        (rows(("x", "0001", "train"), source_image="g1"), "image g1"),
        (rows(("x", "syn-1", "train"), source_image="g1", origin="person"), "image g1"),
        (rows(("x", "0001", "train"), recipe="interpolate:0.4:with=q1"), "image q1"),
        (rows(("x", "0001", "train"), recipe="interpolate:0.4:with=q1:psi=0.8"), "image q1"),
    ],
)
def test_each_way_to_leak(row: pd.DataFrame, leak: str) -> None:
    assert leak in leaked({"encoder": pd.concat([TRAIN, row])}, MANIFEST)["encoder"]


def test_round_trip(tmp_path: Path) -> None:
    queries = MANIFEST[MANIFEST["split"].isin(["query", "val"])]
    frame = per_query_frame(queries, np.array([np.nan, 0.5]), np.array([-1, 2]))
    evidence = Evidence(
        evaluation=Measurement("abc", {"rank_1": 0.0, "mAP": 0.5}, frame),
        weights_md5="m",
        locked_md5=None,
        run_status="FINISHED",
        data_valid=True,
        git_sha="s",
        uncommitted=("src/a.py",),
        leaks={"gan": ("person 0003",)},
        frechet=None,
        pass_rates={"persons": 0.5},
        baseline=Measurement("abc", {"mAP": 0.25}, frame.assign(ap=0.25)),
    )
    evidence.write(tmp_path)
    again = Evidence.read(tmp_path)
    pd.testing.assert_frame_equal(again.evaluation.per_query, frame)
    assert again.baseline is not None and again.baseline.metrics == {"mAP": 0.25}
    assert again.baseline.per_query["ap"].tolist() == [0.25, 0.25]
    measured = {"evaluation": None, "baseline": None}
    assert {**vars(again), **measured} == {**vars(evidence), **measured}
    assert again.evaluation.metrics == {"rank_1": 0.0, "mAP": 0.5}
    # What a later version knows beside is no reason to refuse.
    record = json.loads((tmp_path / EVIDENCE).read_text())
    (tmp_path / EVIDENCE).write_text(json.dumps(record | {"weather": "fine"}))
    assert Evidence.read(tmp_path).weights_md5 == "m"
    shutil.rmtree(tmp_path / "baseline")  # as it was before there was a gate about it
    assert Evidence.read(tmp_path).baseline is None


def test_no_evidence_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no evidence"):
        Evidence.read(tmp_path)


def test_who_was_seen_counts_through_generated_images_too() -> None:
    other = rows(("t2", "0009", "train"))
    networks = {"gan": pd.concat([TRAIN, other]), "encoder": TRAIN}
    assert persons_seen({**networks, "reid": TRAIN}) == ("0001",)
    made = rows(("s1", "syn-1", "train"), origin="person")
    assert persons_seen({**networks, "reid": pd.concat([TRAIN, made])}) == ("0001", "0009")
    varied = rows(("s2", "0005", "train"), origin="variation")
    assert "0005" in persons_seen({**networks, "reid": varied})


def test_who_was_seen_lies_beside_the_evidence(tmp_path: Path) -> None:
    frame = per_query_frame(MANIFEST[2:3], np.array([1.0]), np.array([1]))
    measured = Measurement("f", {"mAP": 1.0}, frame)
    known = Evidence(measured, "a", "a", "FINISHED", True, "sha", (), {}, 1.0)
    known.write(tmp_path / "old")
    with_persons = replace(known, persons=("0001", "0009"))
    with_persons.write(tmp_path / "new")
    assert read_persons(tmp_path / "old") is None
    assert Evidence.read(tmp_path / "new").persons == ("0001", "0009")
    old, new = (tmp_path / name / EVIDENCE for name in ("old", "new"))
    assert old.read_bytes() == new.read_bytes(), "a version of before is the same candidate"
