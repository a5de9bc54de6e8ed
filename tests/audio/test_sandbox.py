"""The sandbox: the same PCM as without it, whatever happens to the child."""

import io
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from fadae.audio import write
from fadae.audio.decode import decode
from fadae.audio.sandbox import Sandbox, borrowed
from fadae.config.job import Limits
from fadae.errors import OwnFaultError, PermanentFailure, RecordingFailure, TransientFailure
from tests.audio.sounds import music, save, wav
from tests.hangs import HANG_SECONDS


@pytest.fixture(scope="module")
def long(song: Path) -> Path:
    return save(song.with_name("long.flac"), np.tile(music(1), 900))


def staged(sandbox: Sandbox, path: Path, limits: Limits | None = None) -> bytes:
    target = io.BytesIO()
    sandbox.decode(path, 11025, limits or Limits(), target.write)
    return target.getvalue()


@pytest.fixture(scope="module")
def song(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("songs") / "song.ogg", music(5, 44100, 2), 44100)


def test_pcm_is_that_of_the_decoder_itself(sandbox: Sandbox, song: Path) -> None:
    assert staged(sandbox, song) == np.concatenate(list(decode(song, 11025))).tobytes()


def test_one_child_serves_many_recordings_failures_between(
    sandbox: Sandbox, song: Path, tmp_path: Path
) -> None:
    first = staged(sandbox, song)
    child = sandbox.process_id
    (tmp_path / "bad.ogg").write_bytes(b"no audio")
    with pytest.raises(PermanentFailure, match="undecodable"):
        staged(sandbox, tmp_path / "bad.ogg")
    assert staged(sandbox, song) == first
    assert sandbox.process_id == child


def child_of(sandbox: Sandbox) -> int:
    assert sandbox.process_id is not None
    return sandbox.process_id


@pytest.mark.parametrize(
    ("number", "failure", "reason"),
    [
        (signal.SIGSEGV, PermanentFailure, "decoder crashed .SIGSEGV"),
        (signal.SIGABRT, PermanentFailure, "decoder crashed .SIGABRT"),
        (signal.SIGSYS, PermanentFailure, "decoder crashed .SIGSYS"),
        (signal.SIGKILL, TransientFailure, "decoder was killed .SIGKILL"),
    ],
)
def test_a_signal_costs_one_recording(
    sandbox: Sandbox,
    song: Path,
    long: Path,
    number: signal.Signals,
    failure: type[RecordingFailure],
    reason: str,
) -> None:
    def kill_at_first_pcm(data: bytes) -> None:
        os.kill(child_of(sandbox), number)

    with pytest.raises(failure, match=reason):
        sandbox.decode(long, 11025, Limits(), kill_at_first_pcm)
    assert staged(sandbox, song)


def test_a_child_that_died_idle_is_replaced(sandbox: Sandbox, song: Path) -> None:
    first = staged(sandbox, song)
    os.kill(child_of(sandbox), signal.SIGKILL)
    os.waitid(os.P_PID, child_of(sandbox), os.WEXITED | os.WNOWAIT)
    assert staged(sandbox, song) == first


def test_a_stalled_decoder_is_given_up(sandbox: Sandbox, song: Path) -> None:
    staged(sandbox, song)
    os.kill(child_of(sandbox), signal.SIGSTOP)
    with pytest.raises(PermanentFailure, match="no PCM for 0 s"):
        staged(sandbox, song, Limits(stall_seconds=0.3))
    assert staged(sandbox, song)
    with pytest.raises(PermanentFailure, match="longer than 0 s"):
        staged(sandbox, song, Limits(wall_seconds=0))
    assert staged(sandbox, song)


def test_a_target_that_fails_leaves_no_half_read_answer(sandbox: Sandbox, song: Path) -> None:
    def full(data: bytes) -> None:
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        sandbox.decode(song, 11025, Limits(), full)
    assert staged(sandbox, song)


