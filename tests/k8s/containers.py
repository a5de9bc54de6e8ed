"""Debian's buildah and crun: an image built as users build it, and run as Kubernetes would.

Neither needs a daemon. As no registry need be reachable, the base is a Debian of one's own.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.k8s.containerfile import CONTAINERFILE, ROOT

# The Debian whose Python is this one: an image's Python must be its clients'.
DEBIAN = {(3, 11): "bookworm", (3, 13): "trixie"}
BASE = "localhost/fadae-base:test"
IMAGE = "localhost/fadae:test"
_NOT_IN_AN_IMAGE = ("usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/info")
_PIPS_ORDER = ("global", "user", "site", ":env:")  # the later one wins
_NAMESPACES = ("pid", "mount", "ipc", "uts", "network")
_CAPABILITIES = ("bounding", "effective", "inheritable", "permitted", "ambient")
_HYBRID = Path("/sys/fs/cgroup/unified")  # crun knows cgroups of one version, not both at once


def lacking() -> str:
    """Return what this machine lacks to build and run an image; nothing if it has all."""
    if os.geteuid() != 0:
        return "needs root to build an image"
    missing = [t for t in ("buildah", "crun", "debootstrap", "unshare") if not shutil.which(t)]
    if missing:
        return f"no {', '.join(missing)} to build and run an image (Debian has them)"
    if sys.version_info[:2] not in DEBIAN:
        return "no Debian has this Python for the image's base"
    return ""


def _run(*command: str | Path, timeout_seconds: float = 1200) -> str:
    done = subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, timeout=timeout_seconds
    )
    assert done.returncode == 0, f"{command}: {done.stdout[-2000:]}{done.stderr[-3000:]}"
    return done.stdout.strip()


def pip_settings() -> dict[str, str]:
    """Return what pip goes by on this machine; the environment's values come last and win."""
    listed = _run(sys.executable, "-m", "pip", "config", "list").splitlines()
    split = [re.fullmatch(r"(\w+|:env:)\.([\w-]+)='(.*)'", line) for line in listed]
    found = sorted((m.groups() for m in split if m), key=lambda m: _PIPS_ORDER.index(m[0]))
    return {key: value for _, key, value in found}


class Buildah:
    """Images below a folder of their own, gone with it."""

    def __init__(self, folder: Path) -> None:
        """Hold images in a folder."""
        self.folder = folder

    def __call__(self, *words: str | Path) -> str:
        """Run a command of buildah; return what it prints."""
        places = ("--root", self.folder / "storage", "--runroot", self.folder / "run")
        return _run("buildah", *places, *words)

    def close(self) -> None:
        """Unmount and remove all containers and images."""
        self("rm", "--all")
        self("rmi", "--all", "--force")

    def import_base(self) -> None:
        """Make the base by debootstrap, as slim as Debian's own slim images."""
        base = self.folder / "base"
        packages = "--include=python3-venv,ca-certificates"
        _run("debootstrap", "--variant=minbase", packages, DEBIAN[sys.version_info[:2]], base)
        for name in (*_NOT_IN_AN_IMAGE, "var/cache/apt", "var/lib/apt/lists"):
            shutil.rmtree(base / name)
        self._configure_pip(base)
        container = self("from", "scratch")
        self("add", container, base, "/")
        self("commit", "--rm", container, BASE)
        shutil.rmtree(base)

    def _configure_pip(self, base: Path) -> None:
        """Have pip in the base ask whom it asks on this machine."""
        settings = pip_settings()
        kept = {
            key: settings[key] for key in ("index-url", "find-links", "cert") if key in settings
        }
        if "cert" in kept:
            inside = "/etc/ssl/certs/ca-certificates.crt"
            shutil.copyfile(kept["cert"], base / inside.removeprefix("/"))
            kept["cert"] = inside
        lines = ["[global]", *(f"{key} = {value}" for key, value in kept.items())]
        (base / "etc" / "pip.conf").write_text("\n".join(lines) + "\n")

    def build(self) -> None:
        """Build the image of the repository's Containerfile on that base."""
        arguments = ["--build-arg", f"PYTHON={BASE}"]
        links = [Path(link) for link in pip_settings().get("find-links", "").split()]
        folders = [link for link in links if link.is_dir()]
        for folder in folders:
            arguments += ["--volume", f"{folder}:{folder}:ro"]
        if any(list(folder.glob("torch-*")) for folder in folders):
            arguments += ["--build-arg", "TORCH_INDEX=https://pypi.org/simple"]
        how = ("--isolation", "chroot", "--network", "host")
        self("bud", *how, *arguments, "-f", CONTAINERFILE, "-t", IMAGE, ROOT)

    def seen(self, name: str) -> set[str]:
        """Return the files of the repository that a build of an image of that name sees."""
        file = self.folder / "Containerfile.context"
        file.write_text("FROM scratch\nCOPY . /\n")
        ignored = ("--ignorefile", ROOT / ".dockerignore")
        self("bud", "--isolation", "chroot", *ignored, "-f", file, "-t", name, ROOT)
        root = self.mounted(name)
        return {p.relative_to(root).as_posix() for p in root.rglob("*") if p.is_file()}

    def mounted(self, name: str) -> Path:
        """Return the root of a container of an image."""
        return Path(self("mount", self("from", name)))

    def config(self) -> dict[str, Any]:
        """Return the image's own configuration: User, Env, Entrypoint, Labels, ..."""
        found: dict[str, Any] = json.loads(self("inspect", "--type", "image", IMAGE))
        return dict(found["OCIv1"]["config"])

    def compressed_bytes(self) -> int:
        """Return the size of what a node pulls."""
        folder = self.folder / "pushed"
        self("push", IMAGE, f"dir:{folder}")
        size = sum(path.stat().st_size for path in folder.iterdir())
        shutil.rmtree(folder)
        return size


