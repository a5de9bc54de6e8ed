"""The embedded archive's search: a scrape API with cursors, over a little of the query language."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from typing import Any

from fadae.embedded.holdings import HeldItem

FEWEST, MOST = 100, 10_000


class QueryError(ValueError):
    """A search that the archive answers with {"error": ...}."""


def scrape(items: Sequence[HeldItem], asked: Mapping[str, str]) -> dict[str, Any]:
    """Return a page of the items that a query finds, as /services/search/v1/scrape answers.

    asked: q, and optionally count, cursor, fields, sorts, total_only. Raises QueryError.
    """
    if not asked.get("q", "").strip():
        raise QueryError("[EMPTY_QUERY] a query is required")
    count = _count(asked.get("count", str(FEWEST)))
    if asked.get("sorts") and asked["sorts"].split(",")[-1].split()[0] != "identifier":
        raise QueryError("[SORT] identifier must be the last sort field")
    found = sorted(item.identifier for item in items if _matches(item, asked["q"]))
    if asked.get("total_only") == "true":
        return {"items": [], "count": 0, "total": len(found)}
    rest = [name for name in found if name > _after(asked.get("cursor", ""))]
    page = rest[:count]
    answer: dict[str, Any] = {
        "items": [{"identifier": name} for name in page], "count": len(page), "total": len(found),
    }  # fmt: skip
    if len(rest) > count:
        answer["cursor"] = base64.urlsafe_b64encode(page[-1].encode()).decode()
    return answer


def _count(text: str) -> int:
    if not text.isdecimal() or not FEWEST <= int(text) <= MOST:
        raise QueryError(f"[RANGE_OUT_OF_BOUNDS] count must be within {FEWEST}-{MOST}")
    return int(text)


def _after(cursor: str) -> str:
    try:
        return base64.b64decode(cursor, b"-_", validate=True).decode()
    except (binascii.Error, ValueError) as error:
        raise QueryError("[CURSOR] not a cursor of this search") from error


def _matches(item: HeldItem, query: str) -> bool:
    """Return whether an item meets all clauses of a query: field:value, or words of any field."""
    if query.count('"') % 2 or query.count("(") != query.count(")"):
        raise QueryError("[PARSE] unbalanced quotes or parentheses")
    about = {"identifier": item.identifier, "mediatype": "audio", **item.metadata}
    return all(_meets(about, clause.strip()) for clause in query.split(" AND "))


def _meets(about: Mapping[str, Any], clause: str) -> bool:
    field, colon, value = clause.partition(":")
    if colon and value == "*":
        return field == "*" or field in about
    if colon:
        values = about.get(field, [])
        return value.strip('"()') in (values if isinstance(values, list) else [values])
    return clause.strip('"()').casefold() in str(list(about.values())).casefold()
