"""index.json: the names that a reader behind a web server cannot list, at the workspace's root.

Whoever ends a stage, a comparison, a repair or a pruning writes it anew if names came or went.
Recordings and features need no entry: features.zarr's own root names all of them.
"""

from __future__ import annotations

from fadae.records import canonical_json
from fadae.store.location import Location
from fadae.store.paths import LISTED, LISTING


def publish_listing(location: Location) -> None:
    """Write index.json unless it says already what there is.

    It is compared and swapped: of two writers the later one has listed after the other wrote.
    """

    def listing(stored: bytes | None) -> bytes:
        names = dict(zip(LISTED, location.concurrently(location.names, LISTED), strict=True))
        return canonical_json({"names": names, "version": 1}).encode("utf-8", "replace")

    location.change(LISTING, listing)
