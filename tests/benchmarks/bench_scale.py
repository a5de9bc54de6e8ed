"""What a workspace of a million recordings costs: `python -m tests.benchmarks.bench_scale
[--recordings N] [--folder FOLDER] [--json]`.

The store is planned and published by the stages' own code, without its frames; the names of all
its commits lie in the staging area. Each figure is the median of three processes of their own, by
the command that a user types where there is one; memory is the most that a process ever held.
Requests are those to a real S3 server, from the URL to the recording, counted on the way.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

from fadae.store.features import FeatureSet, feature_attrs, feature_specs
from fadae.store.frames import FrameStore
from fadae.store.location import Location
from fadae.store.mapping import map_serially
from fadae.store.paths import FEATURES, PREFIXES, RELEASED, STAGING
from fadae.store.publication import publish
from fadae.store.published import PublishedRecordings
from fadae.store.staging import LedgerRuns, read_ledger
from fadae.transform.adaptive import FrequencyAdaptiveTransform
from tests.benchmarks.bench_planning import planned, synthetic_runs
from tests.benchmarks.bench_sampling import sample_read_ratio
from tests.benchmarks.bench_slice import SlowProxy
from tests.benchmarks.figures import report
from tests.s3 import s3_server
from tests.store.staged import stage_all

NEW = 200  # recordings that an extraction adds
ROUNDS = 3
BUCKET_ROUNDS = 2
Figures = dict[str, float | None]
LIMITS = {
    "lookup_seconds": 0.1,
    "lookup_requests": 6,
    "lookup_mb": 150,
    "info_seconds": 1,
    "info_mb": 250,
    "query_seconds": 1,
    "query_mb": 250,
    "page_seconds": 1,
    "page_mb": 250,
    "sample_read_ratio": 2,
}


def make(location: Location, recordings: int) -> None:
    """Publish so many three-minute recordings; their frames are left out, their names are not."""
    transform = FrequencyAdaptiveTransform.preset("seed")
    with LedgerRuns() as runs:
        for run in synthetic_runs(recordings):
            runs.add(run)
        plan = planned(location, runs, transform)
    specs = feature_specs(transform, "float16")
    FrameStore.create(location, FEATURES, specs, feature_attrs(transform.config(), "float16"))
    publish(plan)
    staging = Path(location.full(STAGING))
    for prefix in PREFIXES:
        (staging / prefix).mkdir(parents=True)
    for key in FeatureSet.open(location).recordings.column("key"):
        (staging / key[-32:-30] / f"{key}.json").touch()
    # There is no PCM to let go of, which the first extraction would look for.
    location.write_bytes(RELEASED, json.dumps({"recordings": recordings}).encode())
    _first_look(location)


def _first_look(location: Location) -> None:
    """Look for new recordings as the first extraction after an upgrade does: at every name."""
    with LedgerRuns() as runs:
        published = PublishedRecordings(FrameStore.open(location, FEATURES))
        read_ledger(location, published, map_serially, into=runs)


def some_id(location: Location) -> str:
    """Return the id of a recording in the middle of the table."""
    store = FrameStore.open(location, FEATURES)
    row = store.recording_rows // 2
    return str(store.read("recording_id", row, row + 1)[0])


# --- processes of their own

# A child's greatest memory counts that of the process it was forked from: this one is small.
_LAUNCH = """
import json, os, resource, subprocess, sys, time
start = time.perf_counter()
done = subprocess.run(sys.argv[1:], stdout=subprocess.PIPE)
seconds = time.perf_counter() - start
used = resource.getrusage(resource.RUSAGE_CHILDREN)
figures = {"seconds": seconds, "cpu": used.ru_utime + used.ru_stime, "mb": used.ru_maxrss / 1000}
sys.stdout.buffer.write(done.stdout)
print(json.dumps(figures))
sys.exit(done.returncode)
"""
# From the URL to the recording, the libraries loaded before.
_LOOK_UP = """
import sys, time, fadae, fadae.query.workspace
if sys.argv[1].startswith("s3:"):
    import s3fs
start = time.perf_counter()
workspace = fadae.open(sys.argv[1])
assert workspace.recording(sys.argv[2]).id == sys.argv[2]
print(time.perf_counter() - start)
"""
# An extraction without a cluster, of recordings staged before: the processor's seconds for
# planning, publication and looking for more, not for the frames.
_EXTEND = """
import sys, time
from fadae.stages.extract import extract
from fadae.store.mapping import map_serially
frames = 0.0
def mapper(function, values, **options):
    global frames
    start = time.process_time()
    done = list(map_serially(function, values, **options))
    frames += (time.process_time() - start) * (options["label"] == "extract")
    return iter(done)
start = time.process_time()
extract(sys.argv[1], mapper=mapper)
print(time.process_time() - start - frames)
"""


def python(*arguments: str, env: dict[str, str] | None = None) -> tuple[str, Figures]:
    """Run Python; return what it printed, its seconds and the most memory it held."""
    command = [sys.executable, "-S", "-c", _LAUNCH, sys.executable, *arguments]
    every = {**os.environ, **(env or {})}
    done = subprocess.run(command, env=every, stdout=subprocess.PIPE, check=True, text=True)
    *printed, figures = done.stdout.splitlines()
    return printed[-1], json.loads(figures)


def command(*arguments: str) -> Figures:
    """Return the seconds and the memory of a command of fadae."""
    return python("-m", "fadae", *arguments)[1]


def timed(code: str, *arguments: str, env: dict[str, str] | None = None) -> Figures:
    """Return the seconds that some code measured itself, and the memory of its process."""
    seconds, figures = python("-c", code, *arguments, env=env)
    return {**figures, "seconds": float(seconds)}


def extend(location: Location, number: int) -> Figures:
    """Stage some tiny recordings, extract them; return the driver's milliseconds for each."""
    lengths = {f"new/{number}-{n:06d}.ogg": 1 + n for n in range(NEW)}
    stage_all(location, lengths, first_seed=number * NEW)
    figures = timed(_EXTEND, location.url)
    return {"ms": 1e3 * (figures["seconds"] or 0.0) / NEW, "mb": figures["mb"]}


