"""Search results as one HTML page, pictures inside: no server, no scripts, no other files."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from string import Template

import numpy as np
from PIL import Image

from lookalike.data.decoding import decode
from lookalike.data.loading import encode_jpeg
from lookalike.errors import UserError
from lookalike.files import replacing

PICTURE_HEIGHT = 192  # pixels at most, of what is embedded in the page
JPEG_QUALITY = 85

PAGE = Template("""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>$title</title>
<style>
body { font: 15px/1.4 system-ui, sans-serif; color: #1e1e1e; margin: 2em; }
section { display: flex; flex-wrap: wrap; gap: .8em; margin: 1em 0; padding-bottom: 1em;
          border-bottom: 1px solid #ddd; }
figure { margin: 0; width: 8em; } img { height: 12em; max-width: 8em; object-fit: contain; }
figure.query img { outline: 3px solid #285abe; }
.gone { height: 12em; background: #f0f0f0; color: #666; padding: 0 .5em; overflow: hidden; }
figcaption { font-size: 80%; overflow-wrap: anywhere; } p { color: #666; }
</style>
</head>
<body>
<h1>$title</h1>
<p>$about</p>
$results
</body>
</html>
""")


@dataclass(frozen=True)
class Match:
    """A gallery picture with its cosine similarity to the query."""

    path: Path
    name: str
    similarity: float


def write_search_page(
    path: Path,
    results: Iterable[tuple[Path, str, Sequence[Match]]],
    *,
    title: str = "lookalike search",
    about: str = "",
) -> None:
    """Write a row per query (blue): its picture, then the matches, best first.

    A picture that is no longer there, or no longer one, leaves a grey box with its name.

    Args:
        path: the HTML file.
        results: each query's picture and name, and its matches.
        title, about: heading, and a line below it.
    """
    sections = "\n".join(_section(*result) for result in results)
    page = PAGE.substitute(title=escape(title), about=escape(about), results=sections)
    with replacing(path) as partial:  # file names need not be valid UTF-8
        partial.write_text(page, encoding="utf-8", errors="backslashreplace")


def _section(query: Path, name: str, matches: Sequence[Match]) -> str:
    figures = [_figure(query, name, "query")]
    figures += [_figure(m.path, f"{m.similarity:.3f} {m.name}", "match") for m in matches]
    return f"<section>\n{''.join(figures)}</section>"


def _figure(path: Path, caption: str, kind: str) -> str:
    text = escape(caption)
    try:
        picture = decode(path.read_bytes(), path.name)
    except (UserError, OSError):
        shown = '<div class="gone">picture not found</div>'
    else:
        scale = min(1.0, PICTURE_HEIGHT / picture.height)
        size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
        small = picture.resize(size, Image.Resampling.BICUBIC)
        data = b64encode(encode_jpeg(np.asarray(small), JPEG_QUALITY)).decode()
        shown = f'<img alt="{text}" src="data:image/jpeg;base64,{data}">'
    return f'<figure class="{kind}">{shown}<figcaption>{text}</figcaption></figure>\n'
