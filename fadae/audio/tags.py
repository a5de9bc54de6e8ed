"""What a file of sound says of itself: where it comes from, by which run, under which licence.

Texts come from outside: they are put down as one printable line of bounded length.
"""

from __future__ import annotations

from dataclasses import dataclass

from fadae.records import one_line

_MOST_CHARACTERS = 1000


@dataclass(frozen=True, slots=True)
class Tags:
    """What is known of a sound; empty where nothing is."""

    title: str = ""
    creator: str = ""
    licence: str = ""  # its address or text, as the source gives it
    licence_id: str = ""  # as SPDX names it
    source: str = ""  # the recording's id, or several
    run: str = ""  # that made this sound of it
    model_sha256: str = ""

    @property
    def comment(self) -> str:
        """Return all of it that has no field of its own.

        >>> Tags(source="a/1.ogg", run="default", licence_id="CC0-1.0").comment
        'source: a/1.ogg; licence: CC0-1.0; run: default; made by fadae'
        """
        parts = {
            "source": self.source,
            "licence": self.licence_id or self.licence,
            "run": self.run,
            "model SHA-256": self.model_sha256,
        }
        told = [f"{name}: {_line(text)}" for name, text in parts.items() if text]
        return "; ".join([*told, "made by fadae"])

    def fields(self) -> dict[str, str]:
        """Return the fields that libsndfile knows; those that a format lacks it leaves out.

        WAV has none for a licence: there it is the copyright's.
        """
        licence = _line(self.licence)
        values = {
            "title": _line(self.title),
            "artist": _line(self.creator),
            "license": licence,
            "copyright": licence,
            "comment": self.comment,
        }
        return {name: text for name, text in values.items() if text}


def _line(text: str) -> str:
    """Return a text as one line of bounded length."""
    return one_line(text[: 4 * _MOST_CHARACTERS])[:_MOST_CHARACTERS]


def id3(tags: Tags) -> bytes:
    """Return an ID3v2.4 tag, UTF-8, to put before the frames of an MP3.

    libsndfile would write UTF-8 as Latin-1. Source: https://id3.org/id3v2.4.0-structure
    """
    frames = b""
    names = {"title": b"TIT2", "artist": b"TPE1", "copyright": b"TCOP"}
    for name, text in tags.fields().items():
        data = text.encode()
        if name in names:
            frames += _frame(names[name], b"\3" + data)
        elif name == "license":
            frames += _frame(b"TXXX", b"\3LICENSE\0" + data)
        else:
            frames += _frame(b"COMM", b"\3eng\0" + data)
    return b"ID3\4\0\0" + _synchsafe(len(frames)) + frames


def _frame(name: bytes, data: bytes) -> bytes:
    return name + _synchsafe(len(data)) + b"\0\0" + data


def _synchsafe(size: int) -> bytes:
    """Return a size in four bytes of seven bits each.

    >>> _synchsafe(257)
    b'\\x00\\x00\\x02\\x01'
    """
    return bytes((size >> shift) & 0x7F for shift in (21, 14, 7, 0))
