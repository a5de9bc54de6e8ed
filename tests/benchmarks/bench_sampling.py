"""What a training sample reads, and what a bucket's latency costs: `python -m
tests.benchmarks.bench_sampling [RECORDINGS]`.

Bytes are counted at the store, over stores of three sizes whose recordings are short (30 rows in
the mean): the sample is a sixtieth of the rows. Beside it stands the rule of older runs. Then a
trainer on a bucket 20 ms away is compared with the same one on frames in memory, in alternation.
"""

from __future__ import annotations

import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import zarr.storage

from fadae.arrays import Array
from fadae.config.job import TrainConfig
from fadae.data import CHUNK_ROWS, DataOrder, Loader, UnitReader
from fadae.store.features import RECORDING_COLUMNS, FeatureSet, feature_attrs, feature_specs
from fadae.store.frames import FrameStore
from fadae.store.layout import BLOCK_FRAMES
from fadae.store.location import Location
from fadae.store.paths import FEATURES
from fadae.training.context import Preempted
from fadae.training.dataset import open_dataset
from fadae.transform.adaptive import FrequencyAdaptiveTransform
from tests.s3 import s3_server
from tests.training.features import structured_frames, write_features
from tests.training.small import metrics_of, stopping_after, train_until

if TYPE_CHECKING:
    from zarr.abc.store import ByteRequest
    from zarr.core.buffer import Buffer, BufferPrototype

MEAN_ROWS, SHARE = 30, 60
STEPS, FIRST_STEPS, PAIRS = 160, 40, 3


