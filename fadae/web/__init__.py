"""The listening room: a page to browse, see and hear a workspace. Read-only."""

from typing import TYPE_CHECKING

from fadae._lazy import lazily

if TYPE_CHECKING:
    from fadae.web.server import serve
else:
    __getattr__ = lazily(
        __name__,
        {
            "fadae.web.server": ["serve"],
        },
    )

__all__ = ["serve"]
