"""Jobs on a SLURM of one node: the documented lines, and a worker cancelled in the middle of work.

    make slurm        (python -m pytest tests/cluster/slurm.py)

Debian's slurm-wlm brings all that it needs; as root, some minutes, so not a part of `make test`.
Its daemons run from a folder and on ports of their own, without cgroups. What it shows is that the
lines of docs/cluster.md run, workers come and go as jobs, and a lost one changes no byte.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fadae.audio.write import encode
from fadae.embedded.items import folder_item
from fadae.embedded.server import EmbeddedArchive
from fadae.store.location import Location
from tests.command import fadae, summary
from tests.hangs import wait_until
from tests.soak.quiet import hashes
from tests.synthetic import RATE_HZ, music

DAEMONS = ("munged", "slurmctld", "slurmd")
PAGE = Path(__file__).resolve().parents[2] / "docs" / "cluster.md"
RECORDINGS = 8
TRANSFER_SECONDS = 4.0  # of each: long enough to cancel a worker that holds one
SETTINGS = """
ClusterName=fadae
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
KillWait=2
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
NodeName={host} NodeAddr=127.0.0.1 CPUs=3 RealMemory=16000
PartitionName=all Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""

pytestmark = pytest.mark.timeout(1200)


def lacking() -> str:
    """Return what this machine lacks to run a SLURM of its own; nothing if it has all."""
    missing = [name for name in (*DAEMONS, "sbatch") if not shutil.which(name)]
    if missing:
        return f"no {', '.join(missing)} for a SLURM of one node (Debian: slurm-wlm)"
    if os.geteuid() != 0:
        return "needs root to run SLURM's daemons"
    return ""


