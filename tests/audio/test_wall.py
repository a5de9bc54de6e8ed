"""The decoder's wall: what holds, that music passes through it, and that liars are not believed."""

from __future__ import annotations

import ctypes
import json
import logging
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from fadae.audio import sandbox as sandboxes
from fadae.audio.decode import decode
from fadae.audio.protocol import Source, Wall
from fadae.audio.sandbox import Sandbox
from fadae.config.job import Limits
from fadae.errors import OwnFaultError, PermanentFailure
from tests.audio.formats import PAIRS, write_pair
from tests.audio.sounds import music, save
from tests.audio.takeover import taken_over
from tests.hangs import wait_until


@pytest.fixture(scope="module")
def wall(one_child: Sandbox) -> Wall:
    """Return the wall of this machine, which must be whole where its kernel has the parts."""
    status = Path("/proc/self/status")
    call = ctypes.CDLL(None).syscall
    if platform.machine() not in ("x86_64", "aarch64") or not status.exists():
        pytest.skip("Linux on x86_64 or aarch64")
    if "Seccomp:" not in status.read_text() or call(444, None, ctypes.c_size_t(0), 1) < 1:
        pytest.skip("a kernel with Landlock and seccomp")
    found = one_child.wall()
    assert found.lacks == ()
    return found


@pytest.fixture
def song(tmp_path: Path) -> Path:
    return save(tmp_path / "song.ogg", music(1, 44100, 2), 44100)


def staged(sandbox: Sandbox, path: Path, limits: Limits | None = None) -> bytes:
    blocks: list[bytes] = []
    sandbox.decode(path, 11025, limits or Limits(), blocks.append)
    return b"".join(blocks)


@pytest.mark.parametrize(("container", "codec"), PAIRS, ids=map("-".join, PAIRS))
def test_music_of_every_kind_passes(
    one_child: Sandbox, tmp_path: Path, container: str, codec: str
) -> None:
    path = write_pair(tmp_path / "song", container, codec)
    outside = b"".join(block.tobytes() for block in decode(path, 11025))
    assert staged(one_child, path) == outside
    assert abs(len(outside) - 2 * 11025) < 2000


# What some machines forbid to anybody, or to all but root.
ELSEWHERE_TOO = {
    "read the parent's mem",
    "read the parent's memory by process_vm_readv",
    "ptrace the parent",
    "raise its limits",
    "set up io_uring",
}
# What Landlock has nothing about, and no limit holds root back from.
WITHOUT_SECCOMP = {
    "send over UDP",
    "signal the parent by F_SETOWN",
    "fork",
    "start a thread",
    "map memory for code",
    "make data code",
    "set up io_uring",
}


def test_nothing_leads_out(wall: Wall) -> None:
    levels = ["bare", "", "Landlock", "seccomp"]
    command = [sys.executable, "-m", "tests.audio.escapes", *levels]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    ends = json.loads(ran.stdout)
    done = {level: {name for name, end in ends[level].items() if end == "done"} for level in levels}
    assert ends["bare"].keys() - done["bare"] <= ELSEWHERE_TOO, "the tries are good ones"
    assert done[""] == set()
    assert done["Landlock"] == set(), "the system calls alone hold"
    abi = int(next(part for part in wall.holds if "Landlock" in part).split()[-1])
    if abi >= 6:
        assert done["seccomp"] <= WITHOUT_SECCOMP, "Landlock alone holds what it can"


def kind_of(descriptor: Path) -> str:
    try:
        return str(descriptor.readlink()).partition(":")[0]
    except FileNotFoundError:  # closed meanwhile
        return ""


def test_the_child_holds_nothing_and_may_nothing(sandbox: Sandbox, song: Path, wall: Wall) -> None:
    staged(sandbox, song)
    process = Path(f"/proc/{sandbox.process_id}")
    kinds = 3 * ["/dev/null"] + ["pipe", "socket"]
    # The recording's own descriptor goes right after the answer's last word.
    wait_until(lambda: sorted(kind_of(one) for one in (process / "fd").iterdir()) == kinds)
    status = dict(line.split(":\t") for line in (process / "status").read_text().splitlines())
    assert (status["Seccomp"], status["NoNewPrivs"], status["Threads"]) == ("2", "1", "1")
    assert int(status["CapPrm"], 16) == 0
    rows = (process / "limits").read_text().splitlines()[1:]
    held = {row[:26].strip(): row[26:].split()[:2] for row in rows}
    for name in ("core file size", "file size", "processes"):
        assert held[f"Max {name}"] == ["0", "0"]
    for name in ("cpu time", "address space", "open files"):
        soft, hard = held[f"Max {name}"]
        assert soft == hard != "unlimited"


def test_what_is_missing_is_said_once_and_music_passes(
    sandbox: Sandbox, song: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sandboxes, "_without", {"Landlock", "seccomp"})
    monkeypatch.setattr(sandboxes, "_announced", False)
    with caplog.at_level(logging.WARNING):
        assert staged(sandbox, song)
        sandbox.close()
        assert staged(sandbox, song)
    said = "descriptors, limits; no Landlock (does not work here); no seccomp (does not work here)"
    assert str(sandbox.wall()) == said
    assert [record.getMessage().count(said) for record in caplog.records] == [1]


