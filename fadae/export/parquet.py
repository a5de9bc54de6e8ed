"""Shards as Parquet, which `datasets`, pandas and DuckDB read: one row a piece.

Rows of codes and features are lists of lists of one length; sound is the bytes of a FLAC file
beside a name, as `datasets.Audio` takes it.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import IO, Any

import numpy as np

from fadae.arrays import Array
from fadae.errors import UsageError
from fadae.export.samples import Sample

_GROUP_BYTES = 2**25  # of a row group, before compression


def ensure_parquet() -> None:
    """Raise UsageError where there is no pyarrow."""
    try:
        import pyarrow.parquet  # noqa: F401 - whether it is there
    except ImportError as error:
        raise UsageError(
            f"Parquet needs pyarrow ({error}): pip install 'fadae[export]', or --format webdataset"
        ) from error


def write_parquet(file: IO[bytes], what: Sequence[str], samples: Iterator[Sample]) -> None:
    """Write samples a row group at a time: the same bytes each time with the same pyarrow."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    first = next(samples)
    schema = pa.schema([pa.field("key", pa.string()), *_fields(pa, first)])
    with pq.ParquetWriter(file, schema, compression="zstd") as writer:
        held, taken = list[Sample](), 0
        for sample in itertools.chain([first], samples):
            held.append(sample)
            taken += sum(values.nbytes for values in sample.rows.values())
            taken += 0 if sample.pcm is None else sample.pcm.nbytes
            if taken >= _GROUP_BYTES:
                writer.write_table(_table(pa, schema, held))
                held, taken = [], 0
        if held:
            writer.write_table(_table(pa, schema, held))


def _fields(pa: Any, sample: Sample) -> Iterator[Any]:
    """Yield the columns that samples like one have."""
    kinds = {str: pa.string(), int: pa.int64(), float: pa.float64()}
    for name, value in sample.metadata.items():
        yield pa.field(name, kinds[type(value)])
    for name, values in sample.rows.items():
        row = pa.from_numpy_dtype(values.dtype)
        if values.ndim == 2:
            row = pa.list_(row, values.shape[1])
        yield pa.field(name, pa.list_(row))
    if sample.pcm is not None:
        yield pa.field("audio", pa.struct([("bytes", pa.binary()), ("path", pa.string())]))


def _table(pa: Any, schema: Any, samples: Sequence[Sample]) -> Any:
    columns: dict[str, object] = {"key": [sample.key for sample in samples]}
    for name in samples[0].metadata:
        columns[name] = [sample.metadata[name] for sample in samples]
    for name in samples[0].rows:
        columns[name] = _lists(pa, schema.field(name).type, [one.rows[name] for one in samples])
    if samples[0].pcm is not None:
        columns["audio"] = [{"bytes": one.flac(), "path": f"{one.key}.flac"} for one in samples]
    return pa.table(columns, schema=schema)


def _lists(pa: Any, kind: Any, rows: Sequence[Array]) -> Any:
    """Return a column whose every value is a list of rows [n] or [n, N]."""
    offsets = np.cumsum([0, *map(len, rows)], dtype=np.int32)
    values = pa.array(np.ascontiguousarray(np.concatenate(rows)).reshape(-1))
    if rows[0].ndim == 2:
        values = pa.FixedSizeListArray.from_arrays(values, rows[0].shape[1])
    return pa.ListArray.from_arrays(pa.array(offsets), values).cast(kind)
