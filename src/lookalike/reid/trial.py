"""Who is to be found by whom: labels of queries and gallery under the protocol of Market-1501.

Per query, gallery images of the same person seen by the same camera are left out, and so is junk
(person "-1"). Distractors (person "0000") are ordinary negatives.
"""

from __future__ import annotations

import numpy as np

from lookalike.errors import UserError
from lookalike.reid.labels import Indices, Labels, codes, is_junk, read_labels


class Trial:
    """Queries against a gallery without junk.

    Args:
        query_persons: Q person ids, compared as text: 7, 7.0, " 7" and b"7" are one person; what
            labels may be says `read_labels`.
        gallery_persons: G person ids; -1 is junk.
        query_cameras: Q camera ids.
        gallery_cameras: G camera ids.

    Attributes:
        kept: int64, positions in the caller's gallery of what is not junk, ascending. All other
            gallery positions here count within `kept`.
        query_cameras: the queries' cameras, as text.

    Raises:
        ValueError: not one person and one camera per image.
        UserError: a label is neither text nor a whole number.
    """

    def __init__(
        self,
        query_persons: Labels,
        gallery_persons: Labels,
        query_cameras: Labels,
        gallery_cameras: Labels,
    ):
        query = read_labels(query_persons, "query: persons")
        gallery = read_labels(gallery_persons, "gallery: persons")
        sides = (
            read_labels(query_cameras, "query: cameras"),
            read_labels(gallery_cameras, "gallery: cameras"),
        )
        for side, labels, seen_by in (("query", query, sides[0]), ("gallery", gallery, sides[1])):
            if len(labels) != len(seen_by):
                raise ValueError(
                    f"{side}: {len(labels)} persons and {len(seen_by)} cameras; "
                    "one of each per image"
                )
        self.query_cameras = np.asarray([str(camera) for camera in sides[0]], dtype=np.str_)
        self._names = query
        self._gallery = len(gallery)
        persons = codes(query, gallery)
        cameras = codes(*sides)
        self.kept: Indices = np.flatnonzero(~is_junk(gallery, "gallery: persons"))
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
