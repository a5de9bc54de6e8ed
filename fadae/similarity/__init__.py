"""What sounds alike, and what is the same: vectors and fingerprints kept beside the features."""

from typing import TYPE_CHECKING

from fadae._lazy import lazily

if TYPE_CHECKING:
    from fadae.similarity.erasing import erase_derived
    from fadae.similarity.families import duplicates, ends, families_of, known_families
    from fadae.similarity.index import GROUP_PACKS, indexed_groups, indexed_hits, make_indexes
    from fadae.similarity.join import PRINTS, overlap_seconds, score
    from fadae.similarity.packs import make_packs, missing_packs, packs_of
    from fadae.similarity.prints import write_prints
    from fadae.similarity.segments import SEGMENTS, best_of, every_pack, nearest
    from fadae.similarity.vectors import SEGMENT_ROWS, unit, windows_of
else:
    __getattr__ = lazily(
        __name__,
        {
            "fadae.similarity.erasing": ["erase_derived"],
            "fadae.similarity.families": ["duplicates", "ends", "families_of", "known_families"],
            "fadae.similarity.index": [
                "GROUP_PACKS",
                "indexed_groups",
                "indexed_hits",
                "make_indexes",
            ],
            "fadae.similarity.join": ["PRINTS", "overlap_seconds", "score"],
            "fadae.similarity.packs": ["make_packs", "missing_packs", "packs_of"],
            "fadae.similarity.prints": ["write_prints"],
            "fadae.similarity.segments": ["SEGMENTS", "best_of", "every_pack", "nearest"],
            "fadae.similarity.vectors": ["SEGMENT_ROWS", "unit", "windows_of"],
        },
    )

__all__ = [
    "GROUP_PACKS",
    "PRINTS",
    "SEGMENTS",
    "SEGMENT_ROWS",
    "best_of",
    "duplicates",
    "ends",
    "erase_derived",
    "every_pack",
    "families_of",
    "indexed_groups",
    "indexed_hits",
    "known_families",
    "make_indexes",
    "make_packs",
    "missing_packs",
    "nearest",
    "overlap_seconds",
    "packs_of",
    "score",
    "unit",
    "windows_of",
    "write_prints",
]
