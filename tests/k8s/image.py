"""The image: built on a Debian of one's own, and run as a pod would be, without a cluster.

    make k8s        (python -m pytest -s tests/k8s/image.py)

Some minutes, root, and PyPI and a mirror of Debian within reach, so not a part of `make test`.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fadae._version import __version__
from tests.k8s.containerfile import ROOT, files_seen
from tests.k8s.containers import IMAGE, Buildah, Crun, images, lacking

PULLED_BYTES = 600e6
UNPACKED_BYTES = 1.5e9
MEMORY_BYTES = 4 << 30  # five processes of the demonstration, and its files at /tmp
PACKAGES = (
    "import importlib.metadata as m, json, sys;"
    "print(json.dumps({d.name: d.version for d in m.distributions()}))"
)

pytestmark = pytest.mark.timeout(3000)


@pytest.fixture(scope="module")
def buildah() -> Iterator[Buildah]:
    if reason := lacking():
        pytest.skip(reason)
    with images() as store:
        yield store


@pytest.fixture(scope="module")
def root(buildah: Buildah) -> Path:
    """The image's files."""
    buildah.import_base()
    buildah.build()
    return buildah.mounted(IMAGE)


@pytest.fixture(scope="module")
def crun(buildah: Buildah, root: Path) -> Crun:
    return Crun(root, buildah.config(), buildah.folder / "crun", MEMORY_BYTES)


def test_buildah_sees_what_the_ignore_file_leaves(buildah: Buildah) -> None:
    assert buildah.seen("localhost/context:test") == set(files_seen())


def test_it_is_small(buildah: Buildah, root: Path) -> None:
    files = [path.lstat() for path in root.rglob("*") if path.is_file() or path.is_symlink()]
    unpacked = sum({(one.st_dev, one.st_ino): one.st_size for one in files}.values())
    pulled = buildah.compressed_bytes()
    print(f"image: {pulled / 1e6:.0f} MB to pull, {unpacked / 1e6:.0f} MB unpacked")
    assert pulled < PULLED_BYTES
    assert unpacked < UNPACKED_BYTES


def test_its_files_need_no_shell_and_bring_no_tools(root: Path) -> None:
    packages = next((root / "opt/fadae/lib").glob("python3*/site-packages"))
    for name in ("pip", "numpy/tests", "torch/include", "torch/test"):
        assert not (packages / name).exists(), name
    assert [p.name for p in (packages / "torch" / "bin").iterdir()] == ["torch_shm_manager"]
    # What is imported is compiled: nothing could be written there later.
    assert list((packages / "fadae" / "__pycache__").glob("*.pyc"))


def test_labels_and_user(buildah: Buildah, root: Path) -> None:
    config = buildah.config()
    assert config["User"] == "10001:10001"
    assert config["Entrypoint"] == ["fadae"]
    assert config["Labels"]["org.opencontainers.image.version"] == __version__
    assert config["Labels"]["org.opencontainers.image.base.name"].startswith("localhost/")


def test_it_runs_as_pods_do(crun: Crun) -> None:
    done = crun.run("--version")
    assert (done.returncode, done.stdout.strip()) == (0, __version__), done.stderr
    look = "print(open('/proc/self/status').read()); open('/opt/fadae/a', 'w')"
    done = crun.run("-c", look, entry=("python3",))
    assert re.search(r"^Uid:\t10001\t10001", done.stdout, re.M)
    assert re.search(r"^CapBnd:\t0+$", done.stdout, re.M)
    assert re.search(r"^NoNewPrivs:\t1$", done.stdout, re.M)
    assert "Read-only file system" in done.stderr


def test_every_package_is_the_pinned_one(crun: Crun) -> None:
    installed = json.loads(crun.run("-c", PACKAGES, entry=("python3",)).stdout)
    assert installed.pop("fadae") == __version__
    name = "constraints-3.13.txt" if sys.version_info >= (3, 13) else "constraints.txt"
    lines = re.findall(r"^([\w.-]+)==([^\s;]+)", (ROOT / name).read_text(), re.M)
    pins = {_plain(name): version for name, version in lines}
    assert installed
    found = {_plain(name): version.split("+")[0] for name, version in installed.items()}
    assert found == {name: pins.get(name) for name in found}
    assert {"torch", "prometheus-client"} <= set(found)


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_its_python_is_its_clients(crun: Crun) -> None:
    done = crun.run("--version", entry=("python3",))
    assert done.stdout.split()[1].split(".")[:2] == [str(n) for n in sys.version_info[:2]]


def test_check_finds_a_place_to_work(crun: Crun) -> None:
    done = crun.run("check", "-w", "/tmp/workspace")
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"^ok +decoder .*seccomp", done.stdout, re.M)
    if crun.is_limited:
        assert re.search(r"^ok +memory +4\.0 GiB, a limit", done.stdout, re.M)


def test_the_demonstration_runs_to_its_end(crun: Crun) -> None:
    done = crun.run("demo")
    assert done.returncode == 0, done.stderr
    assert "fadae serve -w demo/workspace" in done.stdout
    assert re.search(r"^ +published_step +180$", done.stdout, re.M)
