"""What a decoder is asked and what it answers: values that parent and sandbox share."""

from __future__ import annotations

import dataclasses
import struct
from dataclasses import dataclass, field

HEADER = struct.Struct("<cI")
"""Before each reply of the sandbox's child: its kind and its payload's length."""


TAGS = ("title", "artist", "album", "date", "copyright", "license")
"""FFmpeg's names of the tags that are looked at, whatever the format calls them."""


@dataclass(slots=True)
class Source:
    """What the decoder found out about the file; complete when its blocks are exhausted."""

    rate_hz: int = 0
    channels: int = 0
    samples: int = 0
    """Decoded, at the source's rate."""
    damage: str | None = None
    """Where and why decoding stopped before the file's end, when asked to keep the head."""

    tags: dict[str, str] = field(default_factory=dict)
    """What the file says of itself under TAGS: hostile text of bounded length, not cleaned."""

    def to_dict(self) -> dict[str, object]:
        """Return a JSON-able dict of the fields."""
        return dataclasses.asdict(self)
