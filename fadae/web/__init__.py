"""The listening room: a page to browse, see and hear a workspace; and blind tests of its runs."""

from typing import TYPE_CHECKING

from fadae._lazy import lazily

if TYPE_CHECKING:
    from fadae.web.blind import BlindTest
    from fadae.web.blind_app import serve_blind
    from fadae.web.blind_plan import BlindConfig
    from fadae.web.server import serve
else:
    __getattr__ = lazily(
        __name__,
        {
            "fadae.web.blind": ["BlindTest"],
            "fadae.web.blind_app": ["serve_blind"],
            "fadae.web.blind_plan": ["BlindConfig"],
            "fadae.web.server": ["serve"],
        },
    )

__all__ = ["BlindConfig", "BlindTest", "serve", "serve_blind"]
