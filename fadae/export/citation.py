"""How to cite what recordings were made of: CITATION.cff (version 1.2.0) or BibTeX.

One entry an item of the archive, or folder, with its creators and licence, written as it is read.
Names come from outside: they are quoted by the rules of YAML, and escaped by those of LaTeX.
"""

from __future__ import annotations

import itertools
import posixpath
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from urllib.parse import quote

import yaml

from fadae.arrays import Array
from fadae.data import key_of
from fadae.errors import unknown
from fadae.licences import UNKNOWN, shown, spdx
from fadae.records import one_line, sha256_hex
from fadae.store import PublishedRecordings, RecordingRow

STYLES = ("bibtex", "cff")
NOBODY = "Unknown"
_MOST_CREATORS = 20  # of an item, or of the whole
_WEB = re.compile(r"(https|http|ftp|sftp)://.+")
# Identifiers that version 1.2.0 of the format knows; there are ports and marks it does not.
_IN_SCHEMA = re.compile(r"CC0-1\.0|CC-BY(-NC)?(-ND|-SA)?-(1\.0|2\.0|2\.5|3\.0|4\.0)")
_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    **{sign: f"\\{sign}" for sign in "{}$&#_%"},
}


@dataclass(frozen=True, slots=True)
class Source:
    """An item that recordings came from."""

    item: str
    creators: tuple[str, ...]
    licences: tuple[str, ...]
    url: str  # of its folder; "" where it is no address of the web


def rows_of(published: PublishedRecordings, wanted: Array) -> Iterator[tuple[int, RecordingRow]]:
    """Yield (row, recording) of those rows of the table, rising, some read at a time."""
    chosen = set(wanted.tolist()) if len(wanted) < len(published) else None
    for row, columns in enumerate(published.every()):
        if chosen is None or row in chosen:
            yield row, columns


def sources_of(recordings: Iterable[RecordingRow]) -> Iterator[Source]:
    """Yield the items of some recordings, each once, as the first of its recordings tell of it.

    Memory: a number an item.
    """
    seen = set[int]()
    for item, group in itertools.groupby(recordings, lambda row: row.item):
        rows = list(itertools.islice(group, 1000))
        if (known := key_of(item)) in seen:
            continue
        seen.add(known)
        creators = _distinct(row.creator for row in rows)
        licences = _distinct(row.licence for row in rows)
        url = posixpath.dirname(rows[0].url)
        yield Source(item, creators, licences, url if _WEB.fullmatch(url) else "")


def _distinct(texts: Iterable[str]) -> tuple[str, ...]:
    found = dict.fromkeys(one_line(text) for text in texts)
    return tuple(itertools.islice((text for text in found if text), _MOST_CREATORS))


def cite(sources: Iterable[Source], style: str, title: str) -> Iterator[str]:
    """Yield the text of a citation in parts; raises UsageError for an unknown style."""
    if style not in STYLES:
        raise unknown("style", style, STYLES)
    return _cff(sources, title) if style == "cff" else map(_bibtex, sources)


def _cff(sources: Iterable[Source], title: str) -> Iterator[str]:
    drawn = iter(sources)
    first = list(itertools.islice(drawn, _MOST_CREATORS))
    creators = _distinct(name for source in first for name in source.creators)
    yield _yaml(
        {
            "cff-version": "1.2.0",
            "message": "If you use these data, please cite the recordings they are made of.",
            "title": one_line(title) or "Recordings",
            "type": "dataset",
            "authors": _authors(creators),
        }
    )
    if first:
        yield "references:\n"
    for source in itertools.chain(first, drawn):
        yield _yaml([_reference(source)])


def _authors(creators: tuple[str, ...]) -> list[dict[str, str]]:
    return [{"name": name} for name in creators or (NOBODY,)]


def _reference(source: Source) -> dict[str, object]:
    found: dict[str, object] = {
        "type": "sound-recording",
        "title": one_line(source.item) or NOBODY,
        "authors": _authors(source.creators),
    }
    if source.url:
        found["url"] = _quoted(source.url)
    told = source.licences or (UNKNOWN,)
    known = spdx(told[0]) if len(told) == 1 else None
    if known is not None and _IN_SCHEMA.fullmatch(known):
        found["license"] = known
    elif len(told) == 1 and _WEB.fullmatch(told[0]):
        found["license-url"] = _quoted(told[0])
    else:
        found["notes"] = f"Licence: {'; '.join(told)}"
    return found


def _yaml(value: object) -> str:
    return yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=100)


def _quoted(url: str) -> str:
    """Return an address with all that is no part of one as %XX.

    >>> _quoted("https://a.org/b c{d}%20\\\\")
    'https://a.org/b%20c%7Bd%7D%20%5C'
    """
    return quote(url, safe=":/?#[]@!$&'()*+,;=%~-._")


def _bibtex(source: Source) -> str:
    key = re.sub(r"[^A-Za-z0-9]", "", source.item)[:24] + sha256_hex(source.item)[:8]
    fields = {
        "title": f"{{{_latex(one_line(source.item) or NOBODY)}}}",
        "author": " and ".join(f"{{{_latex(name)}}}" for name in source.creators or (NOBODY,)),
    }
    if source.url:
        fields["howpublished"] = f"\\url{{{_quoted(source.url)}}}"
    fields["note"] = f"Licence: {_latex('; '.join(map(shown, source.licences)) or UNKNOWN)}"
    body = "".join(f"  {name} = {{{value}}},\n" for name, value in fields.items())
    return f"@misc{{{key},\n{body}}}\n"


def _latex(text: str) -> str:
    """Return a text that LaTeX sets as it is.

    >>> _latex("50% of {A}_b")
    '50\\\\% of \\\\{A\\\\}\\\\_b'
    """
    return "".join(_LATEX.get(sign, sign) for sign in text)
