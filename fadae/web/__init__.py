"""The listening room: a page to browse, see and hear a workspace. Read-only."""

from fadae.web.server import serve

__all__ = ["serve"]
