"""Licences as sources write them, as SPDX names them, and as a policy admits them.

What a text does not say stays unknown: nothing is guessed. Licences that SPDX has no identifier
for get one of its form LicenseRef-. Source: https://spdx.org/licenses/
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Self

from fadae.errors import UsageError

UNKNOWN = "unknown"
_CC = ("by", "by-sa", "by-nd", "by-nc", "by-nc-sa", "by-nc-nd")
FAMILIES = ("cc0", "pd", *_CC, UNKNOWN)
_VERSIONS = ("1.0", "2.0", "2.1", "2.5", "3.0", "4.0")
# The ports of Creative Commons' licences that SPDX lists; others are LicenseRef-.
_PORTS = {
    "BY-2.5": {"AU"},
    "BY-3.0": {"AT", "AU", "DE", "IGO", "NL", "US"},
    "BY-NC-3.0": {"DE"},
    "BY-NC-ND-3.0": {"DE", "IGO"},
    "BY-NC-SA-2.0": {"DE", "FR", "UK"},
    "BY-NC-SA-3.0": {"DE", "IGO"},
    "BY-ND-3.0": {"DE"},
    "BY-SA-2.0": {"UK"},
    "BY-SA-2.1": {"JP"},
    "BY-SA-3.0": {"AT", "DE", "IGO"},
}
_URL = re.compile(
    r"(?<![\w./-])(?:https?://)?(?:www\.)?creativecommons\.org/(licenses|publicdomain)/([a-z+-]+)"
    r"(?:/(\d\.\d))?(?:/([a-z]{2,3}))?(?=/|[.,;)>\]\"']*(?:\s|$))"
)
# The whole of a text, when what only says that it is a licence is gone.
_FILLING = re.compile(
    r"\b(licensed|released|available|under|the|a|an|this|work|is|license|licence|international|"
    r"unported|generic|universal|creative commons|dedication|deed)\b|[()\[\].,;:]+(?!\d)"
)
_SHORT = re.compile(r"(?:cc[ -]?)?(by(?:[ -](?:sa|nd|nc))*)(?:[ -]v?(\d\.\d))?")
_WORDS = {"attribution": "by", "sharealike": "sa", "noncommercial": "nc", "noderivatives": "nd"}
_WORDS |= {"share alike": "sa", "non commercial": "nc", "noderivs": "nd", "no derivatives": "nd"}
_PLAIN = {
    "cc0": "CC0-1.0",
    "cc zero": "CC0-1.0",
    "cc0 1.0": "CC0-1.0",
    "cc0-1.0": "CC0-1.0",
    "public domain": "LicenseRef-Public-Domain",
    "public domain mark": "CC-PDM-1.0",
    "public domain mark 1.0": "CC-PDM-1.0",
    "cc-pdm-1.0": "CC-PDM-1.0",
    "cc-pddc": "CC-PDDC",
}


@lru_cache(maxsize=4096)
def spdx(text: str) -> str | None:
    """Return the SPDX identifier of a licence, by its URL or its name; None where it is unknown.

    >>> spdx("http://creativecommons.org/licenses/by-nc-sa/3.0/us/")
    'LicenseRef-CC-BY-NC-SA-3.0-US'
    >>> spdx("https://creativecommons.org/publicdomain/mark/1.0/"), spdx("CC BY-SA 4.0")
    ('CC-PDM-1.0', 'CC-BY-SA-4.0')
    >>> spdx("Attribution-NonCommercial 3.0 Unported"), spdx("CC BY")
    ('CC-BY-NC-3.0', 'LicenseRef-CC-BY')
    >>> spdx("(c) 1999, all rights reserved"), spdx("")
    (None, None)
    """
    folded = " ".join(text[:4096].casefold().split())
    found = {_of_url(*one.groups()) for one in _URL.finditer(folded)}
    if found:
        return found.pop() if len(found) == 1 else None
    return _of_words(folded)


def _of_url(kind: str, name: str, version: str | None, port: str | None) -> str | None:
    if kind == "publicdomain":
        return {"zero": "CC0-1.0", "mark": "CC-PDM-1.0"}.get(name)
    if name == "publicdomain":
        return "CC-PDDC"
    return _cc(name.split("-"), version, port)


def _of_words(folded: str) -> str | None:
    if folded in _PLAIN:
        return _PLAIN[folded]
    if short := _SHORT.fullmatch(folded):
        return _cc(re.split("[ -]", short[1]), short[2], None)
    # "Attribution 4.0 International (CC BY 4.0)" says the same twice.
    names = {_of_name(part) for part in re.split(r"[()]", folded) if part.strip()}
    return names.pop() if len(names) == 1 else None


def _of_name(part: str) -> str | None:
    text = " ".join(_FILLING.sub(" ", part).split())
    for word, short in _WORDS.items():
        text = re.sub(rf"\b{word}\b", short, text)
    text = text.strip(" -")
    if text in _PLAIN:
        return _PLAIN[text]
    short_form = _SHORT.fullmatch(text)
    return _cc(re.split("[ -]", short_form[1]), short_form[2], None) if short_form else None


def _cc(parts: Iterable[str], version: str | None, port: str | None) -> str | None:
    """Return the identifier of a licence of Creative Commons by its parts, in any order."""
    rest = set(parts)
    if "by" not in rest:
        return None
    name = "-".join(["by", *(one for one in ("nc", "nd", "sa") if one in rest)])
    if name not in _CC or len(rest) != name.count("-") + 1:
        return None
    if version is None:
        return f"LicenseRef-CC-{name.upper()}"
    if version not in _VERSIONS:
        return None
    if not port:
        return f"CC-{name.upper()}-{version}"
    base, port = f"{name}-{version}".upper(), port.upper()
    listed = port in _PORTS.get(base, ())
    return f"CC-{base}-{port}" if listed else f"LicenseRef-CC-{base}-{port}"


def spdx_or_unknown(text: str) -> str:
    """Return the SPDX identifier of a licence, or `unknown`.

    >>> spdx_or_unknown("CC BY 4.0"), spdx_or_unknown("ask me")
    ('CC-BY-4.0', 'unknown')
    """
    return spdx(text) or UNKNOWN


def family(identifier: str | None) -> str:
    """Return what a policy calls a licence: one of FAMILIES.

    >>> family("CC-BY-SA-3.0"), family("CC-PDM-1.0"), family(None)
    ('by-sa', 'pd', 'unknown')
    """
    if identifier is None:
        return UNKNOWN
    if identifier.startswith("CC0"):
        return "cc0"
    if identifier.startswith(("CC-PD", "LicenseRef-Public-Domain")):
        return "pd"
    found = re.match(r"(?:licenseref-)?cc-(by(?:-(?:nc|nd|sa))*)", identifier.casefold())
    return found[1] if found else UNKNOWN


@dataclass(frozen=True, slots=True)
class LicencePolicy:
    """Which licences are admitted: families, identifiers of SPDX, and `unknown` ones or not."""

    admitted: tuple[str, ...]

    @classmethod
    def of(cls, text: str) -> Self:
        """Return the policy that a text says, as cc0,by,by-sa,pd; raises UsageError.

        >>> LicencePolicy.of("by, CC0 , CC-BY-NC-4.0").admitted
        ('CC-BY-NC-4.0', 'by', 'cc0')
        >>> LicencePolicy.of("free")
        Traceback (most recent call last):
        fadae.errors.UsageError: --licence free: one or more of cc0, pd, by, by-sa, by-nd, by-nc,
        by-nc-sa, by-nc-nd, unknown, or identifiers of SPDX such as CC-BY-4.0, with commas between
        """
        parts = [part.strip() for part in text.split(",") if part.strip()]
        admitted = []
        for part in parts:
            exact = spdx(part)
            if part.casefold() in FAMILIES:
                admitted.append(part.casefold())
            elif exact is not None and exact.casefold() == part.casefold():
                admitted.append(exact)
            else:
                admitted.clear()
                break
        if not admitted:
            raise UsageError(
                f"--licence {text[:80]}: one or more of {', '.join(FAMILIES)}, or identifiers of "
                "SPDX such as CC-BY-4.0, with commas between"
            )
        return cls(tuple(sorted(set(admitted))))

    def __str__(self) -> str:
        return ",".join(self.admitted)

    def admits(self, licence: str) -> bool:
        """Return whether a licence as a source writes it is admitted.

        >>> policy = LicencePolicy.of("by,unknown")
        >>> [policy.admits(text) for text in ("CC BY 3.0", "CC BY-NC 3.0", "mine", "")]
        [True, False, True, True]
        """
        identifier = spdx(licence)
        return family(identifier) in self.admitted or identifier in self.admitted


def shown(licence: str) -> str:
    """Return a licence as people read it: its identifier, else `unknown` and what was written.

    >>> shown("CC BY 4.0"), shown("ask me"), shown("")
    ('CC-BY-4.0', "unknown ('ask me')", 'unknown')
    """
    told = f" ({licence[:80]!r})" if licence.strip() else ""
    return spdx(licence) or f"{UNKNOWN}{told}"
