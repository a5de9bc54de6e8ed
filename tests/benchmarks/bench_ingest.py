"""What ingest costs beside decoding alone, in one process, and what a decoder holds.

    python -m tests.benchmarks.bench_ingest [FOLDER OF OGG FILES]

Core-seconds are user + system time of the processes that do the work.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from pathlib import Path

from fadae.archive.folder import FolderSource
from fadae.audio.decode import decode
from fadae.audio.sandbox import Sandbox, borrowed
from fadae.config.job import Limits
from fadae.stages.ingest.driver import ingest
from fadae.store.location import Location
from tests.conftest import shared_dir

RATE_HZ = 11025
ZOUNDS = 130.0  # audio seconds per core-second from OGG to features, the 2017 experiment's library
REPEATS = 3


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else shared_dir() / "recordings"
    files = sorted(path for path in folder.glob("*.ogg") if path.stem != "silence")
    seconds = sum(len(block) for file in files for block in decode(file, RATE_HZ)) / RATE_HZ
    print(f"{len(files)} OGG files, {seconds:.0f} s of audio")
    alone = min(_decode_here(files) for _ in range(REPEATS))
    print(f"decode in process     {seconds / alone:6.0f} audio s per core-second")
    walled = min(_decode_in_sandbox(files) for _ in range(REPEATS))
    print(f"decode in the sandbox {seconds / walled:6.0f}, {walled / alone:.2f}x the cost")
    with tempfile.TemporaryDirectory() as scratch:
        staged = min(_ingest(files, Path(scratch)) for _ in range(REPEATS))
        print(
            f"OGG -> staged         {seconds / staged:6.0f}, {staged / alone:.2f}x the cost of "
            f"decoding, {seconds / staged / ZOUNDS:.1f}x zounds' OGG -> features"
        )
    _long_recording()


def _decode_here(files: list[Path]) -> float:
    started = time.process_time()
    for file in files:
        for _ in decode(file, RATE_HZ):
            pass
    return time.process_time() - started


def _decode_in_sandbox(files: list[Path]) -> float:
    sandbox = Sandbox()
    sandbox.decode(files[0], RATE_HZ, Limits(), len)  # started, as it is but once a worker
    started = time.process_time() + _child_seconds(sandbox)
    for file in files:
        sandbox.decode(file, RATE_HZ, Limits(), len)
    spent = time.process_time() + _child_seconds(sandbox) - started
    sandbox.close()
    return spent


def _ingest(files: list[Path], scratch: Path) -> float:
    """The whole stage in this process: fetch (a copy), verify, decode, hash, write, commit."""
    music = _copies(files, scratch, 1)
    with borrowed() as sandbox:
        sandbox.decode(files[0], RATE_HZ, Limits(), len)
    with tempfile.TemporaryDirectory(dir=scratch) as workspace:
        started = time.process_time() + _child_seconds(sandbox)
        ingest(Location(workspace), [FolderSource(str(music))])
        return time.process_time() + _child_seconds(sandbox) - started


def _long_recording() -> None:
    """A three-hour MP3 and a six-hour FLAC: memory of the child, time to the limit."""
    import numpy as np
    import soundfile

    from fadae.audio import write
    from fadae.errors import PermanentFailure

    sandbox = Sandbox()
    with tempfile.TemporaryDirectory() as scratch:
        tone = 0.1 * np.sin(np.arange(44100 * 60) * 0.05)
        minute = write.encode(np.stack([tone, tone], axis=1).astype(np.float32), 44100, "mp3")
        for minutes in (3, 180):
            path = Path(scratch) / "long.mp3"
            path.write_bytes(minute * minutes)
            began = time.perf_counter()
            sandbox.decode(path, RATE_HZ, Limits(), len)
            took = time.perf_counter() - began
            print(f"MP3 of {minutes} min: {took:.1f} s, peak {_peak(sandbox):.0f} MB in the child")
        bomb = Path(scratch) / "bomb.flac"
        with soundfile.SoundFile(bomb, "w", 44100, 2, "PCM_16") as file:
            quiet = np.ones((44100 * 60, 2), np.int16)
            for _ in range(360):
                file.write(quiet)
        began = time.perf_counter()
        try:
            sandbox.decode(bomb, RATE_HZ, Limits(), len)
        except PermanentFailure as failure:
            took = time.perf_counter() - began
            size = bomb.stat().st_size / 1e6
            print(f"6-hour FLAC of {size:.1f} MB: {failure}; {took:.1f} s, {_peak(sandbox):.0f} MB")
    sandbox.close()


def _copies(files: list[Path], scratch: Path, count: int) -> Path:
    folder = scratch / f"copies-{count}"
    if not folder.exists():
        for number in range(count):
            (folder / str(number)).mkdir(parents=True)
            for file in files:
                shutil.copy(file, folder / str(number) / file.name)
    return folder


def _child_seconds(sandbox: Sandbox) -> float:
    fields = Path(f"/proc/{sandbox.process_id}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100  # utime, stime in ticks of 10 ms


def _peak(sandbox: Sandbox) -> float:
    status = Path(f"/proc/{sandbox.process_id}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


if __name__ == "__main__":
    main()
