"""Texts from outside made harmless: one line, printable, of bounded length."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from urllib.parse import urlsplit

TITLE_CHARACTERS = 300
_HIDDEN = {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}
_KEPT = {"\u200c", "\u200d"}  # joiners: scripts and emoji need them


def clean_text(value: object, limit: int = TITLE_CHARACTERS) -> str:
    """Return a title or name as one line without control, bidirectional or surrogate characters.

    Whitespace runs become one space; longer texts end in an ellipsis. Anything but text and
    numbers becomes the empty text.

    >>> clean_text("Minuet\\x1b[31m in\\r\\n G\\u202e")
    'Minuet [31m in G'
    """
    if not isinstance(value, str | int | float):
        return ""
    text = str(value)[: 8 * limit]
    text = "".join(" " if _is_hidden(character) else character for character in text)
    text = " ".join(unicodedata.normalize("NFC", text).split())
    return text if len(text) <= limit else text[: limit - 1].rstrip() + "…"


def clean_list(value: object, limit: int = TITLE_CHARACTERS) -> str:
    """Return a text, or a list of them, as one line: metadata has either.

    >>> clean_list(["Bach, J. S.", "", "Anna Magdalena"])
    'Bach, J. S.; Anna Magdalena'
    """
    values: Iterable[object] = value[:100] if isinstance(value, list) else [value]
    return clean_text("; ".join(filter(None, (clean_text(one, limit) for one in values))), limit)


def clean_url(value: object) -> str:
    """Return a web address, or the empty text for anything else (a script, a relative path).

    >>> clean_url("https://creativecommons.org/publicdomain/mark/1.0/")
    'https://creativecommons.org/publicdomain/mark/1.0/'
    >>> clean_url("javascript:alert(1)")
    ''
    """
    text = clean_text(value, limit=2000)
    try:
        parts = urlsplit(text)
    except ValueError:
        return ""
    is_web = parts.scheme in ("http", "https") and parts.netloc and " " not in text
    return text if is_web else ""


def is_valid_name(name: str) -> bool:
    """Return whether a file's name can be written down in UTF-8 and asked for.

    >>> is_valid_name("disc 1/ü#?.ogg"), is_valid_name("half a \\ud800 pair")
    (True, False)
    """
    try:
        encoded = name.encode()
    except UnicodeEncodeError:
        return False
    return 0 < len(encoded) <= 4096 and "\0" not in name


def _is_hidden(character: str) -> bool:
    return unicodedata.category(character) in _HIDDEN and character not in _KEPT
