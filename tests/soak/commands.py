"""The commands of a job, each again and again, as several users would at once."""

from __future__ import annotations

import json
import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from urllib.parse import urlencode

import urllib3

from fadae.audio.write import encode
from tests.soak.processes import Family
from tests.synthetic import RATE_HZ, music

FILES_A_STEP = 8
TRAIN = ("--widths", "64,16", "--lr", "1e-3", "--reduction", "exact", "--precision", "fp32")
PRESET = "critical"
AGAIN = (75, -9, -15)  # what a user answers by running the command again


@dataclass
class Job:
    """A job on a workspace: its folder of music grows, its commands run until the time is up."""

    url: str
    env: Mapping[str, str]
    folder: Path  # of music
    logs: Path
    family: Family
    seed: int
    over: threading.Event = field(default_factory=threading.Event)
    published: threading.Event = field(default_factory=threading.Event)
    steps: int = 0
    trained: list[str] = field(default_factory=list)
    begun: list[str] = field(default_factory=list)
    ended: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    heard: dict[str, str] = field(default_factory=dict)
    _numbers: Counter[str] = field(default_factory=Counter)

    def command(self, name: str, *arguments: str) -> int:
        """Run a command once; return its exit code. What should not be is noted with its trace.

        A trace of Dask's own is none: a worker of a cluster that closes may miss its scheduler.
        """
        self._numbers[name] += 1
        label = f"{name}-{self._numbers[name]:04d}"
        asked = [sys.executable, "-m", "fadae", name, "-w", self.url, *arguments]
        code = self.family.start(label, asked, self.env, self.logs).wait()
        self.ended[f"{name} {code}"] += 1
        told = (self.logs / f"{label}.err").read_text("utf-8", "replace")
        if code == 0:
            self.family.done.add(label)
        if name == "extract" and " published " in told:
            self.published.set()
        if code not in (0, *AGAIN):
            self.faults.append(f"{label} ended {code}:\n{told[-3000:]}")
        elif any("/fadae/" in trace for trace in told.split("Traceback")[1:]):
            self.faults.append(f"{label} ended {code} with a trace:\n{told[-3000:]}")
        return code

    def until_done(self, name: str, *arguments: str) -> bool:
        """Run a command until it succeeds; return False where it failed for good."""
        while (code := self.command(name, *arguments)) in AGAIN:
            time.sleep(0.5)
        return code == 0

    # --- what runs at once ---

    def grow(self) -> None:
        """Add music and ingest it, step by step."""
        while not self.over.is_set():
            add_music(self.folder, self.steps, self.seed)
            self.steps += 1
            self.until_done("ingest", *self.ingesting)

    @property
    def ingesting(self) -> tuple[str, ...]:
        return ("--folder", str(self.folder), "--refresh", "--workers", "2")

    def extract(self) -> None:
        """Extract what there is."""
        while not self.over.is_set():
            if self.ended["ingest 0"]:
                self.command("extract", "--preset", PRESET, "--workers", "2")
            self.over.wait(1.0)

    def train(self) -> None:
        """Train a run to its end, then the next one, on what is published by then."""
        while not self.published.is_set():
            if self.over.wait(1.0):
                return
        while not self.over.is_set():
            run = f"run-{len(self.begun)}"
            self.begun.append(run)
            if self.until_done("train", *training(run, 2)):
                self.trained.append(run)

    def reconstruct(self) -> None:
        """Reconstruct by one of the trained runs, and another one."""
        drawn = random.Random(self.seed)
        while not self.over.is_set():
            if self.trained:
                run = drawn.choice(self.trained)
                self.command("reconstruct", "--run", run, "--workers", "2")
            self.over.wait(1.0)

    def query(self) -> None:
        """Look at the workspace from the command line."""
        drawn = random.Random(self.seed)
        while not self.over.is_set():
            if self.published.is_set():
                asked = drawn.choice(([], ["--search", "0"], ["--limit", "3", "--json"]))
                self.command("query", *asked)
                self.command("info")
            self.over.wait(2.0)

    def serve(self) -> None:
        """Serve the page, again when it was killed."""
        while not self.published.is_set():
            if self.over.wait(1.0):
                return
        while not self.over.is_set():
            self.command("serve", "--port", "0")

    def visit(self) -> None:
        """Ask the page for sound and pictures; what was published never changes."""
        drawn = random.Random(self.seed)
        with urllib3.PoolManager(retries=False, timeout=60) as pool:
            while not self.over.wait(0.3):
                try:
                    self._ask(pool, drawn)
                except urllib3.exceptions.HTTPError:
                    self.ended["visit -"] += 1  # it was killed

    def _ask(self, pool: urllib3.PoolManager, drawn: random.Random) -> None:
        log = self.logs / f"serve-{self._numbers['serve']:04d}.out"
        told = log.read_text() if log.exists() else ""
        if "http://" not in told:
            return
        address = "http://" + told.partition("http://")[2].partition("/")[0]
        found = pool.request("GET", f"{address}/api/recordings?limit=200")
        self.ended[f"visit {found.status}"] += 1
        if found.status != 200 or not (recordings := json.loads(found.data)["recordings"]):
            return
        about = {"recording": drawn.choice(recordings)["id"], "start": 0, "stop": 5}
        path = f"/api/{drawn.choice(['audio', 'bands', 'bark'])}?{urlencode(about)}"
        answer = pool.request("GET", address + path)
        self.ended[f"visit {answer.status}"] += 1
        if answer.status == 200:
            heard = sha256(answer.data).hexdigest()
            if self.heard.setdefault(path, heard) != heard:
                self.faults.append(f"{path} was another one before")
        elif answer.status != 503:
            self.faults.append(f"{path}: {answer.status} {answer.data[:300]!r}")

    def run(self, seconds: float) -> None:
        """Run all at once for so long, then let each end what it is at."""
        parts = [self.grow, self.extract, self.train, self.reconstruct]
        parts += [self.query, self.serve, self.visit]
        threads = [threading.Thread(target=part, daemon=True) for part in parts]
        for thread in threads:
            thread.start()
        self.over.wait(seconds)
        self.over.set()

        while any(thread.is_alive() for thread in threads):
            for one in self.family.seen.values():
                if one.command == "serve" and one.process.is_running():
                    one.process.terminate()
            time.sleep(5.0)  # one that waits for storage is asked again, as a user would

    def finish(self) -> None:
        """Bring every stage to its end, as a user would."""
        self.until_done("ingest", *self.ingesting)
        self.until_done("extract", "--preset", PRESET, "--workers", "2")
        for run in self.begun:
            if self.until_done("train", *training(run, 2)):
                self.until_done("reconstruct", "--run", run, "--workers", "2")


