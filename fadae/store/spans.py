"""Spans of an object, and what a server's answer holds of one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from fadae.errors import TransientFailure

_PASSED_BYTES = 2**16


@dataclass(frozen=True, slots=True)
class Span:
    """The bytes [start, stop) of an object, to its end without a stop; or its last `suffix`."""

    start: int = 0
    stop: int | None = None
    suffix: int | None = None

    @property
    def is_whole(self) -> bool:
        """Whether it is all of the object."""
        return self.start == 0 and self.stop is None and self.suffix is None

    @property
    def is_empty(self) -> bool:
        """Whether no request is needed."""
        return self.suffix == 0 or (self.stop is not None and self.stop <= self.start)

    @property
    def header(self) -> str:
        """The value of the header Range (RFC 9110, 14.1.2).

        >>> Span(5, 9).header, Span(5).header, Span(suffix=4).header
        ('bytes=5-8', 'bytes=5-', 'bytes=-4')
        """
        if self.suffix is not None:
            return f"bytes=-{self.suffix}"
        return f"bytes={self.start}-{'' if self.stop is None else self.stop - 1}"

    def answers(self, content_range: str | None) -> int | None:
        """Return how many bytes a Content-Range tells of; None where it is not of this span.

        >>> Span(5, 9).answers("bytes 5-8/20"), Span(suffix=4).answers("bytes 16-19/20")
        (4, 4)
        >>> Span(5, 9).answers("bytes 0-8/20"), Span(5, 9).answers(None)
        (None, None)
        """
        unit, _, rest = (content_range or "").strip().partition(" ")
        places, _, total = rest.partition("/")
        first, _, last = places.partition("-")
        if unit != "bytes" or not (first.isdecimal() and last.isdecimal()):
            return None
        low, high = int(first), int(last) + 1
        if self.suffix is not None:
            is_ours = total in ("*", str(high)) and high - low <= self.suffix
        else:
            is_ours = low == self.start and (self.stop is None or high <= self.stop)
        return high - low if is_ours and high > low else None


def at_most(most_bytes: int, chunks: Iterator[bytes], what: str) -> Iterator[bytes]:
    """Yield a body; raises TransientFailure where it goes on for longer than it may."""
    passed = 0
    for chunk in chunks:
        passed += len(chunk)
        if passed > most_bytes:
            raise TransientFailure(f"{what}: more than {most_bytes} bytes arrive")
        yield chunk


def part_of(chunks: Iterator[bytes], span: Span) -> bytes:
    """Return a span of a body; no more of it is kept, and nothing is read behind it.

    >>> part_of(iter([b"abcd", b"efgh"]), Span(3, 6)), part_of(iter([b"ab", b"c"]), Span(suffix=2))
    (b'def', b'bc')
    """
    kept, passed = bytearray(), 0
    for chunk in chunks:
        if span.suffix is not None:
            kept += chunk
            if len(kept) > span.suffix + _PASSED_BYTES:
                del kept[: len(kept) - span.suffix]
            continue
        stop = len(chunk) if span.stop is None else max(0, span.stop - passed)
        kept += chunk[max(0, span.start - passed) : stop]
        passed += len(chunk)
        if span.stop is not None and passed >= span.stop:
            break
    return bytes(kept[-span.suffix :] if span.suffix else kept)
