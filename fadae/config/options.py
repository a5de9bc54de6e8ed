"""Options declared once, as fields of frozen dataclasses; everything else derives from them.

A field made by `option` carries its flag, environment variable, unit, help and bounds. The command
line's signatures, `fadae.toml`, `fadae config`, the files in jobs/ and the Kubernetes settings
read these declarations; nobody spells an option twice. No library is loaded here.

>>> @dataclass(frozen=True)
... class Cooking:
...     section: ClassVar[str] = "cooking"
...     minutes: float = option(3.0, help="Time in the water.", unit="min", above=0)
...     egg: str = option("soft", help="How it shall be.", choices=("soft", "hard"))
...
...     def __post_init__(self) -> None:
...         check(self)
>>> [(one.flag, one.env) for one in declared(Cooking)]
[('--minutes', 'FADAE_MINUTES'), ('--egg', 'FADAE_EGG')]
>>> Cooking(egg="raw")
Traceback (most recent call last):
fadae.errors.UsageError: --egg raw: one of soft, hard
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol

from fadae.errors import UsageError

Scalar = str | int | float | bool
_KEY = "option"


class Section(Protocol):
    """A dataclass of options; `section` names its table in fadae.toml."""

    section: ClassVar[str]
    __dataclass_fields__: ClassVar[dict[str, dataclasses.Field[Any]]]


@dataclass(frozen=True, kw_only=True)
class Option:
    """What is said of an option, once. Bounds hold for each value of a repeatable one."""

    help: str
    flag: str | None = None
    short: str | None = None
    env: str | None = None
    unit: str = ""
    minimum: float | None = None
    maximum: float | None = None
    above: float | None = None
    below: float | None = None
    choices: tuple[str, ...] = ()
    positional: bool = False
    joined: bool = False
    """Whether several values are one text with commas between, as 1024,512,256."""
    lines: bool = False
    """Whether the variable of a repeatable one holds a value a line: values hold spaces."""
    shared: bool = True
    """Whether fadae.toml and the batch settings may set it: what a call alone decides may not."""


def option(
    default: Any,
    *,
    help: str,
    flag: str | None = None,
    short: str | None = None,
    env: str | None = None,
    unit: str = "",
    minimum: float | None = None,
    maximum: float | None = None,
    above: float | None = None,
    below: float | None = None,
    choices: tuple[str, ...] = (),
    positional: bool = False,
    joined: bool = False,
    lines: bool = False,
    shared: bool = True,
) -> Any:
    """Return a dataclass field that is an option. Minimum and maximum are allowed values; above
    and below are not. The flag and the variable follow the field's name unless they are given.
    """
    about = Option(
        help=help,
        flag=flag,
        short=short,
        env=env,
        unit=unit,
        minimum=minimum,
        maximum=maximum,
        above=above,
        below=below,
        choices=choices,
        positional=positional,
        joined=joined,
        lines=lines,
        shared=shared,
    )
    return dataclasses.field(default=default, metadata={_KEY: about})


@dataclass(frozen=True, slots=True)
class Declared:
    """One option of a section, resolved: `kind` is the type of one value."""

    section: str
    name: str
    kind: type[str] | type[int] | type[float] | type[bool]
    repeatable: bool
    optional: bool
    default: Any
    about: Option

    @property
    def flag(self) -> str:
        """The long flag, or the word for a positional one."""
        return self.about.flag or ("" if self.about.positional else f"--{self.key}")

    @property
    def key(self) -> str:
        """The name in fadae.toml: the flag without its dashes."""
        return (self.about.flag or self.name).removeprefix("--").replace("_", "-")

    @property
    def env(self) -> str:
        """The environment variable."""
        return self.about.env or "FADAE_" + self.key.upper().replace("-", "_")

    def read(self, text: str) -> Any:
        """Return the value that a variable's text stands for; raises UsageError."""
        about = self.about
        if about.joined:
            parts = text.split(",")
        elif self.repeatable:
            parts = text.splitlines() if about.lines else text.split()
        else:
            return self._number(text)
        return [self._number(part.strip()) for part in parts if part.strip()]

    def text(self, value: Any) -> str:
        """Return a value as a variable holds it: `read` reads it back."""
        if isinstance(value, bool):
            return str(value).lower()
        if self.repeatable:
            return ("," if self.about.joined else "\n" if self.about.lines else " ").join(
                map(str, value)
            )
        return "" if value is None else str(value)

    def _number(self, text: str) -> Scalar:
        try:
            return self.kind(text) if self.kind in (int, float) else text
        except ValueError:
            raise UsageError(f"{self.shown} {text}: expected {_WORDS[self.kind]}") from None

    @property
    def shown(self) -> str:
        """How a message names the option."""
        return self.flag or self.name.upper()


def declared(section: type[Section]) -> list[Declared]:
    """Return a section's options in the order of their declaration."""
    hints = typing.get_type_hints(section)
    found = []
    for field in dataclasses.fields(section):
        about = field.metadata.get(_KEY)
        if about is not None:
            kind, repeatable, optional = _kind(hints[field.name])
            found.append(
                Declared(
                    section.section, field.name, kind, repeatable, optional, field.default, about
                )
            )
    return found


def check(values: Section) -> None:
    """Return where every option of a section's instance keeps its bounds; raises UsageError."""
    for one in declared(type(values)):
        check_value(one, getattr(values, one.name))


def check_value(one: Declared, value: Any) -> None:
    """Return where a value keeps an option's bounds; raises UsageError."""
    for single in value if one.repeatable else (value,):
        wrong = "" if single is None and one.optional else problem(one, single)
        if wrong:
            raise UsageError(f"{one.shown} {single}: {wrong}")


def problem(one: Declared, value: Any) -> str:
    """Return what is wrong with a value in words; nothing where it is right."""
    about = one.about
    number = one.kind in (int, float)
    if (
        isinstance(value, bool) != (one.kind is bool)
        or (number and not isinstance(value, (int, float)))
        or (one.kind is int and isinstance(value, float))
        or (one.kind is str and not isinstance(value, str))
    ):
        return f"expected {_WORDS[one.kind]}"
    if about.choices and value not in about.choices:
        return "one of " + ", ".join(about.choices)
    limits: tuple[tuple[float | None, str, Callable[[float, float], bool]], ...] = (
        (about.minimum, "at least", lambda v, limit: v >= limit),
        (about.maximum, "at most", lambda v, limit: v <= limit),
        (about.above, "above", lambda v, limit: v > limit),
        (about.below, "below", lambda v, limit: v < limit),
    )
    wrong = any(limit is not None and not holds(value, limit) for limit, _, holds in limits)
    if not wrong:
        return ""
    said = [f"{word} {limit:g}" for limit, word, _ in limits if limit is not None]
    return " and ".join(said) + (f" {about.unit}" if about.unit else "")


_WORDS = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}
_KINDS = (str, int, float, bool)


def _kind(hint: Any) -> tuple[Any, bool, bool]:
    """Return (type of one value, repeatable, optional) of a field's type."""
    arguments = typing.get_args(hint)
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        (inner,) = [one for one in arguments if one is not type(None)]
        kind, repeatable, _ = _kind(inner)
        return kind, repeatable, True
    if typing.get_origin(hint) is tuple:
        return arguments[0], True, False
    if typing.get_origin(hint) is Literal:
        return str, False, False
    if hint in _KINDS:
        return hint, False, False
    raise TypeError(f"an option is a str, int, float, bool or a tuple of them, not {hint!r}")
