"""Markup for notebooks: tables, pictures and players that need no server and run no script.

All texts are escaped here and cut to a length, so that a title can neither be markup nor flood a
page.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from html import escape

from fadae.records import printable

MOST_ROWS = 20
_MOST_CHARACTERS = 200
_CELL = "text-align:left;vertical-align:top;padding:.2em .6em;overflow-wrap:break-word"


def text(value: object) -> str:
    """Return a value as escaped text of bounded length, "-" for nothing.

    >>> text("<script>"), text(None), text(0.125), text(1234567)
    ('&lt;script&gt;', '-', '0.12', '1,234,567')
    """
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.2f}"
    if isinstance(value, int):
        return f"{value:,}"
    line = printable(str(value))
    return escape(line if len(line) <= _MOST_CHARACTERS else line[: _MOST_CHARACTERS - 1] + "…")


def table(heads: Sequence[str], rows: Iterable[Sequence[object]], caption: str = "") -> str:
    """Return a table of values, a caption below it."""
    head = "".join(f'<th style="{_CELL}">{text(one)}</th>' for one in heads)
    body = "".join(
        "<tr>" + "".join(f'<td style="{_CELL}">{text(cell)}</td>' for cell in row) + "</tr>"
        for row in rows
    )
    below = f"<p>{text(caption)}</p>" if caption else ""
    return _scrolling(f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody>") + below


def fields(title: str, values: Mapping[str, object]) -> str:
    """Return names and values below a title."""
    body = "".join(
        f'<tr><th style="{_CELL}">{text(name)}</th><td style="{_CELL}">{text(value)}</td></tr>'
        for name, value in values.items()
    )
    return f"<p><strong>{text(title)}</strong></p>{_scrolling(f'<tbody>{body}</tbody>')}"


def _scrolling(rows: str) -> str:
    """Return a table, wide ones within a part of the page that scrolls."""
    return f'<div style="overflow-x:auto"><table>{rows}</table></div>'


def figure(png: bytes, caption: str) -> str:
    """Return a picture that the page itself holds, with its caption."""
    return (
        f'<figure style="margin:0"><img src="{_data_uri(png, "image/png")}" alt="{text(caption)}"'
        ' style="width:100%;max-width:48em;height:12em;image-rendering:pixelated">'
        f"<figcaption>{text(caption)}</figcaption></figure>"
    )


def player(sound: bytes, format: str, label: str) -> str:
    """Return a player of a sound that the page itself holds."""
    source = _data_uri(sound, f"audio/{format}")
    return f'<audio controls preload="none" aria-label="{text(label)}" src="{source}"></audio>'


def _data_uri(data: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"
