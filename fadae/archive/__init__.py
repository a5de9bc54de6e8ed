"""Where recordings come from: the Internet Archive, folders and buckets, behind one protocol."""

from typing import TYPE_CHECKING

from fadae._lazy import lazily

if TYPE_CHECKING:
    from fadae.archive.client import CONTACT, ArchiveClient
    from fadae.archive.connection import Connection, check_status, retry
    from fadae.archive.folder import FolderSource
    from fadae.archive.items import ArchiveSource, collection_query, sources_of
    from fadae.archive.rate_limit import RequestPolicy
    from fadae.archive.source import Page, Slot, Source, plugged_in
    from fadae.archive.text import clean_text, clean_url
else:
    __getattr__ = lazily(
        __name__,
        {
            "fadae.archive.client": ["CONTACT", "ArchiveClient"],
            "fadae.archive.connection": ["Connection", "check_status", "retry"],
            "fadae.archive.rate_limit": ["RequestPolicy"],
            "fadae.archive.folder": ["FolderSource"],
            "fadae.archive.items": ["ArchiveSource", "collection_query", "sources_of"],
            "fadae.archive.source": ["Page", "Slot", "Source", "plugged_in"],
            "fadae.archive.text": ["clean_text", "clean_url"],
        },
    )

__all__ = [
    "CONTACT",
    "ArchiveClient",
    "ArchiveSource",
    "Connection",
    "FolderSource",
    "Page",
    "RequestPolicy",
    "Slot",
    "Source",
    "check_status",
    "clean_text",
    "clean_url",
    "collection_query",
    "plugged_in",
    "retry",
    "sources_of",
]
