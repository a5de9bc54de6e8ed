"""What `fadae check` looks at on this machine: one finding a check, and what to do about it."""

from __future__ import annotations

import platform
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from typing import Literal

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from fadae._version import __version__
from fadae.audio import borrowed
from fadae.errors import OwnFaultError, RecordingFailure

State = Literal["ok", "weak", "wrong", "away"]
"""Fine; works, and could do better; fails until somebody changes it; may work later."""

_NAMED = ("av", "dask", "numpy", "torch", "zarr")
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
        'weak   decoder    no seccomp: run it on Linux'
        """
        tail = f": {self.remedy}" if self.remedy else ""
        return f"{self.state:<6} {self.check:<10} {self.says}{tail}"


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
    missing = [part.partition(" ")[0] for part in wall.lacks]
    remedy = "; ".join(_REMEDIES[part] for part in missing)
    return Finding("decoder", "weak" if missing else "ok", str(wall), remedy)


CHECKS: tuple[Callable[[], Finding], ...] = (versions, decoder)


def run_checks() -> list[Finding]:
    """Return what each check finds, in their order."""
    return [one() for one in CHECKS]
