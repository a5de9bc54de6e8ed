"""Ranks as processes: the same bits through kills, at several world sizes, by every launcher.

Every rank imports torch anew, which is most of what these tests cost.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator

import psutil
import pytest

from fadae.errors import FadaeError, TransientError
from fadae.store.location import Location
from fadae.training.context import Preempted
from fadae.training.launch import train
from tests.forks import train_forked
from tests.hangs import HANG_SECONDS, wait_until
from tests.threads import threads
from tests.training.conftest import Held
from tests.training.small import LONG, metrics_of, model_hash, small, stopping_after, train_until

STEPS = 70
DIE = "import os; os.kill(os.getpid(), 9)"


def ranks_of(process: psutil.Process) -> list[psutil.Process]:
    """The rank processes below a process."""
    found = []
    for child in process.children(recursive=True):
        try:
            if "fadae.training.worker" in child.cmdline():
                found.append(child)
        except psutil.NoSuchProcess:
            continue
    return found


def steps_saved(location: Location) -> int:
    names = location.names("runs/default/checkpoints")
    return max((int(n[5:]) for n in names if n.startswith("step-")), default=0)


@pytest.fixture
def later() -> Iterator[Callable[[Callable[[], object]], None]]:
    """Run something in a thread while the test trains; it must have ended with the test."""
    threads = []

    def start(action: Callable[[], object]) -> None:
        thread = threading.Thread(target=action)
        thread.start()
        threads.append(thread)

    yield start
    for thread in threads:
        thread.join()


def strike(location: Location, held: Held, number: signal.Signals) -> None:
    """Send a signal to a random rank of ours, amid the run and when some steps are saved."""

    def struck() -> bool:
        victims = ranks_of(psutil.Process())  # none for a moment where others were lost before
        with contextlib.suppress(psutil.NoSuchProcess):
            for victim in random.sample(victims, min(len(victims), 1)):
                victim.send_signal(number)
                return True
        return False

    held.wait()
    wait_until(lambda: steps_saved(location) >= 5)
    wait_until(struck)
    held.release()


@pytest.mark.slow
def test_two_ranks_killed_end_with_the_same_bits(
    location: Location,
    later: Callable[[Callable[[], object]], None],
    held: Callable[[int], Held],
) -> None:
    train_forked(location, small(run="undisturbed", ranks=2, **LONG))
    waiting = held(random.randrange(8, 60))
    later(lambda: strike(location, waiting, signal.SIGKILL))
    summary = train(location, small(ranks=2, **LONG))
    assert summary["steps"] == STEPS
    assert model_hash(location) == model_hash(location, "undisturbed")
    steps = [line["step"] for line in metrics_of(location)]
    assert steps == sorted(set(steps))


def test_exact_is_one_hash_at_any_ranks_and_across_a_change_of_them(location: Location) -> None:
    exact = {"reduction": "exact", "epochs": 2}
    train(location, small(run="one", **exact))
    with pytest.raises(Preempted):
        train_until(location, small(**exact), stopping_after(5))
    train_forked(location, small(ranks=4, **exact))
    assert model_hash(location) == model_hash(location, "one")


@pytest.mark.slow
def test_a_hung_rank_is_lost_within_the_time_out(
    location: Location,
    later: Callable[[Callable[[], object]], None],
    held: Callable[[int], Held],
    exact_hash: str,
) -> None:
    waiting = held(12)
    later(lambda: strike(location, waiting, signal.SIGSTOP))
    # On a busy machine ranks may miss each other within the time-out: they begin again.
    soon = {"timeout_seconds": 5, "shutdown_seconds": 1, "restarts": 100}
    train(location, small(ranks=2, reduction="exact", **soon, **LONG))
    assert model_hash(location) == exact_hash


def test_a_rank_that_dies_before_it_met_the_others_is_noticed(
    location: Location, in_ranks: Callable[[str], None]
) -> None:
    in_ranks(f"if rank == 1: {DIE}")
    with pytest.raises(TransientError, match="lost 1 times"):  # else it waits past the test's end
        train(location, small(ranks=2, restarts=0, timeout_seconds=1e5, shutdown_seconds=1))


def test_ranks_that_keep_dying_are_not_restarted_for_ever(
    location: Location, in_ranks: Callable[[str], None]
) -> None:
    in_ranks(DIE)
    with pytest.raises(TransientError, match="lost 3 times"):
        train(location, small(ranks=2, restarts=2, shutdown_seconds=1))


@pytest.mark.slow
def test_an_error_of_a_rank_is_the_errors_and_not_restarted(location: Location) -> None:
    with pytest.raises(FadaeError, match="is not finite") as told:
        train(location, small(ranks=2, reduction="exact", learning_rate=1e38))
    assert told.value.exit_code == 1


def test_the_environments_threads_change_no_bit(location: Location) -> None:
    """A run is bound to the threads of its own configuration."""
    asked = command(location, "--ranks", "1", "--max-steps", "8")
    ended = subprocess.run(asked, env=os.environ | threads(3), stdout=subprocess.PIPE, check=True)
    told = json.loads(ended.stdout.splitlines()[-1])
    here = train(location, small(run="here", max_steps=8, **LONG))
    assert model_hash(location) == model_hash(location, "here")
    for score in ("holdout_nmse_db", "holdout_nmse_linear_db", "pca_nmse_db"):
        assert told[score] == here[score]


def command(location: Location, *more: str) -> list[str]:
    return [
        sys.executable,
        "-m",
        "fadae",
        "train",
        "-w",
        location.url,
        "--widths",
        "32,8",
        "--lr",
        "1e-3",
        "--epochs",
        "10",
        "--checkpoint-steps",
        "5",
        "--evaluate-epochs",
        "5",
        "--precision",
        "fp32",
        "--json",
        *more,
    ]


@pytest.mark.slow
def test_sigterm_saves_and_ends_75_and_the_same_command_goes_on(
    location: Location, held: Callable[[int], Held], exact_hash: str
) -> None:
    waiting = held(12)
    asked = command(location, "--reduction", "exact", "--ranks", "2")
    process = subprocess.Popen(asked, stdout=subprocess.PIPE)
    waiting.wait()
    process.terminate()  # which releases the rank that waits
    out, _ = process.communicate()
    assert process.returncode == 75
    summary = json.loads(out.splitlines()[-1])
    assert 0 < summary["steps"] == steps_saved(location) < STEPS
    # The same run, at another number of ranks.
    train(location, small(reduction="exact", log_steps=20, **LONG))
    assert model_hash(location) == exact_hash


def test_a_killed_command_takes_its_ranks_along(
    location: Location, held: Callable[[int], Held]
) -> None:
    waiting = held(8)
    asked = command(location, "--reduction", "exact", "--ranks", "2")
    process = subprocess.Popen(asked, stdout=subprocess.DEVNULL)
    waiting.wait()
    ranks = ranks_of(psutil.Process(process.pid))
    assert len(ranks) == 2
    process.kill()
    process.wait()
    _, alive = psutil.wait_procs(ranks, timeout=HANG_SECONDS)
    assert not alive


@pytest.mark.slow
def test_ranks_of_the_environment_train_together(location: Location) -> None:
    """As torchrun or an Indexed Job start them, one of them late."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    contract = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}

    def start(rank: int) -> subprocess.Popen[bytes]:
        env = os.environ | contract | {"RANK": str(rank), "GLOO_SOCKET_IFNAME": "lo"}
        asked = command(location, "--reduction", "exact", "--max-steps", "20")
        return subprocess.Popen(asked, stdout=subprocess.PIPE, env=env)

    processes = [start(1)]
    time.sleep(1)
    processes.append(start(0))
    outs = [process.communicate()[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    summaries = [json.loads(out.splitlines()[-1]) for out in outs]
    assert summaries[0]["steps"] == summaries[1]["steps"] == 20
    exact = {"reduction": "exact", "log_steps": 20, "max_steps": 20}
    train(location, small(run="alone", **LONG | exact))
    assert model_hash(location) == model_hash(location, "alone")


def test_a_lost_peer_ends_a_rank_of_the_environment_with_75(location: Location) -> None:
    env = os.environ | {
        "RANK": "1",
        "WORLD_SIZE": "2",
        "MASTER_ADDR": "no-such-host.invalid",
        "MASTER_PORT": "29500",
    }
    done = subprocess.run(command(location, "--timeout", "2"), env=env, capture_output=True)
    assert done.returncode == 75
    assert b"no-such-host.invalid does not resolve" in done.stderr
