"""What `fadae check` looks at on this machine: one finding a check, and what to do about it."""

from __future__ import annotations

import os
import platform
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from fadae._version import __version__
from fadae.audio import borrowed
from fadae.errors import OwnFaultError, RecordingFailure
from fadae.memory import memory_limit_bytes

State = Literal["ok", "weak", "wrong", "away"]
"""Fine; works, and could do better; fails until somebody changes it; may work later."""

_NAMED = ("av", "dask", "numpy", "torch", "zarr")
_STARTS = "let this user run Python, and more processes"
_INSTALL = "pip install -c constraints.txt -e ."


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found."""

    check: str
    state: State
    says: str
    remedy: str = ""

    def line(self) -> str:
        """Return it for a person.

        >>> Finding("decoder", "weak", "no seccomp", "run it on Linux").line()
        'weak   decoder          no seccomp: run it on Linux'
        """
        tail = f": {self.remedy}" if self.remedy else ""
        return f"{self.state:<6} {self.check:<16} {self.says}{tail}"


def versions() -> Finding:
    """Compare the installed libraries and Python with what fadae requires."""
    try:
        ours = metadata.metadata("fadae")
    except metadata.PackageNotFoundError:
        return Finding("versions", "weak", "fadae is not installed", _INSTALL)
    asked = (Requirement(text) for text in metadata.requires("fadae") or ())
    wrong = [
        problem
        for one in asked
        if one.marker is None or one.marker.evaluate({"extra": ""})
        if (problem := _problem(one.name, one.specifier))
    ]
    python = platform.python_version()
    if python not in SpecifierSet(ours["Requires-Python"] or ""):
        wrong.insert(0, f"Python {python}, required {ours['Requires-Python']}")
    if wrong:
        return Finding("versions", "wrong", "; ".join(wrong), _INSTALL)
    named = ", ".join(f"{name} {metadata.version(name)}" for name in _NAMED)
    return Finding("versions", "ok", f"fadae {__version__}, Python {python}, {named}")


def _problem(name: str, required: SpecifierSet) -> str:
    try:
        found = metadata.version(name)
    except metadata.PackageNotFoundError:
        return f"no {name}"
    fits = required.contains(found, prereleases=True)
    return "" if fits else f"{name} {found}, required {required}"


_REMEDIES = {
    "Landlock": "Linux 5.13 or newer with landlock among its security modules (/sys/kernel/security"
    "/lsm), and a container that lets landlock_create_ruleset pass",
    "seccomp": "Linux on x86_64 or aarch64, and a container that lets prctl pass",
}


def decoder() -> Finding:
    """Start a decoder, have it decode a clip, and say what holds it in."""
    try:
        with borrowed() as sandbox:
            wall = sandbox.wall()
    except OwnFaultError as fault:
        reason = str(fault).splitlines()[-1]
        return Finding("decoder", "wrong", f"it decodes nothing here: {reason}", _INSTALL)
    except RecordingFailure as failure:
        return Finding("decoder", "away", str(failure), "try again on a machine with less to do")
    except OSError as error:
        return Finding("decoder", "wrong", f"it does not start here: {error}", _STARTS)
    missing = [part.partition(" ")[0] for part in wall.lacks]
    remedy = "; ".join(_REMEDIES[part] for part in missing)
    return Finding("decoder", "weak" if missing else "ok", str(wall), remedy)


LEAST_MEMORY_BYTES = 2**31
LEAST_DISK_BYTES = 2 * 10**9


def memory_bytes() -> int:
    """Return the memory this process may take: its control group's limit, or the machine's."""
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return min(memory_limit_bytes() or machine, machine)


def memory() -> Finding:
    """Say how much memory a process may take here."""
    there = memory_bytes()
    says = f"{there / 2**30:.1f} GiB" + (", a limit" if memory_limit_bytes() else "")
    if there < LEAST_MEMORY_BYTES:
        return Finding("memory", "weak", says, "raise the container's limit to 2 GiB or more")
    return Finding("memory", "ok", says)


def temporary() -> Finding:
    """Say how much is free where temporary files go."""
    return disk("temporary", Path(tempfile.gettempdir()), "or set TMPDIR to a larger disk")


def disk(check: str, folder: Path, otherwise: str = "") -> Finding:
    """Say how much is free at a folder that is there, and what else than freeing some helps."""
    free = shutil.disk_usage(folder).free
    says = f"{free / 1e9:,.1f} GB free at {folder}"
    if free < LEAST_DISK_BYTES:
        return Finding(check, "weak", says, f"free 2 GB or more {otherwise}".rstrip())
    return Finding(check, "ok", says)


def devices(drivers: Path = Path("/dev")) -> Finding:
    """Name the GPUs; torch, which takes a second to load, is asked only where a driver is."""
    if not any((drivers / name).exists() for name in ("nvidiactl", "kfd", "dxg")):
        return Finding("devices", "ok", "no GPU")
    try:
        import torch

        from fadae.model import gpus_of
    except ImportError as error:
        return Finding("devices", "weak", f"a GPU's driver, and no torch ({error})", _INSTALL)
    names = [torch.cuda.get_device_name(number) for number in range(gpus_of("cuda"))]
    if not names:
        remedy = "a torch built for this driver, the device handed to the container, and " + (
            "CUDA_VISIBLE_DEVICES without it or with its number"
        )
        return Finding("devices", "weak", "a GPU's driver, and torch sees no GPU", remedy)
    return Finding("devices", "ok", ", ".join(f"cuda:{n} {name}" for n, name in enumerate(names)))


CHECKS: tuple[Callable[[], Finding], ...] = (versions, decoder, memory, temporary, devices)


def run_checks() -> list[Finding]:
    """Return what each check finds, in their order."""
    return [one() for one in CHECKS]
