"""Which rows a run sees, in which order, and how they get into memory: NumPy only."""

from typing import TYPE_CHECKING

from fadae._lazy import lazily

if TYPE_CHECKING:
    from fadae.data.loader import Loader, Read, UnitReader
    from fadae.data.order import CHUNK_ROWS, SHARD_ROWS, DataOrder, lanes_of
    from fadae.data.rows import RowSet, Split, key_of, keyed_hash, split_rows
    from fadae.data.sequences import SequenceReader, SequenceSet
else:
    __getattr__ = lazily(
        __name__,
        {
            "fadae.data.loader": ["Loader", "Read", "UnitReader"],
            "fadae.data.order": ["CHUNK_ROWS", "DataOrder", "SHARD_ROWS", "lanes_of"],
            "fadae.data.rows": ["RowSet", "Split", "key_of", "keyed_hash", "split_rows"],
            "fadae.data.sequences": ["SequenceReader", "SequenceSet"],
        },
    )

__all__ = [
    "CHUNK_ROWS",
    "SHARD_ROWS",
    "DataOrder",
    "Loader",
    "Read",
    "RowSet",
    "SequenceReader",
    "SequenceSet",
    "Split",
    "UnitReader",
    "key_of",
    "keyed_hash",
    "lanes_of",
    "split_rows",
]
