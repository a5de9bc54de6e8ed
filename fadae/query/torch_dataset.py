"""A workspace's rows as a PyTorch data set, on the loader that training reads with.

Rows come in the seeded order of `DataOrder`, cut into streams. A rank has STREAMS of them, and a
worker of a `DataLoader` some of its rank's: the loader asks its workers in turn, so that 1, 2 or 4
workers give the batches that none gives, in the same order.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, TypedDict, get_args

import torch
from torch import Tensor
from torch.utils.data import IterableDataset

from fadae.data import SequenceSet
from fadae.errors import NoInputError, UsageError, unknown
from fadae.query.torch_rows import (
    FrameSource,
    OpenedRows,
    Place,
    Streams,
    What,
    worker_of_loader,
)
from fadae.records import canonical_json, sha256_hex

if TYPE_CHECKING:
    from fadae.data import RowSet

ITEMS_AT_A_TIME = 64  # where single items are asked for
MOST_SECONDS = 3600.0  # 10,000 rows: a worker holds several


class DatasetState(TypedDict):
    """Where one worker of one rank stands in an epoch, and in which order."""

    epoch: int
    parts: int  # batches of its streams, empty ones counted
    items: int  # of the next one, where single items are asked for
    order: str


class FrameDataset(IterableDataset[Any]):
    """Batches, or single items, of rows of features, codes or audio; see `Workspace.torch`.

    Give it to a `DataLoader` with `batch_size=None`, or iterate it. `set_epoch` chooses the order;
    an epoch gives every row once, over all workers of all ranks. torchdata's `StatefulDataLoader`
    goes on inside an epoch, with the same number of workers. Pickled, it leaves storage options
    behind: workers that are not forked take theirs from the environment.
    """

    def __init__(
        self,
        source: FrameSource,
        sequences: SequenceSet,
        batch_size: int | None,
        seed: int,
        place: Place,
        whole: bool,
    ) -> None:
        """Take what to give; `whole`: single rows, without an axis of rows and their number."""
        if batch_size is not None and batch_size < 1:
            raise UsageError(f"batch_size must be at least 1, not {batch_size}")
        self._source, self._sequences, self._place = source, sequences, place
        self._items_at_a_time = batch_size or ITEMS_AT_A_TIME
        self._batched, self._seed, self._whole = batch_size is not None, seed, whole
        # Shared with workers that stay from epoch to epoch.
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()  # type: ignore[no-untyped-call]
        self._resumed: DatasetState | None = None
        self._given = (0, 0, 0)
        self._opened: tuple[int, OpenedRows] | None = None
        spans = sequences.spans.starts.tobytes() + sequences.spans.stops.tobytes()
        self._spans = hashlib.sha256(spans).hexdigest()

    def __getstate__(self) -> dict[str, object]:
        """Leave behind what is open."""
        return {**self.__dict__, "_opened": None}

    @property
    def rows(self) -> int:
        """Rows of the store that an epoch gives, over all ranks."""
        return self._sequences.spans.count

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of the epochs that begin from now on, in workers too."""
        self._epoch.fill_(epoch)

    def state_dict(self) -> DatasetState:
        """Return where this worker stands in the epoch, for `load_state_dict`."""
        if self._resumed is not None:
            return self._resumed
        epoch, parts, items = self._given
        return {"epoch": epoch, "parts": parts, "items": items, "order": self._order_name()}

    def load_state_dict(self, state: DatasetState) -> None:
        """Have the next iteration go on where `state_dict` stood; raises UsageError if it cannot.

        The data set must be the same: rows, seed, sizes, rank, and worker of as many.
        """
        if state["order"] != self._order_name():
            raise UsageError(
                "the state is of another data set: of other rows, or another run, split, seed, "
                "batch_size, rank, or number of workers"
            )
        self.set_epoch(state["epoch"])
        self._resumed = state

    def __iter__(self) -> Iterator[Any]:
        """Yield the batches, or items, that are this worker's of this rank's, of one epoch."""
        self._place.check()
        resumed, self._resumed = self._resumed, None
        epoch, parts, items = int(self._epoch), 0, 0
        if resumed is not None and resumed["epoch"] == epoch:
            parts, items = resumed["parts"], resumed["items"]
        self._given = (epoch, parts, items)
        return self._iterate(epoch, parts, items)

    def _iterate(self, epoch: int, parts: int, items: int) -> Iterator[Any]:
        opened = self._open()
        for records in opened.parts(epoch, parts):
            batch = opened.batch(records) if len(records) else None
            if batch is not None and self._batched:
                self._given = (epoch, parts + 1, 0)
                yield batch
            elif batch is not None:
                for item in range(items, len(records)):
                    self._given = (epoch, parts, item + 1)
                    yield {name: _item(values, item) for name, values in batch.items()}
            parts, items = parts + 1, 0
            self._given = (epoch, parts, 0)

    def _open(self) -> OpenedRows:
        """Return what this process reads from: after a fork, arrays of its own."""
        if self._opened is None or self._opened[0] != os.getpid():
            worker, workers = worker_of_loader()
            made = OpenedRows(
                self._source,
                self._sequences,
                Streams(self._place, worker, workers, self._items_at_a_time, self._seed),
                self._whole,
            )
            self._opened = os.getpid(), made
        return self._opened[1]

    def _order_name(self) -> str:
        source, place = self._source, self._place
        told = [source.what, source.run, source.model_sha256, self._spans, self._sequences.length]
        told += [self._batched, self._items_at_a_time, self._seed, place.rank, place.world]
        return sha256_hex(canonical_json([*told, *worker_of_loader()]))[:32]


def _item(values: Tensor | list[str], item: int) -> Tensor | str | float:
    found = values[item]
    return found.item() if isinstance(found, Tensor) and not found.ndim else found


def rows_within(rows: RowSet, stop: int) -> RowSet:
    """Return the spans that end before a row: what a run has reconstructed."""
    inside = rows.stops <= stop
    return type(rows).of(rows.starts[inside], rows.stops[inside])


def stretch_rows(seconds: float | None, hop_seconds: float) -> int:
    """Return how many rows come nearest to a time, at least 1; raises UsageError.

    >>> stretch_rows(None, 0.34), stretch_rows(10.0, 0.34)
    (1, 29)
    """
    if seconds is None:
        return 1
    if not 0 < seconds <= MOST_SECONDS:
        raise UsageError(f"seconds must be above 0 and at most {MOST_SECONDS:g}, not {seconds:g}")
    return max(1, round(seconds / hop_seconds))


def frame_dataset(
    source: FrameSource,
    rows: RowSet,
    seconds: float | None,
    batch_size: int | None,
    seed: int,
    place: Place,
) -> FrameDataset:
    """Return the data set of some rows; raises NoInputError where there are none."""
    if source.what not in get_args(What):
        raise unknown("kind of row", source.what, get_args(What))
    features, store = source.stores()
    transform = features.transform
    length = stretch_rows(seconds, transform.hop_samples / transform.sample_rate_hz)
    rows = rows_within(rows, store.rows)
    if not rows.count:
        raise NoInputError(f"{source.location.url} holds no such rows of {source.what}")
    sequences = SequenceSet(rows, length)
    return FrameDataset(source, sequences, batch_size, seed, place, seconds is None)