@contextlib.contextmanager
def images() -> Iterator[Buildah]:
    """Yield a store of images, removed at the end: they take gigabytes."""
    with tempfile.TemporaryDirectory(prefix="fadae-image-") as folder:
        buildah = Buildah(Path(folder))
        try:
            yield buildah
        finally:
            buildah.close()


class Crun:
    """Runs commands in containers on one root, as Kubernetes' Restricted standard has it.

    As the image's user, without capabilities, on a read-only root with a tmpfs at /tmp, with only
    loopback for a network, within a limit of memory where cgroups allow one.
    """

    def __init__(self, root: Path, image: dict[str, Any], folder: Path, memory_bytes: int) -> None:
        """Take an image's root and configuration; `folder` holds the runtime's own state."""
        self._root, self._image, self._folder = root, image, folder
        self._memory_bytes = memory_bytes
        self._manager = "cgroupfs"
        if self.run("--version").returncode:
            self._manager = "disabled"

    @property
    def is_limited(self) -> bool:
        """Whether memory is limited."""
        return self._manager != "disabled"

    def run(self, *words: str, entry: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
        """Run the image's entry point, or another one, with arguments."""
        bundle = self._folder / "bundle"
        bundle.mkdir(parents=True, exist_ok=True)
        argv = [*(entry or self._image["Entrypoint"]), *words]
        (bundle / "config.json").write_text(json.dumps(self._specification(argv)))
        crun = ["crun", "--root", str(self._folder / "state"), "--cgroup-manager", self._manager]
        start = [*crun, "run", "--bundle", str(bundle), f"fadae-test-{os.getpid()}"]
        if _HYBRID.is_dir():
            start = ["sh", "-c", f'umount {_HYBRID} && exec "$@"', "sh", *start]
        return subprocess.run(
            ["unshare", "--mount", "--propagation", "private", *start],
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=1200,
        )

    def _specification(self, argv: list[str]) -> dict[str, Any]:
        user, group = (int(number) for number in self._image["User"].split(":"))
        resources = {"memory": {"limit": self._memory_bytes}} if self.is_limited else {}
        return {
            "ociVersion": "1.0.2",
            "process": {
                "user": {"uid": user, "gid": group},
                "args": argv,
                "env": self._image["Env"],
                "cwd": self._image["WorkingDir"],
                "noNewPrivileges": True,
                "capabilities": {kind: [] for kind in _CAPABILITIES},
            },
            "root": {"path": str(self._root), "readonly": True},
            "hostname": "pod",
            "mounts": [
                _mount("/proc", "proc"),
                _mount("/dev", "tmpfs", "nosuid", "mode=755", "size=64k"),
                _mount("/dev/shm", "tmpfs", "nosuid", "nodev", "mode=1777", "size=64m"),
                _mount("/sys/fs/cgroup", "cgroup", "nosuid", "noexec", "nodev", "ro"),
                _mount("/tmp", "tmpfs", "nosuid", "nodev", "mode=1777", "size=4g"),
            ],
            "linux": {
                "namespaces": [{"type": name} for name in _NAMESPACES],
                "cgroupsPath": f"/fadae-test-{os.getpid()}",
                "resources": resources,
                "maskedPaths": ["/proc/kcore", "/proc/keys"],
                "readonlyPaths": ["/proc/sys"],
            },
        }


def _mount(destination: str, kind: str, *options: str) -> dict[str, Any]:
    return {"destination": destination, "type": kind, "source": kind, "options": list(options)}
