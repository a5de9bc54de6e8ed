"""The mutants in mutants.toml: one line of fadae each, made wrong on purpose."""

from __future__ import annotations

import ast
import shlex
import tomllib
from dataclasses import dataclass
from pathlib import Path

TABLE = Path(__file__).with_name("mutants.toml")
_NAMED = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


@dataclass(frozen=True)
class Mutant:
    """One line of one function and what stands there instead."""

    at: str
    """File below fadae/ and the qualified name of the function or class that holds the line."""
    old: str
    new: str
    tests: str
    """The nearest tests, as pytest takes them."""
    loses: str
    """What a user would lose."""
    equivalent: str = ""
    """Why no test can tell the two apart, where none can."""

    @property
    def file(self) -> str:
        """The file that holds the line, from the top of the tree."""
        return f"fadae/{self.at.partition(' ')[0]}"

    @property
    def arguments(self) -> list[str]:
        """The nearest tests as pytest's arguments."""
        return shlex.split(self.tests)

    def applied(self, source: str) -> str:
        """Return the file's text with the line replaced; raises LookupError where it is not one.

        The line keeps its indentation.
        """
        lines = source.split("\n")
        first, stop = _span(source, self.at.partition(" ")[2])
        found = [at for at in range(first, stop) if lines[at].strip() == self.old]
        if len(found) != 1:
            raise LookupError(f"{self.at} holds {self.old!r} {len(found)} times, not once")
        indented = lines[found[0]].partition(self.old)[0] + self.new
        return "\n".join([*lines[: found[0]], indented, *lines[found[0] + 1 :]])


def mutants() -> list[Mutant]:
    """Return all mutants of the table."""
    return [Mutant(**entry) for entry in tomllib.loads(TABLE.read_text("utf-8"))["mutant"]]


def _span(source: str, name: str) -> tuple[int, int]:
    """Return the lines [first, stop) of a function or class, by its qualified name."""
    node: ast.AST = ast.parse(source)
    stop = len(source.split("\n"))
    first = 0
    for part in name.split("."):
        inside = (n for n in ast.iter_child_nodes(node) if isinstance(n, _NAMED) and n.name == part)
        if (found := next(inside, None)) is None:
            raise LookupError(f"there is no {name}")
        node, first, stop = found, found.lineno - 1, found.end_lineno or found.lineno
    return first, stop
