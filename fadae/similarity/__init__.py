"""What sounds alike: vectors of short stretches, kept beside the features."""

from typing import TYPE_CHECKING

from fadae._lazy import lazily

if TYPE_CHECKING:
    from fadae.similarity.packs import make_packs, packs_of
    from fadae.similarity.segments import SEGMENTS, every_pack, nearest
    from fadae.similarity.vectors import SEGMENT_ROWS, unit, windows_of
else:
    __getattr__ = lazily(
        __name__,
        {
            "fadae.similarity.packs": ["make_packs", "packs_of"],
            "fadae.similarity.segments": ["SEGMENTS", "every_pack", "nearest"],
            "fadae.similarity.vectors": ["SEGMENT_ROWS", "unit", "windows_of"],
        },
    )

__all__ = [
    "SEGMENTS",
    "SEGMENT_ROWS",
    "every_pack",
    "make_packs",
    "nearest",
    "packs_of",
    "unit",
    "windows_of",
]
