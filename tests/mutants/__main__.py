"""Do the tests notice? `python -m tests.mutants [WORD ...]`: each mutant against its nearest tests.

Every mutant has a copy of the tree of its own, where its line is replaced. A word chooses those in
whose place it occurs. Ends with 1 where a mutant lives that is not said to be equivalent, or dies
although it is said to be.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.mutants.table import Mutant, mutants

ROOT = Path(__file__).resolve().parents[2]
LIMIT_SECONDS = 600  # a test that a mutant keeps waiting has noticed it
_COPIED = ("fadae", "jobs", "tests", "conftest.py", "pyproject.toml")
_PASSED, _FAILED = 0, 1  # as pytest ends
_FAILED_TEST = re.compile(r"^(?:FAILED|ERROR) (\S+)", re.MULTILINE)
_running: set[int] = set()  # process groups
_LEFT_OUT = shutil.ignore_patterns(".*", "benchmarks")


class SuiteError(Exception):
    """The tests say nothing of a mutant: they fail without it, or do not run with it."""


def copy_tree(root: Path, to: Path) -> None:
    """Copy what the tests need of a tree."""
    for name in _COPIED:
        if (root / name).is_dir():
            shutil.copytree(root / name, to / name, ignore=_LEFT_OUT)
        elif (root / name).exists():
            shutil.copy2(root / name, to / name)


def run_tests(tree: Path, arguments: list[str]) -> tuple[int | None, str]:
    """Return how pytest ends in a tree, None where it never does, and what it says."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "--no-header", "-p", "no:cacheprovider"]
    environment = os.environ | {
        "PYTHONPATH": str(tree),  # before the fadae that is installed here, in child processes too
        "PYTHONDONTWRITEBYTECODE": "1",
        "FADAE_TEST_PROFILE": "unshrunk",
    }
    with subprocess.Popen(
        [*command, *arguments],
        cwd=tree,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        _running.add(process.pid)
        try:
            told, _ = process.communicate(timeout=LIMIT_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            return None, process.communicate()[0]
        except BaseException:  # interrupted
            os.killpg(process.pid, signal.SIGKILL)
            raise
        finally:
            _running.discard(process.pid)
    return process.returncode, told


def fate(root: Path, mutant: Mutant) -> tuple[str, str]:
    """Return what becomes of a mutant (killed, survived) and the first test that noticed it."""
    with tempfile.TemporaryDirectory(prefix="fadae-mutant-") as folder:
        tree = Path(folder)
        copy_tree(root, tree)
        path = tree / mutant.file
        path.write_text(mutant.applied(path.read_text("utf-8")), "utf-8")
        ended, told = run_tests(tree, mutant.arguments)
    if ended not in (_PASSED, _FAILED, None):
        raise SuiteError(f"{mutant.at}: pytest ended with {ended}\n{told}")
    by = next(iter(_FAILED_TEST.findall(told)), "" if ended is not None else "the time limit")
    return ("survived" if ended == _PASSED else "killed"), by


def judge(root: Path, chosen: list[Mutant], jobs: int) -> list[str]:
    """Print each mutant's fate as it is known; return all of them, in the table's order.

    Raises SuiteError where the tests fail on the tree as it is.
    """
    arguments = list(dict.fromkeys(argument for one in chosen for argument in one.arguments))
    ended, told = run_tests(root, arguments)
    if ended != _PASSED:
        raise SuiteError(f"the nearest tests fail without a mutant\n{told}")

    def one(mutant: Mutant) -> str:
        began = time.monotonic()
        found, by = fate(root, mutant)
        if mutant.equivalent:
            found = "equivalent" if found == "survived" else "not equivalent"
        seconds = time.monotonic() - began
        lines = [f"{found:10} {mutant.at} ({seconds:.0f} s)", f"- {mutant.old}", f"+ {mutant.new}"]
        lines.append(mutant.equivalent or (by if found == "killed" else f"loses {mutant.loses}"))
        print("\n    ".join(lines), flush=True)
        return found

    with ThreadPoolExecutor(jobs) as threads:
        try:
            return list(threads.map(one, chosen))
        except BaseException:  # interrupted, or a SuiteError: the others need not go on
            for group in list(_running):
                os.killpg(group, signal.SIGKILL)
            raise


def main() -> int:
    """Judge the mutants that are asked for; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants")
    parser.add_argument("words", nargs="*", help="parts of places; all mutants without")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="mutants at a time")
    asked = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    chosen = [m for m in mutants() if not asked.words or any(w in m.at for w in asked.words)]
    fates = Counter(judge(ROOT, chosen, asked.jobs))
    print(f"{len(chosen)} mutants: " + ", ".join(f"{n} {kind}" for kind, n in fates.items()))
    return int(fates["survived"] + fates["not equivalent"] > 0)


if __name__ == "__main__":
    sys.exit(main())
