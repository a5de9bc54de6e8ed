"""Tombstones: what a workspace is to forget. One small object each, created exclusively.

tombstones/<kind>-<digest>.json         an id, an item, or a pattern of either; why, who, when
tombstones/<kind>-<digest>-erase.json   the same, its bytes to be removed

Nothing lifts one but removing it by hand. One that cannot be read stops whoever reads it: what is
to be forgotten cannot be told without it.
"""

from __future__ import annotations

import fnmatch
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Self

from fadae.errors import UsageError
from fadae.records import canonical_json, sha256_hex
from fadae.store.frames import DamagedError
from fadae.store.location import Location
from fadae.store.paths import TOMBSTONES, tombstone_path

ID, ITEM, PATTERN = "id", "item", "pattern"
KINDS = (ID, ITEM, PATTERN)
_SEAL = "sha256"  # in the document: of all but itself
_MOST_CHARACTERS = 4096
_MOST_BYTES = 2**16
_WILD = re.compile(r"[*?\[]")


@dataclass(frozen=True, slots=True)
class Tombstone:
    """What is to be forgotten, and why; `erase`: its bytes are to go too."""

    kind: str
    value: str
    reason: str
    by: str = ""
    time: str = ""  # ISO 8601, UTC
    erase: bool = False

    @classmethod
    def of(
        cls, target: str, reason: str, by: str = "", *, erase: bool = False, kind: str = ""
    ) -> Self:
        """Return the tombstone of a target as it is typed, of now; raises UsageError.

        >>> [Tombstone.of(text, "asked").kind for text in ("a/1.ogg", "a", "a/*", "b[12]")]
        ['id', 'item', 'pattern', 'pattern']
        """
        text = storable(target)
        for name, one in (("target", text), ("reason", reason)):
            if not one.strip() or len(one) > _MOST_CHARACTERS:
                raise UsageError(f"a {name} has 1 to {_MOST_CHARACTERS} characters: {one[:80]!r}")
        now = datetime.now(UTC).isoformat(timespec="seconds")
        return cls(kind or kind_of(text), text, storable(reason), storable(by), now, erase)

    @property
    def path(self) -> str:
        """Where it lies in the workspace."""
        return tombstone_path(self.kind, self.value, erase=self.erase)

    def to_bytes(self) -> bytes:
        """Return its document, sealed."""
        values = asdict(self)
        return canonical_json({**values, _SEAL: sha256_hex(canonical_json(values))}).encode()

    @classmethod
    def from_bytes(cls, data: bytes, path: str) -> Self:
        """Return the tombstone of a document; raises DamagedError where it is none of this path."""
        try:
            values = json.loads(data)
            seal = values.pop(_SEAL)
            made = cls(**values)
            texts = (made.kind, made.value, made.reason, made.by, made.time)
            sound = (
                len(data) <= _MOST_BYTES
                and all(type(text) is str for text in texts)
                and type(made.erase) is bool
                and made.kind in KINDS
                and len(made.value) <= _MOST_CHARACTERS
                and seal == sha256_hex(canonical_json(values))
                and made.path == path
            )
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise _damaged(path, repr(error)) from error
        if not sound:
            raise _damaged(path, "it is not what was written")
        return made


def _damaged(path: str, why: str) -> DamagedError:
    return DamagedError(
        f"{path} is damaged ({why[:200]}), so that what is to be forgotten cannot be told: restore "
        "it from a copy, or remove it and `fadae forget` the same again"
    )


def kind_of(target: str) -> str:
    """Return what a target as it is typed means: with * ? [ a pattern, with / an id."""
    if _WILD.search(target):
        return PATTERN
    return ID if "/" in target else ITEM


def storable(text: str) -> str:
    r"""Return a text as UTF-8 can hold it: a file name may be no text at all.

    >>> storable("caf\udce9.ogg")
    'caf\\udce9.ogg'
    """
    return text.encode("utf-8", "backslashreplace").decode()


class Tombstones:
    """Some tombstones, asked about recordings: by id, by item, or by a pattern of either."""

    def __init__(self, every: Iterable[Tombstone] = ()) -> None:
        """Take them in any order."""
        self.every = tuple(sorted(every, key=lambda one: one.path))

    def __len__(self) -> int:
        return len(self.every)

    @property
    def erasing(self) -> Tombstones:
        """Those whose bytes are to go."""
        return Tombstones(one for one in self.every if one.erase)

    def values(self, kind: str) -> list[str]:
        """Return what those of a kind are for."""
        return [one.value for one in self.every if one.kind == kind]

    def match(self, recording_id: str, item: str) -> bool:
        """Return whether a recording is to be forgotten.

        Patterns are the shell's: * stands for any text, a / too.

        >>> some = Tombstones(Tombstone.of(text, "asked") for text in ("a/1", "b", "*/*live*"))
        >>> [some.match(f"{i}/{f}", i) for i, f in (("a", "1"), ("a", "2"), ("b", "3"))]
        [True, False, True]
        >>> some.match("c/x (live).ogg", "c")
        True
        """
        if not self.every:
            return False
        text, item = storable(recording_id), storable(item)
        if text in self._ids or item in self._items:
            return True
        wild = self._pattern
        return wild is not None and bool(wild.match(text) or wild.match(item))

    @cached_property
    def _ids(self) -> frozenset[str]:
        return frozenset(self.values(ID))

    @cached_property
    def _items(self) -> frozenset[str]:
        return frozenset(self.values(ITEM))

    @cached_property
    def _pattern(self) -> re.Pattern[str] | None:
        wild = self.values(PATTERN)
        return re.compile("|".join(map(fnmatch.translate, wild))) if wild else None


def tombstone_names(location: Location) -> list[str]:
    """Return the names of the tombstones of a workspace: one listing."""
    return [name for name in location.names(TOMBSTONES) if name.endswith(".json")]


def read_tombstones(location: Location, names: Iterable[str] | None = None) -> Tombstones:
    """Return the tombstones of a workspace; raises DamagedError where one cannot be read."""
    found = tombstone_names(location) if names is None else list(names)
    return Tombstones(_read(location, found))


def _read(location: Location, names: list[str]) -> Iterator[Tombstone]:
    where = [f"{TOMBSTONES}/{name}" for name in names]
    for path, data in zip(where, location.read_many(where), strict=True):
        yield Tombstone.from_bytes(data, path)


def write_tombstones(location: Location, every: Iterable[Tombstone]) -> int:
    """Create those that are not there yet; return how many those were. The first one stands."""
    created = location.concurrently(
        lambda one: location.create_exclusive(one.path, one.to_bytes()), every
    )
    return sum(created)


def lines_of(text: str, reason: str) -> Tombstones:
    """Return what the lines of a list exclude: ids, items, patterns; # begins a remark.

    >>> len(lines_of("AOC11B  \\n\\n# a remark\\nx/*.ogg\\n", "excluded"))
    2
    """
    lines = (line.strip() for line in text.splitlines())
    return Tombstones(Tombstone.of(line, reason) for line in lines if line and line[0] != "#")
