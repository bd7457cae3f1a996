"""The page of search results holds its pictures and nothing that a browser would run."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path

import numpy as np
from PIL import Image

from lookalike.data.loading import encode_jpeg
from lookalike.report.search import PICTURE_HEIGHT, Match, write_search_page


def test_pictures_are_inside_and_names_are_escaped(tmp_path: Path) -> None:
    red = tmp_path / "red.jpg"
    red.write_bytes(encode_jpeg(np.full((400, 200, 3), (200, 0, 0), np.uint8)))
    blue = tmp_path / "blue.jpg"
    blue.write_bytes(encode_jpeg(np.full((40, 20, 3), (0, 0, 200), np.uint8)))
    matches = [
        Match(blue, "<script>alert(1)</script>", 0.87654),
        Match(tmp_path / "gone.jpg", "gone\udcff.jpg", 0.5),
    ]
    page = tmp_path / "new" / "page.html"
    write_search_page(page, [(red, "red", matches)], title="a & b", about="1 query")
    text = page.read_text(encoding="utf-8")

    sizes, colours = [], []
    for data in re.findall(r'src="data:image/jpeg;base64,([^"]+)"', text):
        picture = Image.open(io.BytesIO(base64.b64decode(data)))
        sizes.append(picture.size)
        colours.append(int(np.argmax(np.asarray(picture).mean(axis=(0, 1)))))
    assert sizes == [(PICTURE_HEIGHT // 2, PICTURE_HEIGHT), (20, 40)]
    assert colours == [0, 2]
    assert "a &amp; b" in text and "1 query" in text
    assert "<script" not in text and "&lt;script&gt;" in text
    assert "0.877 " in text
    assert text.count("picture not found") == 1
    assert "http" not in text
