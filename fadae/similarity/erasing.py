"""Erasing what is derived of recordings whose sound is erased; the rest is made anew when asked.

Derived objects are functions of published blocks. Once an erasure has filled a block, whatever was
derived of it before still tells of what was there: it goes whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from fadae.similarity.index import GROUP_PACKS, index_path
from fadae.similarity.join import PAIR, PRINTS
from fadae.similarity.packs import BLOCKS_PER_PACK, Derived, Layout
from fadae.similarity.prints import PRINT
from fadae.similarity.segments import SEGMENTS
from fadae.store import BLOCK_FRAMES, DamagedError, Forgotten, Location, paths


def erase_derived(location: Location, gone: Forgotten) -> int:
    """Remove fingerprints, vectors, indexes and pairs of silent recordings; return the number.

    What is not of them stays. Called again it finds nothing more.
    """
    if not len(gone.silent):
        return 0
    blocks = _blocks(gone)
    packs = {block // BLOCKS_PER_PACK for block in blocks}
    derived = list(_derived(location, blocks, packs))
    telling = [path for path, how in derived if _tells(location, path, how, gone, "recording")]
    kept = _segment_packs(path for path, _ in derived) - _segment_packs(telling)
    # First what is made of vectors: of these, or of some that are gone already.
    location.delete_many({index_path(pack // GROUP_PACKS) for pack in packs - kept})
    location.delete_many(telling)
    return len(telling) + _erase_pairs(location, gone)


def _segment_packs(derived: Iterable[str]) -> set[int]:
    """Return the numbers of the packs of vectors among some objects."""
    names = (path.rpartition("/")[2] for path in derived if path.startswith(f"{paths.SEGMENTS}/"))
    return {int(name.partition("-")[0]) for name in names}


def _blocks(gone: Forgotten) -> set[int]:
    """Return the blocks that had sound of silent recordings."""
    heard = gone.counts > 0
    first = gone.starts[heard] // BLOCK_FRAMES
    last = (gone.starts[heard] + gone.counts[heard] - 1) // BLOCK_FRAMES
    spans = zip(first.tolist(), last.tolist(), strict=True)
    return {block for low, high in spans for block in range(low, high + 1)}


def _derived(location: Location, blocks: set[int], packs: set[int]) -> Iterator[tuple[str, Layout]]:
    """Yield the objects, of all versions, that are derived of some blocks."""
    kinds: tuple[Derived, ...] = (PRINTS, SEGMENTS)
    for kind in kinds:
        for name in location.names(kind.folder):
            number = name.partition("-")[0]
            if number.isdecimal() and int(number) in packs:
                yield f"{kind.folder}/{name}", kind.layout
    for block in sorted(blocks):
        yield paths.print_path(block), Layout(PRINT)


def _erase_pairs(location: Location, gone: Forgotten) -> int:
    """Remove the pairs that were found, where they tell of one, or a search is under way."""
    removed = 0
    for name in location.names(paths.DUPLICATES):
        path = f"{paths.DUPLICATES}/{name}"
        is_part = not name.isdecimal()
        if is_part or any(_tells(location, path, Layout(PAIR), gone, end) for end in "ab"):
            location.delete(path)
            removed += 1
    return removed


def _tells(location: Location, path: str, layout: Layout, gone: Forgotten, field: str) -> bool:
    """Return whether an object has a row of a silent recording; a damaged one may have."""
    try:
        rows = layout.decoded(location.read_bytes(path), path)
    except FileNotFoundError:
        return False
    except DamagedError:
        return True
    return bool(np.isin(rows[field], gone.silent).any())
