"""An archive inside the package: a small archive.org on loopback, and Bach for it to hold."""

from typing import TYPE_CHECKING

from fadae._lazy import lazily

if TYPE_CHECKING:
    from fadae.embedded.bach import IDENTIFIER, bach_item
    from fadae.embedded.server import EmbeddedArchive
else:
    __getattr__ = lazily(
        __name__,
        {
            "fadae.embedded.bach": ["IDENTIFIER", "bach_item"],
            "fadae.embedded.server": ["EmbeddedArchive"],
        },
    )

__all__ = ["IDENTIFIER", "EmbeddedArchive", "bach_item"]
