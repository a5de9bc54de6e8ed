"""What a decoder is asked and what it answers: values that parent and sandbox share."""

from __future__ import annotations

import dataclasses
import struct
from dataclasses import dataclass, field
from typing import Any

HEADER = struct.Struct("<cI")
"""Before each reply of the sandbox's child: its kind and its payload's length."""


TAGS = ("title", "artist", "album", "date", "copyright", "license")
"""FFmpeg's names of the tags that are looked at, whatever the format calls them."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a recording may cost; beyond it is quarantined with a reason."""

    decoded_seconds: float = 4 * 3600.0
    channels: int = 32
    source_rate_hz: int = 384_000
    file_bytes: int = 4 << 30
    wall_seconds: float = 1800.0
    """For one recording in the sandbox, whatever its length."""
    stall_seconds: float = 120.0
    """Without any PCM from the sandbox."""
    memory_bytes: int = 384 << 20
    """Of the sandbox, above what it needs to start."""


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

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able dict of the fields."""
        return dataclasses.asdict(self)
