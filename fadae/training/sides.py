"""Which side of the split recordings come to lie on: copies of each other on the same one."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

import numpy as np

from fadae.arrays import Bool, Int64
from fadae.data import RowSet, Split, key_of, split_rows

log = logging.getLogger("fadae.training")

Families = Sequence[Sequence[int]]
"""Recordings that are copies of each other, by their rows of the table, the smallest id first."""


class Sides:
    """A split that grows part by part: what was divided once stays where it is."""

    def __init__(self, id_of: Callable[[int], str], holdout: float, seed: int) -> None:
        """Take what tells a recording's id by its row, the share to hold out, and the seed."""
        self._id_of, self._holdout, self._seed = id_of, holdout, seed
        self._held: dict[int, bool | None] = {}  # by row of the table; None on both sides
        self._parts: list[Split] = []

    @property
    def split(self) -> Split:
        """All parts so far as one."""
        return self._parts[0] if len(self._parts) == 1 else Split.joined(self._parts)

    def add(
        self, recordings: Int64, starts: Int64, counts: Int64, rows: int, families: Families
    ) -> None:
        """Divide recordings [n] with rows [starts, starts + counts) by themselves.

        A copy of one that was divided before joins its side; of some on both sides it is left out.
        `rows` counts the rows that the part spans, padding included.
        """
        family_of = {row: members for members in families for row in members}
        sides_of = {members[0]: self._sides_of(members) for members in families}
        older = [sides_of.get(family_of.get(row, (row,))[0], set()) for row in recordings.tolist()]
        new = np.array([not sides for sides in older], bool)
        joins = np.array([len(sides) == 1 and None not in sides for sides in older], bool)
        held = np.array([True in sides for sides in older], bool)
        names = [
            self._id_of(int(family_of.get(row, (row,))[0])) for row in recordings[new].tolist()
        ]
        if len(names) > 1 and len(set(names)) == 1:
            log.warning("all %d recordings are copies of each other: dividing them", len(names))
            names = [self._id_of(row) for row in recordings[new].tolist()]
        left = rows - int(counts[~new].sum())
        own = split_rows(names, starts[new], counts[new], left, self._holdout, self._seed)
        stops, key = starts + counts, key_of("sample", self._seed)
        joined = Split(
            RowSet.of(starts[joins & ~held], stops[joins & ~held], key),
            RowSet.of(starts[joins & held], stops[joins & held]),
            0,
        )
        self._parts.append(Split.joined([own, joined]) if not new.all() else own)
        self._remember(recordings[joins], held[joins])
        out = np.isin(starts[new], own.holdout.starts)
        self._remember(recordings[new], out)
        if len(names) == 1 and own.holdout.count:  # cut in time
            self._held[int(recordings[new][0])] = None

    def _sides_of(self, members: Sequence[int]) -> set[bool | None]:
        return {self._held[row] for row in members if row in self._held}

    def _remember(self, recordings: Int64, held: Bool) -> None:
        self._held |= dict(zip(recordings.tolist(), held.tolist(), strict=True))
