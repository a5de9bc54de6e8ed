"""Reads what an image is built from: its Containerfile, and which files the build sees."""

from __future__ import annotations

import fnmatch
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CONTAINERFILE = ROOT / "k8s" / "image" / "Containerfile"
IGNORED = ROOT / ".dockerignore"


@dataclass(frozen=True)
class Instruction:
    """One instruction: its stage's number, ARGs before the first stage being of -1."""

    stage: int
    name: str
    value: str


def instructions(text: str) -> list[Instruction]:
    """Return a Containerfile's instructions in order.

    >>> instructions("ARG A=1\\n# no\\nFROM a AS b\\nRUN c \\\\\\n  && d")[2]
    Instruction(stage=0, name='RUN', value='c && d')
    """
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\s*\\\n\s*", " ", "\n".join(lines))
    found: list[Instruction] = []
    stage = -1
    for line in filter(str.strip, joined.splitlines()):
        name, _, value = line.partition(" ")
        stage += name == "FROM"
        found.append(Instruction(stage, name, value.strip()))
    return found


def is_seen(path: str, patterns: list[str]) -> bool:
    """Return whether a build sees a file, by the patterns of a .dockerignore: the last one decides.

    A pattern stands for what it names and for all below it; `**/` for any folders or none.

    >>> is_seen("fadae/a.py", ["*", "!fadae", "**/__pycache__"])
    True
    >>> is_seen("fadae/b/__pycache__/a.pyc", ["*", "!fadae", "**/__pycache__"])
    False
    """
    seen = True
    parts = path.split("/")
    names = ["/".join(parts[:count]) for count in range(1, len(parts) + 1)]
    for pattern in patterns:
        plain = pattern.removeprefix("!")
        if any(_matches(name, plain) for name in names):
            seen = pattern.startswith("!")
    return seen


def _matches(name: str, pattern: str) -> bool:
    if pattern.startswith("**/"):
        parts = name.split("/")
        return any(
            _matches("/".join(parts[first:]), pattern.removeprefix("**/"))
            for first in range(len(parts))
        )
    return name.count("/") == pattern.count("/") and fnmatch.fnmatchcase(name, pattern)


def patterns() -> list[str]:
    """Return the repository's own patterns."""
    lines = IGNORED.read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def files_seen(root: Path = ROOT) -> Iterator[str]:
    """Yield the files of a checkout that a build sees, of all there are."""
    for folder, _, names in os.walk(root):
        for name in names:
            path = (Path(folder) / name).relative_to(root).as_posix()
            if is_seen(path, patterns()):
                yield path
