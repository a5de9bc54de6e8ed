"""Shards as files: tar for webdataset, Parquet, or a folder of sound files; the unit of work."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator, Mapping
from typing import IO

import numpy as np

from fadae.arrays import Array
from fadae.export.parquet import write_parquet
from fadae.export.plan import ShardTask
from fadae.export.samples import Sample, samples_of


def export_shard(task: ShardTask) -> bool:
    """Write one shard; return whether it had to be. The unit of work.

    It appears whole or not at all; a folder's last file is its table.
    """
    if task.to.exists(task.commit):
        return False
    if task.format == "audiofolder":
        _write_folder(task)
        return True
    with task.to.writing(task.path) as file:
        if task.format == "webdataset":
            write_tar(file, samples_of(task))
        else:
            write_parquet(file, task.what, samples_of(task))
    return True


def write_tar(file: IO[bytes], samples: Iterator[Sample]) -> None:
    """Write samples as webdataset reads them: members KEY.json, KEY.flac, KEY.codes.npy ..."""
    with tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for sample in samples:
            for kind, data in sorted(_members(sample).items()):
                # Nobody's, of no time: the same bytes whoever writes them when.
                about = tarfile.TarInfo(f"{sample.key}.{kind}")
                about.size, about.mtime, about.mode = len(data), 0, 0o644
                tar.addfile(about, io.BytesIO(data))


def _members(sample: Sample) -> dict[str, bytes]:
    members = {f"{name}.npy": npy(values) for name, values in sample.rows.items()}
    if sample.pcm is not None:
        members["flac"] = sample.flac()
    members["json"] = json_line(sample.metadata)
    return members


def npy(values: Array) -> bytes:
    """Return an array as the bytes of a .npy file, without pickle."""
    file = io.BytesIO()
    np.lib.format.write_array(file, np.ascontiguousarray(values), allow_pickle=False)
    return file.getvalue()


def json_line(values: Mapping[str, object]) -> bytes:
    """Return values as one line of JSON, ASCII, in their order."""
    return json.dumps(values, ensure_ascii=True, allow_nan=False).encode("ascii") + b"\n"


def _write_folder(task: ShardTask) -> None:
    """Write a folder of sound files and, last, the table that tells of them."""
    lines = []
    for sample in samples_of(task):
        name = f"{sample.key}.flac"
        task.to.write_bytes(f"{task.path}/{name}", sample.flac())
        lines.append(json_line({"file_name": name, **sample.metadata}))
    task.to.write_bytes(task.commit, b"".join(lines))
