import json
import re
from base64 import b64decode
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
from PIL import Image

from lookalike.artifacts import Artifacts
from lookalike.report.html import write_report


def report(artifacts: Path, parameters: str = "seed: 1") -> str:
    path = artifacts.parent / "report.html"
    arms = ["baseline", "persons"]
    write_report(Artifacts(artifacts), path, arms=arms, champion=2, parameters=parameters)
    return path.read_text()


def test_report_is_one_file_with_tables_figures_and_parameters_always_the_same(
    artifacts: Path,
) -> None:
    page = report(artifacts)
    assert "90.35" in page
    assert "Champion: lookalike-reid version 2." in page
    assert "seed: 1" in page
    embedded = re.findall(r'src="data:image/(\w+);base64,([^"]+)"', page)
    expected = [artifacts / "evaluate" / arm / "ranked.jpg" for arm in ("baseline", "persons")]
    jpegs = [b64decode(data) for kind, data in embedded if kind == "jpeg"]
    assert jpegs == [file.read_bytes() for file in expected]
    for overview in ("train_reid.png", "train_gan.png", "filter_scores.png", "filter_bounds.png"):
        assert f'<img alt="{overview}"' in page
    assert not re.search(r'(src|href)="(?!data:)', page)  # nothing is fetched from elsewhere
    assert "logo.png" not in page
    assert "Test set:" not in page
    assert '<meta name="viewport" content="width=device-width' in page  # else a phone shrinks it
    assert report(artifacts) == page


def test_report_escapes_everything_from_outside_and_stays_balanced(artifacts: Path) -> None:
    path = artifacts / "register" / "verdict.json"
    verdict = json.loads(path.read_text()) | {"reason": "<script>alert(1)</script>"}
    path.write_text(json.dumps(verdict))
    page = report(artifacts, parameters="x: <script>$title</script>")
    assert "<script>" not in page
    assert "x: &lt;script&gt;$title&lt;/script&gt;" in page
    opened: list[str] = []

    class Balance(HTMLParser):
        def handle_starttag(self, tag: str, attrs: object) -> None:
            if tag not in ("meta", "img"):
                opened.append(tag)

        def handle_endtag(self, tag: str) -> None:
            assert opened.pop() == tag

    Balance().feed(page)
    assert opened == []


def test_report_says_what_is_wrong_with_the_test_set(artifacts: Path) -> None:
    for arm in ("baseline", "persons"):
        path = artifacts / "evaluate" / arm / "metrics.json"
        problem = {"problem": "3 of 9 queries have no match: <why>"}
        path.write_text(json.dumps(json.loads(path.read_text()) | problem))
    page = report(artifacts)
    assert page.count("Test set: 3 of 9 queries have no match: &lt;why&gt;.") == 1


def test_report_says_what_is_older(artifacts: Path) -> None:
    assert "<p>Older:</p>" not in report(artifacts)
    verdict = json.loads((artifacts / "register" / "verdict.json").read_text())
    verdict["validation"] = {"baseline": {"mAP": 0.6}, "persons": {"mAP": 0.5}}
    (artifacts / "register" / "verdict.json").write_text(json.dumps(verdict))
    assert "<p>Older:</p>\n<ul><li>gates: they judged other results of persons" in report(artifacts)


def test_sections_have_headings_captions_and_an_order(artifacts: Path) -> None:
    for name in ("register/side_by_side.png", "evaluate/persons/similarities.png", "new/x.png"):
        (artifacts / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (8, 8)).save(artifacts / name)
    for number in range(9):
        (artifacts / "train_gan" / "samples").mkdir(exist_ok=True)
        Image.new("RGB", (8, 8)).save(artifacts / "train_gan" / "samples" / f"{number:08d}.png")
    page = report(artifacts)
    headings = re.findall("<h2>([^<]+)</h2>", page)
    assert headings[4:] == [
        "The arms compared",
        "Arm baseline: test queries",
        "Arm persons: test queries",
        "The generator",
        "The filters",
        "Other pictures",
        "Parameters",
    ]
    assert "<figcaption>new/x.png</figcaption>" in page
    assert page.count("<figcaption>Samples of the averaged generator") == 6
    assert "after 0 images" in page and "after 8 images" in page


def test_large_sheets_become_jpeg(artifacts: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (400, 400, 3), dtype=np.uint8)
    Image.fromarray(noise).save(artifacts / "evaluate" / "persons" / "ranked_lists.png")
    assert '<img alt="ranked_lists.png" src="data:image/jpeg' in report(artifacts)


def test_report_of_nothing_names_what_is_missing(tmp_path: Path) -> None:
    page = report(tmp_path / "artifacts")
    assert "Nothing was registered yet." in page
    assert page.count("<li>no ") == 5  # two arms, two kinds, the verdict