@pytest.mark.parametrize(
    ("act", "reason"),
    [
        ("socket.socket()", "crashed .SIGSYS"),
        ("os.fork()", "crashed .SIGSYS"),
        ("os._exit(1)", "ended with exit code 1"),
        ("reply(b'P', b'', 2**31)", "malformed: a reply of 2,147,483,648 bytes"),
        ("reply(b'E', b'{}')", "malformed: 0 bytes"),
        ("reply(b'P', b'odd'); reply(b'E', b'{}')", "malformed: 3 bytes"),
        ("reply(b'P', b'PCM.'); reply(b'E', b'[' * 10**6)", "malformed: "),
        ("reply(b'W', b'{}')", "malformed: a reply of kind b'W'"),
        ("reply(b'F', b'\\x1b[31mred')", "^\N{REPLACEMENT CHARACTER}.31mred$"),
        ("while True: reply(b'P', bytes(2**20))", "malformed: more than 1,345,050 bytes"),
        ("os.close(4)\n            while True: pass", "malformed: no end"),
        ("while True: reply(b'T', b'a trace')", "malformed: a reply of kind b'T'"),
        ("open('/etc/passwd')", None),
    ],
)
def test_a_codec_that_is_taken_over_costs_one_recording(
    sandbox: Sandbox,
    song: Path,
    wall: Wall,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    act: str,
    reason: str | None,
) -> None:
    taken_over(monkeypatch, tmp_path, act)
    if "no end" in str(reason):
        monkeypatch.setattr(sandboxes, "_END_SECONDS", 0.1)
    if reason is None:  # as a late import would: a fault of ours
        with pytest.raises(OwnFaultError, match="PermissionError"):
            staged(sandbox, song)
        return
    taken: list[int] = []
    with pytest.raises(PermanentFailure, match=reason):
        sandbox.decode(song, 11025, Limits(decoded_seconds=1), lambda data: taken.append(len(data)))
    assert sum(taken) <= 1_345_050


def test_an_odd_failure_is_logged_and_costs_one_recording(
    sandbox: Sandbox,
    song: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    taken_over(monkeypatch, tmp_path, "raise RuntimeError('odd')")
    with (
        caplog.at_level(logging.WARNING),
        pytest.raises(PermanentFailure, match=r"undecodable: RuntimeError\('odd'\)"),
    ):
        staged(sandbox, song)
    assert "Traceback" in caplog.text
    assert "soxr.py" in caplog.text


def test_a_machine_whose_libraries_need_more_calls_does_without_that_part(
    sandbox: Sandbox, song: Path, wall: Wall, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken_over(monkeypatch, tmp_path, always="os.getppid()")
    monkeypatch.setattr(sandboxes, "_without", set())
    assert staged(sandbox, song)
    assert sandbox.wall().lacks == ("seccomp (does not work here)",)


@pytest.mark.parametrize(
    "told",
    [
        b"[]",
        b"null",
        b'{"rate_hz": true}',
        b'{"samples": -1}',
        b'{"samples": 1e999}',
        b'{"title": "x"}',
        b'{"tags": {"comment": "x"}}',
        b'{"tags": {"title": 7}}',
        b'{"tags": {"title": "\\ud800"}}',
        b'{"tags": [["title", "x"]]}',
        b'{"damage": ["x"]}',
        b'{"damage": "' + 3000 * b"x" + b'"}',
        b"\xff",
    ],
)
def test_only_what_a_decoder_says_of_a_file_is_taken(told: bytes) -> None:
    with pytest.raises(ValueError):
        Source.from_json(told)


def test_only_regular_files_are_opened(sandbox: Sandbox, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path, reason in {
        tmp_path / "pipe": "not a regular file",
        tmp_path: "not a regular file",
        tmp_path / "nothing": "cannot be read: No such file",
    }.items():
        with pytest.raises(PermanentFailure, match=reason):
            staged(sandbox, path)
    assert sandbox.process_id is None, "nothing was started for them"


def test_a_child_is_retired_before_its_processor_time_ends(sandbox: Sandbox, song: Path) -> None:
    staged(sandbox, song)
    first, child = sandbox.process_id, sandbox._child
    assert child is not None
    child.busy_seconds = Limits().wall_seconds + 1
    assert staged(sandbox, song)
    assert sandbox.process_id != first


def test_time_at_work_is_counted_for_failures_too(sandbox: Sandbox, song: Path) -> None:
    staged(sandbox, song)
    child = sandbox._child
    assert child is not None
    before = child.busy_seconds
    (song.parent / "bad").write_bytes(b"no audio")
    with pytest.raises(PermanentFailure, match="undecodable"):
        staged(sandbox, song.parent / "bad")
    assert child.busy_seconds > before > 0


def test_other_limits_take_another_child(sandbox: Sandbox, song: Path) -> None:
    staged(sandbox, song)
    first = sandbox.process_id
    with pytest.raises(PermanentFailure, match="longer than the limit"):
        staged(sandbox, song, Limits(decoded_seconds=0.5))
    assert sandbox.process_id != first
