"""OGG -> published features beside decoding the same files: core-seconds, in one run.

`python -m tests.benchmarks.bench_extract [FOLDER OF OGG FILES]`. One process, one thread, a local
folder; the decoder is the same, in this process in all of it.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[variable] = "1"

import cProfile  # noqa: E402 - the thread count must be set first
import hashlib  # noqa: E402
import pstats  # noqa: E402
import sys  # noqa: E402
import tempfile  # noqa: E402
import time  # noqa: E402
from pathlib import Path  # noqa: E402

from fadae.audio.decode import decode  # noqa: E402
from fadae.records import Commit, Decoded, Track  # noqa: E402
from fadae.stages.extract import extract  # noqa: E402
from fadae.store.location import Location  # noqa: E402
from fadae.store.paths import pcm_path  # noqa: E402
from fadae.store.staging import write_commit  # noqa: E402
from tests.conftest import shared_dir  # noqa: E402

RATE_HZ = 11025
ZOUNDS = 130.0  # audio seconds per core-second, OGG -> features
LIMIT, AIM, REPEATS = 1.8, 1.5, 5


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else shared_dir() / "recordings"
    files = sorted(path for path in folder.glob("*.ogg") if path.stem != "silence")
    seconds = sum(len(block) for file in files for block in decode(file, RATE_HZ)) / RATE_HZ
    print(f"{len(files)} OGG files, {seconds:.0f} s of audio")
    decoding, staging, extracting = [], [], []
    for _ in range(REPEATS):  # interleaved, so that a busy machine troubles all alike
        decoding.append(_spent(lambda: _each(_drain, files)))
        with tempfile.TemporaryDirectory() as scratch:
            location = Location(scratch)
            staging.append(
                _spent(functools.partial(_each, functools.partial(_stage, location), files))
            )
            extracting.append(_spent(functools.partial(extract, location)))
    alone, staged, extracted = min(decoding), min(staging), min(extracting)
    print(f"decode            {alone / seconds * 1e3:.3f} ms an audio second")
    print(f"decode and stage  {staged / seconds * 1e3:.3f}")
    print(f"extract           {extracted / seconds * 1e3:.3f}")
    ratio = (staged + extracted) / alone
    rate = seconds / (staged + extracted)
    print(
        f"OGG -> published features: {ratio:.2f}x decoding (limit {LIMIT}, aim {AIM}); "
        f"{rate:.0f} audio s per core-second, {rate / ZOUNDS:.1f}x zounds"
    )
    _profile(files)


def _each(work: Callable[[Path], None], files: list[Path]) -> None:
    for file in files:
        work(file)


def _spent(work: Callable[[], object]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


def _drain(file: Path) -> None:
    for _ in decode(file, RATE_HZ):
        pass


def _stage(location: Location, file: Path) -> None:
    """What ingest does with a file besides fetching it: decode, hash, write, commit."""
    digest, samples = hashlib.sha256(), 0
    track = Track("bench", file.name)
    with location.writing(pcm_path(track.id)) as pcm:
        for block in decode(file, RATE_HZ):
            data = block.astype("<i2", copy=False).tobytes()
            digest.update(data)
            pcm.write(data)
            samples += len(block)
    decoded = Decoded(RATE_HZ, samples, digest.hexdigest(), 44100, 2, file.stat().st_size, "")
    write_commit(location, Commit(track, decoded=decoded))


def _profile(files: list[Path]) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        location = Location(scratch)
        for file in files:
            _stage(location, file)
        profile = cProfile.Profile()
        profile.runcall(extract, location)
        pstats.Stats(profile, stream=sys.stdout).sort_stats("tottime").print_stats(14)


if __name__ == "__main__":
    main()
