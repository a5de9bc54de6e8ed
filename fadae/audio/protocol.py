"""What a decoder is asked and what it answers: values that parent and sandbox share.

A request is a datagram, REQUEST, and with it the descriptor of a file that is open for reading.
Replies are HEADER, then the payload. Their kinds: first W, the wall (JSON), once a child; then for
each request some P, PCM, and E, the end with what was found out (JSON), or F, a failure's reason
(text). T is the trace of an odd failure, before its F. B is a bug's traceback (text), the last.
"""

from __future__ import annotations

import dataclasses
import json
import socket
import struct
import sys
from dataclasses import dataclass, field
from typing import Self

REQUESTS = socket.SOCK_SEQPACKET if sys.platform == "linux" else socket.SOCK_STREAM
"""The kind of socket for requests; macOS has no datagrams that tell of their other side's end."""

REQUEST = struct.Struct("<I?")
"""The rate to decode to, in Hz, and whether to keep the head of what is damaged."""

HEADER = struct.Struct("<cI")
"""Before each reply of the sandbox's child: its kind and its payload's length."""

PAYLOAD_BYTES = 2**20
"""A reply's payload is never longer."""

TAG_CHARACTERS = 2_000

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

    @classmethod
    def from_json(cls, payload: bytes) -> Self:
        """Return what a child told of a file. Raises ValueError where no decoder of ours says that.

        >>> Source.from_json(b'{"rate_hz": 44100, "tags": {"title": "Air"}}').tags
        {'title': 'Air'}
        """
        try:
            told = cls(**json.loads(payload))
        except (TypeError, RecursionError) as error:
            raise ValueError(str(error)) from error
        numbers = (told.rate_hz, told.channels, told.samples)
        if not all(type(number) is int and 0 <= number < 2**63 for number in numbers):
            raise ValueError("no numbers")
        if not isinstance(told.tags, dict) or not told.tags.keys() <= set(TAGS):
            raise ValueError("other tags")
        texts = [*told.tags.values(), "" if told.damage is None else told.damage]
        if not all(isinstance(text, str) and len(text) <= TAG_CHARACTERS for text in texts):
            raise ValueError("no texts")
        "".join(texts).encode()  # half a surrogate pair is no text: UnicodeEncodeError
        return told

    def to_dict(self) -> dict[str, object]:
        """Return a JSON-able dict of the fields."""
        return dataclasses.asdict(self)


@dataclass(frozen=True, slots=True)
class Wall:
    """What holds a decoder in, and what this machine does not have for it.

    >>> str(Wall(("descriptors", "limits"), ("seccomp (only on Linux)",)))
    'descriptors, limits; no seccomp (only on Linux)'
    """

    holds: tuple[str, ...]
    lacks: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Return it in words."""
        return "; ".join([", ".join(self.holds), *(f"no {part}" for part in self.lacks)])
