"""Bytes as damage, haste and malice make them: what fuzz tests feed to whatever reads bytes."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

_NUMBERS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
_HEAD_BYTES = 512  # where most of what a reader believes stands


def mutated(chance: random.Random, data: bytes, others: Sequence[bytes] = ()) -> bytes:
    """Return data with one to eight edits, half of them in its head.

    others: texts of the same kind, pieces of which are put in.
    """
    changed = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 3, 5, 8))):
        end = len(changed) if chance.random() < 0.5 else min(len(changed), _HEAD_BYTES)
        at = chance.randrange(end + 1)
        length = chance.choice((1, 1, 2, 4, 4, 8, 27, 512, 5000))
        match chance.randrange(8):
            case 0:
                changed[at : at + 1] = bytes([chance.randrange(256)])
            case 1:
                changed[at : at + 1] = bytes(
                    byte ^ 1 << chance.randrange(8) for byte in changed[at : at + 1]
                )
            case 2:
                width = chance.choice((2, 4, 8))
                number = (chance.choice(_NUMBERS) & (1 << 8 * width) - 1).to_bytes(width, "big")
                changed[at : at + width] = number if chance.random() < 0.5 else number[::-1]
            case 3:
                del changed[at : at + length]
            case 4:
                changed[at:at] = changed[at : at + length] * chance.choice((1, 2, 50))
            case 5:
                changed[at:at] = chance.randbytes(length)
            case 6 if others:
                other = chance.choice(others)
                begin = chance.randrange(len(other) + 1)
                changed[at:at] = other[begin : begin + length]
            case _:
                if chance.random() < 0.3:
                    del changed[at:]
    return bytes(changed)


def mutated_json(chance: random.Random, value: Any) -> Any:
    """Return a JSON value in which one place holds something of another kind."""
    if isinstance(value, dict) and value and chance.random() < 0.8:
        key = chance.choice(list(value))
        if chance.random() < 0.2:
            return {name: inner for name, inner in value.items() if name != key}
        return {**value, key: mutated_json(chance, value[key])}
    if isinstance(value, list) and value and chance.random() < 0.8:
        at = chance.randrange(len(value))
        return [*value[:at], mutated_json(chance, value[at]), *value[at + 1 :]]
    return chance.choice(
        (
            None,
            True,
            -1,
            0,
            2**70,
            1.5,
            float("nan"),
            "",
            "x",
            "\ud800",
            "\0",
            [],
            [[]],
            {},
            {"a": 1},
        )
    )