def training(run: str, ranks: int) -> tuple[str, ...]:
    """Return the options of a short training that is saved often."""
    saved = ("--checkpoint-steps", "10", "--max-steps", "60", "--epochs", "1000")
    return ("--run", run, "--ranks", str(ranks), *TRAIN, *saved)


def add_music(folder: Path, step: int, seed: int) -> None:
    """Add a step's files: music in four formats, one that is another's copy, one that is none."""
    drawn = random.Random(f"{seed} {step}")
    folder.mkdir(exist_ok=True)
    kinds = ("ogg", "flac", "mp3", "wav")
    for number in range(FILES_A_STEP - 2):
        samples = music(drawn.uniform(8, 40), drawn.randrange(2**32)) / 32768
        kind = drawn.choice(kinds)
        _put(folder / f"{step:03d}-{number} ü#.{kind}", encode(samples, RATE_HZ, kind))
    older = drawn.choice(sorted(folder.glob("*-0 *")))
    _put(folder / f"{step:03d}-again{older.suffix}", older.read_bytes())
    _put(folder / f"{step:03d}-broken.ogg", drawn.randbytes(5000))


def _put(path: Path, data: bytes) -> None:
    partial = path.with_name(f".{path.name}")  # hidden: no source lists it half written
    partial.write_bytes(data)
    partial.rename(path)