def page(url: str) -> Figures:
    """Return the seconds of the page's first answers and what the server came to hold."""
    serve = [sys.executable, "-m", "fadae", "serve", "-w", url, "--port", "0"]
    process = subprocess.Popen(serve, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        address = re.search(r"http://\S+/", process.stdout.readline())
        assert address is not None
        start = time.perf_counter()
        for path in ("", "api/workspace", "api/recordings?limit=50"):
            with urllib.request.urlopen(address[0] + path) as answer:
                answer.read()
        seconds = time.perf_counter() - start
        status = Path(f"/proc/{process.pid}/status").read_text("ascii")
        held = re.search(r"VmHWM:\s+(\d+) kB", status)
        return {"seconds": seconds, "mb": int(held[1]) / 1000 if held else None}
    finally:
        process.terminate()
        process.wait()


def best(measure: Callable[[], Figures], rounds: int = ROUNDS) -> Figures:
    """Return the round with the median time of a few."""
    every = [measure() for _ in range(rounds)]
    return sorted(every, key=lambda one: one["seconds"] or 0.0)[rounds // 2]


def in_a_bucket(location: Location, recording_id: str) -> Figures:
    """Return what a look-up costs on an S3 server 20 ms away: seconds and requests."""
    with tempfile.TemporaryDirectory() as folder, s3_server(Path(folder)) as server:
        there = Location(f"{server.url}/w", server.storage_options)
        for path in _read_by_readers(Path(location.full(""))):
            data = (Path(location.full("")) / path).read_bytes()
            there.write_bytes(path, data)
        proxy = SlowProxy(server.port + 3).started()
        env = {**server.env, "AWS_ENDPOINT_URL_S3": f"http://127.0.0.1:{proxy.port}"}
        told = []
        for _ in range(BUCKET_ROUNDS):
            proxy.requests.clear()
            told.append(timed(_LOOK_UP, there.url, recording_id, env=env))
        return {"seconds": told[-1]["seconds"], "requests": len(proxy.requests)}


def _read_by_readers(folder: Path) -> Iterator[str]:
    """Yield the paths of the recording table, its index and the documents."""
    for path in sorted((folder / FEATURES).rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_file() and ("/recording_" in name or path.name == "zarr.json"):
            yield name


def run(folder: str, recordings: int) -> Figures:
    """Return all figures of one size."""
    location = Location(folder)
    if not location.exists(FEATURES):
        start = time.perf_counter()
        make(location, recordings)
        say(f"made {recordings:,} recordings in {time.perf_counter() - start:.0f} s")
    wanted = some_id(location)
    found = best(lambda: timed(_LOOK_UP, folder, wanted))
    bucket = in_a_bucket(location, wanted)
    told = best(lambda: command("info", "-w", folder, "--json"))
    query = best(lambda: command("query", "-w", folder, "--search", "part 4999", "--json"))
    first_page = best(lambda: page(folder))
    ratio = sample_read_ratio(location)
    before = FeatureSet.open(location).store.recording_rows
    grown = [extend(location, before + number) for number in range(ROUNDS)]
    grown.sort(key=lambda one: one["ms"] or 0.0)
    return {
        "recordings": recordings,
        "lookup_seconds": found["seconds"],
        "lookup_requests": bucket["requests"],
        "lookup_bucket_seconds": bucket["seconds"],
        "lookup_mb": found["mb"],
        "info_seconds": told["seconds"],
        "info_cpu_seconds": told["cpu"],
        "info_mb": told["mb"],
        "query_seconds": query["seconds"],
        "query_cpu_seconds": query["cpu"],
        "query_mb": query["mb"],
        "page_seconds": first_page["seconds"],
        "page_mb": first_page["mb"],
        "sample_read_ratio": ratio,
        "plan_ms_per_recording": grown[ROUNDS // 2]["ms"],
        "plan_mb": grown[ROUNDS // 2]["mb"],
        "load": os.getloadavg()[0],
    }


def say(text: str) -> None:
    """Tell how far it is, beside the result."""
    print(text, file=sys.stderr, flush=True)


def main() -> None:
    """Measure one size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recordings", type=int, default=1_000_000)
    parser.add_argument("--folder", help="where the store is made and stays, to measure it again")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    given = parser.parse_args()
    with contextlib.ExitStack() as stack:
        temporary = tempfile.TemporaryDirectory(prefix="fadae-scale-")
        folder = given.folder or stack.enter_context(temporary)
        figures = run(folder, given.recordings)
    if given.json:
        print(json.dumps(figures))
        return
    size = f"{given.recordings} recordings"
    for name, value in figures.items():
        if value is not None and name not in ("recordings", "load"):
            report(f"{name}, {size}", [value], limit=LIMITS.get(name))


if __name__ == "__main__":
    main()
