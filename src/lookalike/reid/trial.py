"""Who is to be found by whom: labels of queries and gallery under the protocol of Market-1501.

Per query, gallery images of the same person seen by the same camera are left out, and so is junk
(person "-1"). Distractors (person "0000") are ordinary negatives.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from lookalike.errors import UserError

JUNK = "-1"

Indices = npt.NDArray[np.int64]
Labels = Sequence[object] | npt.NDArray[np.generic]  # text or whole numbers; compared as text


class Trial:
    """Queries against a gallery without junk.

    Args:
        query_persons: Q person ids, text or whole numbers, compared as text: 7, 7.0 and "7" are
            one person.
        gallery_persons: G person ids; "-1" is junk.
        query_cameras: Q camera ids.
        gallery_cameras: G camera ids.

    Attributes:
        kept: int64, positions in the caller's gallery of what is not junk, ascending. All other
            gallery positions here count within `kept`.
        query_cameras: the queries' cameras, as text.

    Raises:
        UserError: a label is a number that is not whole.
    """

    def __init__(
        self,
        query_persons: Labels,
        gallery_persons: Labels,
        query_cameras: Labels,
        gallery_cameras: Labels,
    ):
        for side, persons, cameras in (
            ("query", query_persons, query_cameras),
            ("gallery", gallery_persons, gallery_cameras),
        ):
            if len(persons) != len(cameras):
                raise ValueError(
                    f"{side}: {len(persons)} persons and {len(cameras)} cameras; "
                    "one of each per image"
                )
        query_persons, gallery_persons, query_cameras, gallery_cameras = (
            _whole(labels, name)
            for labels, name in (
                (query_persons, "query: persons"),
                (gallery_persons, "gallery: persons"),
                (query_cameras, "query: cameras"),
                (gallery_cameras, "gallery: cameras"),
            )
        )
        self.query_cameras = np.asarray([str(camera) for camera in query_cameras], dtype=np.str_)
        self._names = query_persons
        self._gallery = len(gallery_persons)
        persons = _codes(query_persons, gallery_persons)
        cameras = _codes(query_cameras, gallery_cameras)
        self.kept: Indices = np.flatnonzero(~_is_junk(gallery_persons))
        self._one_camera = len(np.unique(np.concatenate([cameras[0], cameras[1][self.kept]]))) == 1
        self._query_persons, self._query_cameras = persons[0], cameras[0]
        gallery_codes, self._gallery_cameras = persons[1][self.kept], cameras[1][self.kept]
        # Gallery positions grouped by person, ascending within each.
        self._order = np.argsort(gallery_codes, kind="stable")
        grouped = gallery_codes[self._order]
        self._starts = np.searchsorted(grouped, persons[0], side="left")
        self._ends = np.searchsorted(grouped, persons[0], side="right")

    def __len__(self) -> int:
        return len(self._query_persons)

    def check(self, queries: int, gallery: int) -> None:
        """Compare the numbers of images with those of labels.

        Raises:
            ValueError: they differ.
        """
        for side, images, labels in (
            ("query", queries, len(self)),
            ("gallery", gallery, self._gallery),
        ):
            if images != labels:
                raise ValueError(
                    f"{side}: {images} features and {labels} labels; one of each per image"
                )

    def pairs(self, queries: range) -> tuple[tuple[Indices, Indices], tuple[Indices, Indices]]:
        """The matches of some queries, and what is left out for them.

        Args:
            queries: consecutive positions.

        Returns:
            Two pairs (rows, columns): positions within `queries`, ascending, and gallery positions,
            ascending for each row.
        """
        window = slice(queries.start, queries.stop)
        starts, ends = self._starts[window], self._ends[window]
        rows = np.repeat(np.arange(len(queries)), ends - starts)
        # Each row's positions follow one another from its start.
        offsets = starts - (np.cumsum(ends - starts) - (ends - starts))
        columns = self._order[np.arange(len(rows)) + offsets[rows]]
        same = self._gallery_cameras[columns] == self._query_cameras[window][rows]
        return (rows[~same], columns[~same]), (rows[same], columns[same])

    def explain_invalid(self) -> str:
        """Why queries have no match; empty if all have one.

        Raises:
            UserError: none has one.
        """
        total = len(self)
        if total == 0:
            raise UserError("there are no query images; check the split")
        if len(self.kept) == 0:
            raise UserError("the gallery is empty or all junk (person -1); check the split")
        absent = self._starts == self._ends
        valid = np.zeros(total, dtype=np.bool_)
        for start in range(0, total, 1024):
            (rows, _), _ = self.pairs(range(start, min(start + 1024, total)))
            valid[start + rows] = True
        if valid.all():
            return ""
        other_camera = ~valid & ~absent
        parts = []
        if absent.any():
            example = self._names[int(absent.argmax())]
            parts.append(
                f"{int(absent.sum())} because their person has no gallery image (such as {example})"
            )
        if other_camera.any():
            example = self._names[int(other_camera.argmax())]
            parts.append(
                f"{int(other_camera.sum())} because their person's gallery images all come from "
                f"the query's own camera (such as {example})"
            )
        problem = f"{int((~valid).sum())} of {total} queries have no match: " + ", ".join(parts)
        if valid.any():
            return problem
        if self._one_camera:
            advice = "every image has the same camera id; give the images their real cameras"
        elif other_camera.any():
            advice = "give the images their real cameras, or draw queries from other cameras"
        else:
            advice = "queries and gallery must show the same persons; check the split"
        raise UserError(f"{problem}; {advice}")


def _whole(labels: Labels, name: str) -> Labels:
    """Labels without floats: pandas makes them of whole numbers where some are missing.

    Raises:
        UserError: one is not whole; says `name`.
    """
    if isinstance(labels, np.ndarray) and labels.dtype.kind not in "fO":
        return labels
    if not any(isinstance(label, float | np.floating) for label in labels):
        return labels
    whole = []
    for label in labels:
        if isinstance(label, float | np.floating):
            if not float(label).is_integer():
                raise UserError(f"{name} hold {label}: labels must be text or whole numbers")
            label = int(label)
        whole.append(label)
    return whole


def _is_junk(persons: Labels) -> npt.NDArray[np.bool_]:
    if isinstance(persons, np.ndarray) and persons.dtype.kind == "i":
        return np.asarray(persons == int(JUNK))
    return np.array([str(person) == JUNK for person in persons], dtype=np.bool_)


def _codes(*sides: Labels) -> list[Indices]:
    """Each label's text as a number, the same on all sides."""
    whole = [x for x in sides if isinstance(x, np.ndarray) and x.dtype.kind == "i"]
    if len(whole) == len(sides):
        # The same outcome as by text, many times faster.
        _, codes = np.unique(np.concatenate(whole), return_inverse=True)
        return np.split(codes.astype(np.int64), np.cumsum([len(x) for x in whole])[:-1])
    numbers: dict[str, int] = {}
    return [
        np.array([numbers.setdefault(str(label), len(numbers)) for label in side], dtype=np.int64)
        for side in sides
    ]
