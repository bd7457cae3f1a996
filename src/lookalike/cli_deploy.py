"""Using a model: `lookalike embed`, `index`, `search` and `export`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lookalike.arguments import (
    chosen_model,
    new_file,
    picture_file,
    pictures_folder,
    refuse_overwriting,
)
from lookalike.errors import UserError
from lookalike.names import PARAMS, THE_CHAMPION, counted

if TYPE_CHECKING:
    from lookalike.registry.chosen import ChosenModel
    from lookalike.reid.gallery import Gallery

app = typer.Typer()

QUERIES_SHOWN = 200  # a page with more pictures is no pleasure to open
Model = Annotated[
    str,
    typer.Option(
        "--model",
        callback=chosen_model,
        help="@champion, a version's number, or a file of weights.",
    ),
]


@app.command()
def embed(
    folder: Annotated[
        Path, typer.Argument(callback=pictures_folder, help="Pictures, folders in it included.")
    ],
    output: Annotated[
        Path, typer.Option("--output", callback=new_file, help="The gallery to write, .npz.")
    ],
    model: Model = THE_CHAMPION,
) -> None:
    """Embed every picture of a folder and save a gallery for `lookalike search`."""
    refuse_overwriting(output, folder, Path(model))
    from lookalike.progress import say

    chosen = _choose(model, embedding=True)
    from lookalike.reid.embedding_parts import embed_to_file  # after what may be refused at once

    count, bad = embed_to_file(folder, chosen.embedder, chosen.description, output)
    if count:  # of several processes, the main one's
        _name(bad)
        say(f"{output}: {counted(count, 'picture')} embedded with {chosen.name}")


@app.command()
def index(
    gallery: Annotated[Path, typer.Argument(help="What `lookalike embed` wrote.")],
    output: Annotated[
        Path, typer.Option("--output", callback=new_file, help="The index to write.")
    ],
) -> None:
    """Index a gallery of millions for `lookalike search`, which then need not look at all of it."""
    refuse_overwriting(output, gallery)
    from lookalike.progress import say
    from lookalike.reid.gallery_index import index_gallery

    say(f"{output}: {counted(index_gallery(gallery, output), 'picture')} of {gallery} indexed")


@app.command()
def search(
    query: Annotated[Path, typer.Argument(help="A picture, or a folder of pictures.")],
    gallery: Annotated[Path, typer.Argument(help="A folder, or what `embed` or `index` wrote.")],
    output: Annotated[
        Path, typer.Option("--output", callback=new_file, help="The page to write.")
    ] = Path(".lookalike/search.html"),
    top: Annotated[int, typer.Option("--top", min=1, help="Matches per query.")] = 10,
    model: Model = THE_CHAMPION,
) -> None:
    """Find the most similar pictures of a gallery and show them on one HTML page."""
    refuse_overwriting(output, query, gallery, Path(model))
    from lookalike.disk import pictures_in
    from lookalike.progress import say
    from lookalike.reid.gallery import embed_pictures
    from lookalike.reid.gallery_index import load_gallery

    if not query.exists():
        raise UserError(f"no picture or folder at {query}")
    names = pictures_in(pictures_folder(query)) if query.is_dir() else [picture_file(query).name]
    if gallery.is_dir():
        pictures_folder(gallery)
    saved = None if gallery.is_dir() else load_gallery(gallery)
    chosen = _choose(model, embedding=True)
    from lookalike.report.search import Match, write_search_page

    if saved:
        saved.check_model(chosen.description, gallery)
    folder = query if query.is_dir() else query.parent
    shown = names[:QUERIES_SHOWN]
    asked, bad = embed_pictures(folder, shown, chosen.embedder, chosen.description)
    _name(bad)
    held = saved or _embed_folder(gallery, chosen)
    indices, similarities = held.search(asked.embeddings, top)
    results = [
        (
            asked.folder / name,
            name,
            [
                Match(held.folder / held.files[i], held.files[i], float(similarity))
                for i, similarity in zip(found, values, strict=True)
                if i >= 0
            ],
        )
        for name, found, values in zip(asked.files, indices, similarities, strict=True)
    ]
    queries, pictures = counted(len(asked.files), "query"), counted(len(held.files), "picture")
    about = f"{queries} in {pictures} of {held.folder}, "
    write_search_page(output, results, about=f"{about}embedded with {chosen.name}")
    if len(shown) < len(names):
        say(f"only the first {len(shown)} of {len(names)} queries were embedded and are shown")
    best = results[0]
    say(f"{output}: {best[1]} is most like {best[2][0].name} ({best[2][0].similarity:.3f})")


@app.command()
def export(
    output: Annotated[
        Path, typer.Option("--output", callback=new_file, help="The file to write, .onnx.")
    ],
    model: Model = THE_CHAMPION,
) -> None:
    """Write a model as ONNX, preprocessing inside, and compare it with PyTorch."""
    refuse_overwriting(output, Path(model))
    from lookalike.progress import say

    chosen = _choose(model)
    from lookalike.reid.onnx_export import export_onnx

    difference = export_onnx(chosen.embedder, output, chosen.description)
    say(f"{output}: {chosen.name}, equal to PyTorch within {difference:.1e}")


def _choose(model: str, *, embedding: bool = False) -> ChosenModel:
    """Load a model, for embedding on a GPU where there is one."""
    from lookalike.config import load_config
    from lookalike.registry.chosen import choose_model

    return choose_model(load_config(PARAMS), Path.cwd(), model, accelerated=embedding)


def _embed_folder(folder: Path, chosen: ChosenModel) -> Gallery:
    from lookalike.reid.gallery import embed_folder

    gallery, bad = embed_folder(folder, chosen.embedder, chosen.description)
    _name(bad)
    return gallery


def _name(bad: Mapping[str, str]) -> None:
    from lookalike.progress import say

    for name, reason in bad.items():
        say(f"left out {name}: {reason}")
