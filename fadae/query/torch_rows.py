"""Rows of a workspace for PyTorch: where they are read, by which worker, and as what tensors."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
import torch.distributed
from torch import Tensor
from torch.utils.data import get_worker_info

from fadae.arrays import Array
from fadae.data import DataOrder, Loader, SequenceReader, SequenceSet
from fadae.errors import UsageError
from fadae.memory import cache_within, memory_limit_bytes
from fadae.store import (
    CODE_ARRAYS,
    NO_SAMPLE,
    PCM_SCALE,
    FeatureSet,
    FrameStore,
    Location,
    PublishedRecordings,
    attrs_of,
    reconstruction_path,
)
from fadae.training import owners

What = Literal["features", "codes", "audio"]
# What a batch holds under each name: tensors [B, ...], and the recordings' ids.
Batch = Mapping[str, "Tensor | list[str]"]

STREAMS = 4  # of a rank: so many workers give one order
LANES = 16  # of a rank, each a window of shuffled rows in memory, and the next
WINDOW_ROWS = 1024
_NAMES_KEPT = 4096
# A batch's name for each array, by what is asked for: the features' arrays, or a run's.
_ARRAYS: dict[str, Mapping[str, str]] = {
    "features": {"features": "features"},
    "audio": {"audio": "audio"},
    "codes": CODE_ARRAYS,
}


@dataclass(frozen=True)
class FrameSource:
    """Where rows are read: plain values, so that every process opens its own arrays."""

    location: Location
    at: int | str | None
    what: What
    run: str | None
    model_sha256: str | None  # of the run that wrote the codes

    def stores(self) -> tuple[FeatureSet, FrameStore]:
        """Return the features, and the store that holds the rows, as published now."""
        location = self.location.below("")  # anew: a forked process has no event loop of its own
        features = FeatureSet.open(location, self.at)
        if self.run is None:
            return features, features.store
        store = FrameStore.open(location, reconstruction_path(self.run))
        if attrs_of(store)["model_sha256"] != self.model_sha256:
            raise UsageError(f"run {self.run!r} was reconstructed anew: make the data set again")
        return features, store


@dataclass(frozen=True)
class Place:
    """Which rank this is, of how many; `told` where the caller said so."""

    rank: int
    world: int
    told: bool

    @classmethod
    def of(cls, rank: int | None, world_size: int | None) -> Place:
        """Return the place that is told, else that of torch.distributed, else the only one."""
        if (rank is None) != (world_size is None):
            raise UsageError("rank and world_size go together")
        if rank is None or world_size is None:
            return cls(*_of_group(), told=False)
        if not 0 <= rank < world_size:
            raise UsageError(f"rank must be from 0 to world_size - 1, not {rank} of {world_size}")
        return cls(rank, world_size, told=True)

    def check(self) -> None:
        """Raise UsageError where the process group came up after the data set was made."""
        if not self.told and get_worker_info() is None and _of_group() != (self.rank, self.world):
            raise UsageError(
                "the process group came up after the data set: make it after "
                "init_process_group, or pass rank= and world_size="
            )


def _of_group() -> tuple[int, int]:
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    return 0, 1


def worker_of_loader() -> tuple[int, int]:
    """Return which worker of a `DataLoader` this process is, of how many."""
    info = get_worker_info()
    return (0, 1) if info is None else (info.id, info.num_workers)


@dataclass(frozen=True)
class Streams:
    """The streams that one worker of one rank gives, of those of all."""

    place: Place
    worker: int
    workers: int
    items: int
    seed: int

    @property
    def of_a_rank(self) -> int:
        """A multiple of the workers, where they are so few that the order can be one."""
        return STREAMS if STREAMS % self.workers == 0 else self.workers

    @property
    def groups(self) -> list[range]:
        """The lanes of each stream."""
        lanes, of_a_rank = self.lanes_of_a_stream, self.of_a_rank
        mine = range(self.worker, of_a_rank, self.workers)
        streams = [self.place.rank * of_a_rank + stream for stream in mine]
        return [range(stream * lanes, (stream + 1) * lanes) for stream in streams]

    @property
    def lanes_of_a_stream(self) -> int:
        """So many that the lanes of a rank take the memory of a training's."""
        return max(1, LANES // self.of_a_rank)

    def order(self, sequences: SequenceSet) -> DataOrder:
        """Return the order of all ranks' streams: a step is a batch of each."""
        streams = self.place.world * self.of_a_rank
        return DataOrder(
            sequences,
            self.seed,
            self.items * streams,
            streams * self.lanes_of_a_stream,
            max(1, WINDOW_ROWS // sequences.length),
        )


class OpenedRows:
    """What one process has open: arrays, the order, and the names of recordings lately used."""

    def __init__(
        self, source: FrameSource, sequences: SequenceSet, streams: Streams, whole: bool
    ) -> None:
        features, self._store = source.stores()
        self._streams, self._whole = streams, whole
        there = set(self._store.names)
        self._names = {name: of for name, of in _ARRAYS[source.what].items() if of in there}
        arrays = {name: self._store.array(of) for name, of in self._names.items()}
        self._order = streams.order(sequences)
        # Workers come new every epoch, or see other units in it: what they kept is seldom asked.
        cache = 0 if get_worker_info() else cache_within(memory_limit_bytes())
        fields = {name: (array.dtype, array.shape[1:]) for name, array in arrays.items()}
        self._reader = SequenceReader(
            self._read, self._order, sequences, fields, cache, self._store.rows
        )
        transform = features.transform
        self._hop_seconds = transform.hop_samples / transform.sample_rate_hz
        self._starts, self._recordings = owners(features)
        published = PublishedRecordings(features.store)
        self._id = functools.lru_cache(_NAMES_KEPT)(lambda row: published.row(row).id)

    def parts(self, epoch: int, given: int) -> Iterator[Array]:
        """Yield the records [n] of the streams' batches in turn, `given` of the epoch left out."""
        order, groups = self._order, self._streams.groups
        step, skipped = divmod(given, len(groups))
        if step >= order.steps:
            return
        with Loader(
            self._reader,
            order,
            groups,
            self._records,
            self._reader.dtype.itemsize,
            np.uint8,
            epoch * order.steps + step,
            epoch,
        ) as loader:
            for _ in range(step, order.steps):
                yield from itertools.islice(loader.next().parts, skipped, None)
                skipped = 0

    def batch(self, records: Array) -> Batch:
        """Return records [n] as tensors [n, ...], with their recordings' ids and their times."""
        rows = records["row"]
        of = np.searchsorted(self._starts, rows, side="right") - 1
        batch: dict[str, Tensor | list[str]] = {
            name: self._tensor(name, records[name]) for name in self._names
        }
        batch["recording"] = [self._id(row) for row in self._recordings[of].tolist()]
        batch["start_seconds"] = torch.from_numpy((rows - self._starts[of]) * self._hop_seconds)
        if not self._whole:
            batch["length"] = torch.from_numpy(records["length"].copy())
        return batch

    def _tensor(self, name: str, values: Array) -> Tensor:
        """Return a field [n, rows, ...] as a tensor: a row's, or of all rows with their axis."""
        if self._whole:
            values = values[:, 0]
        found = torch.from_numpy(values)
        if name == "audio":
            samples = found.float()
            samples = samples.masked_fill_(samples == NO_SAMPLE, 0).mul_(PCM_SCALE)
            return samples.flatten(1)
        if name == "features":
            return found.float()
        return found.clone(memory_format=torch.contiguous_format)

    def _records(self, read: Array) -> Array:
        return np.ascontiguousarray(read).view(self._reader.dtype)[:, 0]

    def _read(self, start: int, stop: int) -> Mapping[str, Array]:
        return {name: self._store.read(of, start, stop) for name, of in self._names.items()}
