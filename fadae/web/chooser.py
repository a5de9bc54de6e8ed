"""Several workspaces on one server: each under a path of its own, and a page that leads to them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from html import escape

_TAKEN = frozenset({"api", "metrics", "static"})

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Listening rooms</title>
<link rel="icon" href="static/icon.svg" type="image/svg+xml">
<link rel="stylesheet" href="static/base.css">
</head>
<body>
<main>
<h1>Listening rooms</h1>
<ul>
{items}
</ul>
</main>
</body>
</html>
"""


def shown_name(url: str) -> str:
    """Return what a workspace is called: the last part of its URL.

    >>> shown_name("s3://bucket/bach organ/")
    'bach organ'
    """
    return url.rstrip("/").rpartition("/")[2] or url


def rooms_of(urls: Iterable[str]) -> dict[str, str]:
    """Return workspaces by the names that they have in addresses: safe there, and each once.

    >>> rooms_of(["/a/bach", "s3://b/bach/", "<script>", "/api"])
    {'bach': '/a/bach', 'bach-2': 's3://b/bach/', 'script': '<script>', 'api-2': '/api'}
    """
    rooms: dict[str, str] = {}
    for url in urls:
        base = re.sub(r"[^A-Za-z0-9._-]+", "-", shown_name(url))[:60].strip("-.") or "workspace"
        name, number = base, 1
        while name in rooms or name in _TAKEN:
            number += 1
            name = f"{base}-{number}"
        rooms[name] = url
    return rooms


def page(names: Mapping[str, str]) -> str:
    """Return the page that leads to the rooms: `names` are what they are called, by path."""
    items = (f'<li><a href="{path}/">{escape(name)}</a></li>' for path, name in names.items())
    return _PAGE.format(items="\n".join(items))