def free_ports(count: int) -> list[int]:
    """Return ports of this machine that were free a moment ago."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


class Slurm:
    """A controller and one node of three processors, below a folder."""

    def __init__(self, folder: Path) -> None:
        """Start the daemons; `stop` ends them."""
        self.folder = folder
        self._processes: list[subprocess.Popen[bytes]] = []
        for name in ("state", "spool"):
            (folder / name).mkdir()
        host = socket.gethostname().split(".")[0]
        settings = SETTINGS.format(host=host, folder=folder, ports=free_ports(2))
        (folder / "slurm.conf").write_text(settings)
        key = folder / "munge.key"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o400)
        scripts = str(Path(sys.executable).parent)
        self.environment = {
            **os.environ,
            "SLURM_CONF": str(folder / "slurm.conf"),
            "HOME": str(folder),
            "PATH": f"{scripts}:{os.environ['PATH']}",
        }
        names = ("socket", "seed-file", "log-file", "pid-file")
        munge = [f"--{name}={folder}/munge.{name}" for name in names]
        self._start("munged", "--foreground", "--force", f"--key-file={key}", *munge)
        wait_until((folder / "munge.socket").exists)
        self._start("slurmctld", "-D")
        self._start("slurmd", "-D")
        wait_until(lambda: "idle" in self.ask("sinfo", "-h", "-o", "%t"))

    def _start(self, *command: str) -> None:
        with (self.folder / f"{command[0]}.log").open("wb") as log:
            self._processes.append(
                subprocess.Popen(command, stdout=log, stderr=log, env=self.environment)
            )

    def stop(self) -> None:
        """Cancel all jobs and end the daemons, the last first."""
        self.ask("scancel", "--user=root")
        wait_until(lambda: not self.ask("squeue", "-h"))
        for process in reversed(self._processes):
            process.terminate()
            process.wait()

    def ask(self, *command: str) -> str:
        """Return what a command prints; nothing where it fails, as before the controller is up."""
        done = subprocess.run(
            command, env=self.environment, cwd=self.folder, capture_output=True, text=True
        )
        return done.stdout.strip()

    def shell(self, line: str) -> None:
        """Run a line as a user types it, in the folder."""
        subprocess.run(
            line, shell=True, env=self.environment, cwd=self.folder, check=True, timeout=120
        )

    def running(self, name: str) -> list[str]:
        """Return the ids of the running jobs of a name."""
        return self.ask("squeue", "-h", "-t", "RUNNING", "-n", name, "-o", "%i").split()


@pytest.fixture
def slurm(tmp_path: Path) -> Iterator[Slurm]:
    if reason := lacking():
        pytest.skip(reason)
    folder = tmp_path / "slurm"
    folder.mkdir()
    node = Slurm(folder)
    try:
        yield node
    finally:
        node.stop()


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[EmbeddedArchive]:
    folder = tmp_path / "item"
    folder.mkdir()
    for number in range(RECORDINGS):
        samples = music(20.0, seed=number) / 32768
        (folder / f"{number}.ogg").write_bytes(encode(samples, RATE_HZ, "ogg"))
    with EmbeddedArchive([folder_item(folder)], transfer_seconds=TRANSFER_SECONDS) as running:
        yield running


@pytest.fixture
def undisturbed(tmp_path: Path, archive: EmbeddedArchive) -> dict[str, str]:
    """What a run on this machine ends in, by path."""
    workspace = str(tmp_path / "quiet")
    asked = ("item", "--archive-url", archive.url, "-w", workspace, "--workers", "2")
    for command in (("ingest", *asked), ("extract", "-w", workspace, "--workers", "2")):
        ended = fadae(*command)
        assert ended.returncode == 0, ended.stderr
    return hashes(Location(workspace), ())


def documented(first: str) -> str:
    """Return the example of the page that has such a line, as it is to be typed."""
    blocks = re.findall(r"(?:^    .*\n|^\n(?=    ))+", PAGE.read_text(), re.M)
    (block,) = (block for block in blocks if first in block)
    return re.sub(r"^    ", "", block, flags=re.M).strip()


def job_with_a_loss(slurm: Slurm, archive: EmbeddedArchive, name: str) -> dict[str, str]:
    """Ingest and extract on the workers there are, one of them cancelled; return the results."""
    workspace = str(slurm.folder / "workspace")
    where = ("-w", workspace, "--scheduler-file", "dask.json")
    command = [sys.executable, "-m", "fadae"]
    ingest = [*command, "ingest", "item", "--archive-url", archive.url, *where]
    with (slurm.folder / "ingest.log").open("wb") as log:
        running = subprocess.Popen(
            ingest, env=slurm.environment, cwd=slurm.folder, stdout=log, stderr=log
        )
    # Two transfers at once: two workers hold one each.
    wait_until(lambda: archive.transfers >= 2)
    lost, *_ = slurm.running(name)
    slurm.ask("scancel", lost)
    wait_until(lambda: lost not in slurm.running(name))
    assert running.poll() is None, "it was over before a worker was lost"
    code = running.wait(600)
    assert code == 0, (slurm.folder / "ingest.log").read_text()
    # What the lost worker held was fetched again.
    assert archive.count()["datanode"] > 2 * RECORDINGS
    done = subprocess.run(
        [*command, "extract", *where, "--json"],
        env=slurm.environment,
        cwd=slurm.folder,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert summary(done)["recordings"] == RECORDINGS
    return hashes(Location(workspace), ())


def test_workers_of_an_array(
    slurm: Slurm, undisturbed: dict[str, str], archive: EmbeddedArchive
) -> None:
    """The scheduler and its workers by sbatch: more workers than there is room for."""
    lines = documented("sbatch --array").splitlines()
    assert lines[2].startswith("fadae run ") and lines[2].endswith("--scheduler-file ~/dask.json")
    for line in lines[:2]:
        slurm.shell(line)
    assert job_with_a_loss(slurm, archive, "workers") == undisturbed


def test_workers_of_dask_jobqueue(
    slurm: Slurm, undisturbed: dict[str, str], archive: EmbeddedArchive
) -> None:
    """The small program of the page, kept open: workers come with the work, and go."""
    if importlib.util.find_spec("dask_jobqueue") is None:
        pytest.skip("no dask-jobqueue (pip install 'fadae[slurm]')")
    (slurm.folder / "cluster.py").write_text(documented("import SLURMCluster"))
    with (slurm.folder / "cluster.log").open("wb") as log:
        program = subprocess.Popen(
            [sys.executable, "cluster.py"],
            env=slurm.environment,
            cwd=slurm.folder,
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
        )
    try:
        found = job_with_a_loss(slurm, archive, "dask-worker")
        wait_until(lambda: not slurm.running("dask-worker"))
    finally:
        program.communicate(b"\n", timeout=120)
    assert program.returncode == 0, (slurm.folder / "cluster.log").read_text()
    assert found == undisturbed
