"""`make soak MINUTES=10`: see `tests.soak`. Prints what was killed, struck, taken, and the verdict.

Ends 1 where anything is not as in a quiet run, a command ended as none should, a process outlived
its command, or a role took more memory in the second half. The same seed draws the same music and
the same kinds of faults and victims; when they strike depends on the machine.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path

from fadae.prune import prune
from fadae.stages.extract import extract_shard
from fadae.store.location import Location
from fadae.store.verify import verify
from tests.proxy import FaultProxy
from tests.s3 import S3Server, s3_server
from tests.soak.commands import Job
from tests.soak.processes import LOOK_SECONDS, Family, grown, lines
from tests.soak.quiet import differing, hashes, plans_of, run_quietly

FAULTS = ("throttle", "throttle", "reset", "reset", "cut", "cut", "delay", "delay", "stall")
STRUCK = 0.05  # of what clients send
KILL_SECONDS = (4.0, 10.0)  # where SEVERAL commands run
SEVERAL = 5


def look_and_strike(job: Job, proxy: FaultProxy, ended: threading.Event) -> None:
    """Watch over the processes until the end; kill and strike while the job is disturbed."""
    drawn = random.Random(job.seed)
    due = time.monotonic() + 20.0
    while not ended.wait(LOOK_SECONDS):
        job.family.look()
        if job.over.is_set():
            continue
        if proxy.armed == 0:
            proxy.arm(drawn.choice(FAULTS), spread=STRUCK, seed=drawn.randrange(2**32))
        if time.monotonic() >= due:
            job.family.kill_one(drawn)
            # A command that runs alone would never come beyond its start.
            spared = max(1.0, SEVERAL / max(1, job.family.commands()))
            due = time.monotonic() + spared * drawn.uniform(*KILL_SECONDS)


def disturbed(server: S3Server, folder: Path, minutes: float, seed: int) -> Job:
    """Run the job in the bucket, disturbed for so long, and let it come to its end."""
    with FaultProxy(server.port + 3) as proxy:
        env = {**os.environ, **server.env, "AWS_ENDPOINT_URL_S3": proxy.url}
        env |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        (folder / "logs").mkdir()
        job = Job(f"{server.url}/soak", env, folder / "music", folder / "logs", Family(), seed)
        ended = threading.Event()
        watch = threading.Thread(target=look_and_strike, args=(job, proxy, ended))
        watch.start()
        try:
            job.run(60 * minutes)
            job.finish()
            time.sleep(2.0)  # for what the last command leaves to end
        finally:
            job.over.set()
            ended.set()
            watch.join()
            left = job.family.living()
            job.family.end()
    if left:
        job.faults.append(f"processes that outlive their commands: {left}")
    print(f"requests through the proxy {proxy.requests:,}, struck {proxy.struck}")
    return job


def told(job: Job) -> None:
    """Print what happened to the job."""
    kills = job.family.kills
    print(f"killed {sum(kills.values())}: {dict(sorted(kills.items()))}")
    print(f"ended: {dict(sorted(job.ended.items()))}")
    print(f"steps of the corpus {job.steps}, runs {len(job.trained)} of {len(job.begun)}")
    print(f"{'most memory, MB':<22} {'first half':^19} {'second half':^19}")
    halves = job.family.memory()
    print(*lines(halves), sep="\n")
    for name in grown(halves):
        job.faults.append(f"{name} took more memory in the second half")
    for line in job.family.overdue:
        job.faults.append(f"outlived its command: {line}")


def compared(job: Job, server: S3Server, folder: Path) -> None:
    """Compare the job's bytes with those of a quiet run; what differs is a fault."""
    location = Location(job.url, server.storage_options)
    problems = verify(location, recompute=extract_shard)["problems"]
    job.faults += [f"verify: {problem}" for problem in problems]
    prune(location, abandoned_seconds=-60)
    runs = sorted(job.begun)
    quiet = run_quietly(location, job.folder, folder / "quiet", runs)
    prune(quiet, abandoned_seconds=-60)
    there, here = hashes(location, runs), hashes(quiet, runs)
    wrong = differing(there, here)
    job.faults += [f"not the bytes of a quiet run: {path}" for path in wrong]
    plans = plans_of(location)
    rows = plans[-1].header.stop_row if plans else 0
    print(f"publications {len(plans)}, rows {rows:,}, objects {len(there)}, differing {len(wrong)}")
    for run in runs:
        path = f"runs/{run}/model.safetensors"
        same = there.get(path) == here.get(path)
        print(f"{run}: {there.get(path, '-')[:16]} {'same' if same else 'DIFFERENT'}")


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests.soak")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="a folder to leave all in, logs too")
    asked = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that nothing is left behind
    folder = asked.keep or Path(tempfile.mkdtemp(prefix="fadae-soak-"))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "s3").mkdir()
    with s3_server(folder / "s3") as server:
        job = disturbed(server, folder, asked.minutes, asked.seed)
        told(job)
        compared(job, server, folder)
    for fault in job.faults:
        print(f"FAULT {fault}")
    print("the bytes of a quiet run" if not job.faults else f"{len(job.faults)} faults")
    if not asked.keep and not job.faults:
        shutil.rmtree(folder)
    return 1 if job.faults else 0


if __name__ == "__main__":
    sys.exit(main())
