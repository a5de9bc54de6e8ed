"""A workspace's rows as files that others load: shards, a data card, and how to cite them."""

from typing import TYPE_CHECKING

from fadae._lazy import lazily

if TYPE_CHECKING:
    from fadae.export.driver import citation_of, export
    from fadae.export.plan import Request
else:
    __getattr__ = lazily(
        __name__,
        {
            "fadae.export.driver": ["citation_of", "export"],
            "fadae.export.plan": ["Request"],
        },
    )

__all__ = ["Request", "citation_of", "export"]
