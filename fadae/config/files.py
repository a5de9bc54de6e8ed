"""Settings from files: `fadae.toml`, and recipes, which are such files under a name.

    workspace = "s3://bucket/bach"
    recipe = "seed"

    [ingest]
    items = ["AOC11B"]

    [train]
    epochs = 20

A section of options is a table; what every command shares stands above the tables. A flag wins
over an environment variable, that over fadae.toml, that over the recipe, that over the default.
"""

from __future__ import annotations

import difflib
import json
import textwrap
import tomllib
from collections.abc import Collection, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

from fadae.config.options import Declared, Scalar, Section, declared, problem
from fadae.errors import UsageError

FILE = "fadae.toml"
TOP = "job"
"""The section whose options stand above the tables."""

S = TypeVar("S", bound=Section)
Values = dict[str, Scalar | list[Scalar]]


class FileSettings:
    """What a file sets: values by section and the option's name, all checked."""

    def __init__(self, origin: str, sections: dict[str, Values], recipe: str | None) -> None:
        """Take where the values come from, as messages name it, the values, and a recipe's name."""
        self.origin = origin
        self.sections = sections
        self.recipe = recipe

    def get(self, one: Declared) -> Scalar | list[Scalar] | None:
        """Return the value of an option; None where the file leaves it."""
        return self.sections.get(one.section, {}).get(one.name)


def build(section: type[S], layers: Sequence[FileSettings]) -> S:
    """Return a section with what files set, earlier ones winning; raises UsageError."""
    values: dict[str, Scalar | tuple[Scalar, ...]] = {}
    for settings in reversed(layers):
        for one in declared(section):
            value = settings.get(one)
            if value is not None:
                values[one.name] = tuple(value) if isinstance(value, list) else value
    return section(**values)


def load_settings(path: Path, sections: Sequence[type[Section]]) -> FileSettings:
    """Return what a file sets.

    Raises UsageError for a file that is not there or is not TOML, an unknown key (naming the
    nearest known one) and a value that its option does not take.
    """
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read {path}: {error}") from error
    return parse_settings(text, str(path), sections)


def load_recipe(name: str, sections: Sequence[type[Section]]) -> FileSettings:
    """Return the recipe of a name, or of a file where the name ends in .toml; raises UsageError."""
    if name.endswith(".toml"):
        return load_settings(Path(name), sections)
    known = recipe_names()
    if name not in known:
        raise UsageError(
            f"--recipe {name}: one of {', '.join(known)}, or a file that ends in .toml"
        )
    text = resources.files("fadae.config").joinpath(f"recipes/{name}.toml").read_text("utf-8")
    return parse_settings(text, f"recipe {name}", sections)


def recipe_names() -> list[str]:
    """Return the names of the recipes that fadae ships."""
    folder = resources.files("fadae.config").joinpath("recipes")
    return sorted(one.name.removesuffix(".toml") for one in folder.iterdir())


def parse_settings(text: str, origin: str, sections: Sequence[type[Section]]) -> FileSettings:
    """Return what a text sets; `origin` names it in messages. Raises UsageError as said above."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{origin} is not TOML: {error}") from error
    tables = {section.section: _settable(section) for section in sections}
    recipe = document.pop("recipe", None)
    if not isinstance(recipe, str | None):
        raise UsageError(f"{origin}: recipe {recipe!r}: expected the name of a recipe")
    found: dict[str, Values] = {}
    for key, value in document.items():
        if isinstance(value, dict):
            if key not in tables or key == TOP:
                raise _unknown(f"table [{key}]", key, set(tables) - {TOP}, origin)
            found[key] = {
                one.name: _checked(one, inner, origin)
                for name, inner in value.items()
                for one in [_find(name, tables[key], f"{key}.", origin, tables)]
            }
        else:
            one = _find(key, tables[TOP], "", origin, tables)
            found.setdefault(TOP, {})[one.name] = _checked(one, value, origin)
    return FileSettings(origin, found, recipe)


def settings_text(
    values: FileSettings, sections: Sequence[type[Section]], without: Collection[str] = ()
) -> str:
    """Return a settings file of every option: those with a value, the others commented.

    `without` names options to leave out, as train.launcher. `parse_settings` reads the values
    back; all comes from the options' declarations.
    """
    lines: list[str] = []
    for section in sections:
        lines += [] if section.section == TOP else [f"\n[{section.section}]"]
        for one in _settable(section).values():
            if f"{one.section}.{one.name}" in without:
                continue
            about, value = one.about, values.get(one)
            lines += textwrap.wrap(
                " ".join(filter(None, [about.help, f"[{about.unit}]" if about.unit else ""])),
                98,
                initial_indent="# ",
                subsequent_indent="#   ",
            )
            default = [] if one.default is None and one.repeatable else one.default
            if value is not None:
                lines.append(f"{one.key} = {_toml(value)}")
            elif default is None:
                lines.append(f"# {one.key} =")
            else:
                lines.append(f"# {one.key} = {_toml(default)}")
    return "\n".join(lines) + "\n"


def _toml(value: Any) -> str:
    """Return a value as TOML has it: JSON has the same for what options are."""
    return json.dumps(list(value) if isinstance(value, tuple) else value, ensure_ascii=False)


def _settable(section: type[Section]) -> dict[str, Declared]:
    return {one.key: one for one in declared(section) if one.about.shared}


def _find(
    key: str,
    table: dict[str, Declared],
    prefix: str,
    origin: str,
    tables: dict[str, dict[str, Declared]],
) -> Declared:
    """Return the option that a key names: `batch-size` or `batch_size`."""
    one = table.get(key.replace("_", "-"))
    if one is not None:
        return one
    names = {f"{'' if s == TOP else s + '.'}{k}" for s, options in tables.items() for k in options}
    raise _unknown(f"key {prefix}{key}", prefix + key, names, origin)


def _unknown(what: str, name: str, known: set[str], origin: str) -> UsageError:
    near = difflib.get_close_matches(name, sorted(known), n=1, cutoff=0.0)
    return UsageError(f"{origin}: unknown {what}; the nearest is {near[0]}")


def _checked(one: Declared, value: Any, origin: str) -> Scalar | list[Scalar]:
    if one.about.joined and isinstance(value, str):
        value = one.read(value)
    values = value if one.repeatable and isinstance(value, list) else [value]
    for single in values:
        wrong = problem(one, single)
        if wrong:
            raise UsageError(f"{origin}: {one.key} {single!r}: {wrong}")
    return list(values) if one.repeatable else values[0]