def sample_read_ratio(location: Location, frames: int = 500_000, **settings: Any) -> float:
    """Return the rows of chunks that a sample's first epoch reads over the rows it uses.

    Nothing is read but the recording table: the chunks that the trainer's reader asks for are
    counted, as a store hands out chunks only. Where rows are as large as each other these are the
    bytes, too.
    """
    dataset = open_dataset(location, TrainConfig(max_frames=frames, **settings), None)
    order = DataOrder(dataset.split.train, 0, 64)
    chunks = 0

    def read(start: int, stop: int) -> Array:
        nonlocal chunks
        chunks += -(-stop // CHUNK_ROWS) - start // CHUNK_ROWS
        return np.broadcast_to(np.float16(0), (stop - start, 1))

    reader = UnitReader(read, order, 0, dataset.rows)
    for unit in order.units.tolist():
        reader.unit(unit)
    return chunks * CHUNK_ROWS / order.count


class Counting(zarr.storage.WrapperStore[Any]):
    """A store that counts the bytes it hands out."""

    bytes_read = 0

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        found: Buffer | None = await self._store.get(key, prototype, byte_range)
        Counting.bytes_read += 0 if found is None else len(found)
        return found

    async def get_partial_values(
        self, prototype: BufferPrototype, key_ranges: Iterable[tuple[str, ByteRequest | None]]
    ) -> list[Buffer | None]:
        found: list[Buffer | None] = await self._store.get_partial_values(prototype, key_ranges)
        Counting.bytes_read += sum(0 if one is None else len(one) for one in found)
        return found


class CountingLocation(Location):
    """A folder whose Zarr stores count."""

    def zarr_store(self, path: str, *, read_only: bool = False) -> Any:
        return Counting(super().zarr_store(path, read_only=read_only))


def bytes_ratio(folder: Path, frames: int, **settings: Any) -> float:
    """Return the bytes that a sample's first epoch reads at the store over those it uses."""
    location = CountingLocation(str(folder))
    dataset = open_dataset(location, TrainConfig(max_frames=frames, **settings), None)
    order = DataOrder(dataset.split.train, 0, 64)
    features = FeatureSet.open(location)

    def read(start: int, stop: int) -> Array:
        return features.read("features", start, stop)

    reader, rows = UnitReader(read, order, 0, dataset.rows), 0
    Counting.bytes_read = 0
    for unit in order.units.tolist():
        rows += len(reader.unit(unit)[0])
    row_bytes = (folder / FEATURES / "features/c/0/0").stat().st_size / BLOCK_FRAMES
    return Counting.bytes_read / (rows * row_bytes)


def many_recordings(folder: Path, recordings: int) -> int:
    """Publish so many short recordings, whose blocks are one file under many names; return rows."""
    transform, location = FrequencyAdaptiveTransform.preset("seed"), Location(str(folder))
    attrs = feature_attrs(transform.config(), "float16")
    specs = feature_specs(transform, "float16")
    store = FrameStore.create(location, FEATURES, specs, attrs)
    counts = np.random.default_rng(0).integers(1, 2 * MEAN_ROWS, recordings)
    starts = np.cumsum(counts) - counts
    blocks = -(-int(counts.sum()) // BLOCK_FRAMES)
    values: dict[str, Array] = {
        name: np.zeros((BLOCK_FRAMES, *store.array(name).shape[1:]), store.array(name).dtype)
        for name in store.frame_names
    }
    values["features"] = structured_frames(BLOCK_FRAMES, 1)
    store.write_block(0, values, "benchmark")
    first = folder / store.block_path("features", 0)
    for block in range(1, blocks):
        path = folder / store.block_path("features", block)
        path.parent.mkdir(parents=True, exist_ok=True)
        if block % 10_000:  # a file has 65,000 names at most
            os.link(first, path)
        else:
            path.write_bytes(first.read_bytes())
            first = path
    columns: dict[str, Any] = {
        f"recording_{name}": ["" if dtype == "str" else 0] * recordings
        for name, (dtype, _, _) in RECORDING_COLUMNS.items()
    }
    columns["recording_id"] = [f"item/{number}.ogg" for number in range(recordings)]
    columns |= {"recording_frame_start": starts, "recording_frame_count": counts}
    columns["recording_same_as"] = np.full(recordings, -1)
    store.write_recordings(0, columns)
    store.publish(blocks * BLOCK_FRAMES, recordings)
    return int(counts.sum())


def trainer_rate(location: Location, run: str, **settings: Any) -> float:
    """Return the samples a second of a run once its first windows are there."""
    config = TrainConfig(run=run, ranks=1, holdout=0.1, checkpoint_seconds=1e9, **settings)
    with contextlib.suppress(Preempted):
        train_until(location, config, stopping_after(STEPS))
    seconds = {line["step"]: line["seconds"] for line in metrics_of(location, run)}
    rows = config.batch_size * (STEPS - FIRST_STEPS)
    return float(rows / (seconds[STEPS] - seconds[FIRST_STEPS]))


def loader_rate(location: Location, batch_size: int, **settings: Any) -> float:
    """Return the rows a second that the loader hands out where nobody learns them."""
    dataset = open_dataset(location, TrainConfig(holdout=0.1, **settings), None)
    order = DataOrder(dataset.split.train, 0, batch_size)

    def read(start: int, stop: int) -> Array:
        return dataset.features.read("features", start, stop)

    reader = UnitReader(read, order, 0, dataset.rows)
    size = dataset.features.transform.size
    started = time.monotonic()
    with Loader(reader, order, [range(order.lanes)], len, size, np.float16) as batches:
        for _ in range(order.steps):
            batches.next()
    return order.count / (time.monotonic() - started)


@contextlib.contextmanager
def slow_proxy(target: int) -> Iterator[int]:
    """Yield the port of a proxy that adds 20 ms, in a process of its own: it takes no GIL here."""
    code = (
        "import sys; from tests.benchmarks.bench_slice import SlowProxy\n"
        "print(SlowProxy(int(sys.argv[1])).started().port, flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(target)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline())
        finally:
            process.kill()


def latency() -> None:
    """Print what 20 ms between trainer and bucket cost, in memory beside it, in alternation."""
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        server = stack.enter_context(s3_server(Path(folder)))
        direct = Location(f"{server.url}/latency", server.storage_options)
        write_features(direct, [1000] * 40)
        here = Location(f"{folder}/workspace")
        write_features(here, [1000] * 10)
        port = stack.enter_context(slow_proxy(server.port + 3))
        options = {**server.storage_options, "endpoint_url": f"http://127.0.0.1:{port}"}
        slow = Location(direct.url, options)
        # A third of the chunks: each costs a request of its own, and one for its shard's index.
        sample: dict[str, Any] = {"max_frames": 12_000}
        rate = loader_rate(slow, 64, **sample)
        print(f"loader alone, bucket 20 ms away: {rate:.0f} rows a second", flush=True)
        for name, more in (
            ("fp32, batch 64", {"precision": "fp32"}),
            ("bf16, batch 256", {"precision": "bf16", "batch_size": 256}),
        ):
            rates = []
            for pair in range(PAIRS):
                run = f"{more['precision']}-{pair}"
                far = trainer_rate(slow, run, cache_gb="0", **sample, **more)
                rates.append((far, trainer_rate(here, run, max_frames=8_000, **more)))
            share = statistics.median(far / near for far, near in rates)
            said = ", ".join(f"{far:.0f}/{near:.0f}" for far, near in rates)
            print(
                f"trainer, bucket / memory, {name:<16} {share:6.2f}   >= 0.98   ({said})",
                flush=True,
            )


def main() -> None:
    most = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    for recordings in (most // 100, most // 10, most):
        with tempfile.TemporaryDirectory() as name:
            rows = many_recordings(Path(name), recordings)
            frames = rows // SHARE
            location = Location(name)
            print(
                f"{recordings:>9} recordings, {frames:>7} of {rows:>9} rows: bytes read / used "
                f"{bytes_ratio(Path(name), frames):5.2f}   <= 2; by chunks "
                f"{sample_read_ratio(location, frames):5.2f}; single rows "
                f"{sample_read_ratio(location, frames, rules=1):5.1f}",
                flush=True,
            )
    latency()


if __name__ == "__main__":
    main()