def test_memory_is_bounded(sandbox: Sandbox, tmp_path: Path) -> None:
    # 512 channels in one block of 65536 samples: the sum of channels is small, the block is not.
    wide = wav(tmp_path / "wide.wav", np.ones((66_000, 400), "<f4"), 11025)
    with pytest.raises(PermanentFailure, match=r"memory|undecodable"):
        staged(sandbox, wide, Limits(channels=512, memory_bytes=64 << 20))


def peak_bytes(sandbox: Sandbox) -> int:
    status = Path(f"/proc/{sandbox.process_id}/status")
    if not status.exists():
        pytest.skip("no /proc here")
    line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def test_memory_does_not_grow_with_the_recording(sandbox: Sandbox, tmp_path: Path) -> None:
    minute = write.encode(music(60, 44100), 44100, "mp3")
    peaks = []
    for minutes in (1, 20):
        (tmp_path / "long.mp3").write_bytes(minute * minutes)
        blocks: list[bytes] = []
        sandbox.decode(tmp_path / "long.mp3", 11025, Limits(), blocks.append)
        assert sum(map(len, blocks)) == pytest.approx(22050 * 60 * minutes, rel=0.01)
        peaks.append(peak_bytes(sandbox))
    assert peaks[1] - peaks[0] < 8 << 20
    assert peaks[1] < 200 << 20


def test_the_child_gets_no_credentials(
    sandbox: Sandbox, song: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    staged(sandbox, song)
    environment = Path(f"/proc/{sandbox.process_id}/environ")
    if not environment.exists():
        pytest.skip("no /proc here")
    assert b"secret" not in environment.read_bytes()


def test_threads_have_a_child_each(song: Path) -> None:
    results: list[bytes] = []
    both_inside = threading.Barrier(2)

    def run() -> None:
        with borrowed() as sandbox:
            both_inside.wait(HANG_SECONDS)
            results.append(staged(sandbox, song))

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results[0] == results[1]


def test_the_child_ends_with_its_parent(song: Path) -> None:
    code = (
        "import sys, os; from fadae.audio.sandbox import Sandbox; from fadae.config import Limits; "
        "s = Sandbox(); s.decode(sys.argv[1], 11025, Limits(), len); "
        "print(s.process_id, flush=True); os.kill(os.getpid(), 9)"
    )
    ran = subprocess.run([sys.executable, "-c", code, str(song)], capture_output=True, text=True)
    child = int(ran.stdout)
    deadline = time.monotonic() + HANG_SECONDS
    while Path(f"/proc/{child}").exists():
        assert time.monotonic() < deadline, f"child {child} outlives its parent"
        time.sleep(0.05)


def test_the_child_loads_only_what_decoding_needs() -> None:
    code = (
        "import sys, fadae.audio.decode_worker; "
        "print([m for m in ('torch', 'scipy', 'zarr', 'dask', 'fsspec') if m in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


RESAMPLER = """
import numpy as np

class ResampleStream:
    def __init__(self, source_hz, target_hz, channels, dtype, quality):
        {fault}
        self.times = target_hz / source_hz

    def resample_chunk(self, samples, last=False):
        return np.repeat(samples, round(self.times))
"""


@pytest.mark.parametrize(
    ("module", "source", "reason"),
    [
        ("soxr", RESAMPLER.format(fault="raise TypeError('it moved')"), "TypeError: it moved"),
        ("soxr", RESAMPLER.format(fault="target_hz *= 3"), "a known clip of 800 samples decodes"),
        ("soxr", RESAMPLER.format(fault="assert target_hz != 11025, 'odd'"), "AssertionError: odd"),
        ("soxr", RESAMPLER.format(fault="target_hz == 11025 and nowhere"), "NameError"),
        ("soxr", "raise ImportError('no soxr')", "exit code 1"),
        ("av", "raise ImportError('no av')", "exit code 1"),
    ],
    ids=["moved", "wrong", "assertion", "only later", "not there", "no PyAV"],
)
def test_a_fault_of_our_own_is_no_recordings(
    sandbox: Sandbox,
    song: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    module: str,
    source: str,
    reason: str,
) -> None:
    (tmp_path / f"{module}.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(OwnFaultError, match=reason):
        staged(sandbox, song)
    sandbox.close()
    monkeypatch.undo()
    assert staged(sandbox, song)
