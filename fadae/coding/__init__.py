"""Byte codes: quantised coefficients, their learned probabilities, and an entropy coder."""

from typing import TYPE_CHECKING

from fadae._lazy import lazily

if TYPE_CHECKING:
    from fadae.coding.coder import ByteCoder, pack, unpack
    from fadae.coding.container import Rate
    from fadae.coding.entropy import EntropyModel, Network
    from fadae.coding.files import (
        Decoder,
        compress,
        decompress,
        encode_file,
        from_bytes,
        identify,
        packaged,
        to_bytes,
    )
    from fadae.coding.rate import LEAST_BYTES, MOST_BYTES, Step, encode_constant, find_step
    from fadae.coding.tables import Statistics, Tables, tables_of
else:
    __getattr__ = lazily(
        __name__,
        {
            "fadae.coding.coder": ["ByteCoder", "pack", "unpack"],
            "fadae.coding.container": ["Rate"],
            "fadae.coding.entropy": ["EntropyModel", "Network"],
            "fadae.coding.files": [
                "Decoder",
                "compress",
                "decompress",
                "encode_file",
                "from_bytes",
                "identify",
                "packaged",
                "to_bytes",
            ],
            "fadae.coding.rate": [
                "LEAST_BYTES",
                "MOST_BYTES",
                "Step",
                "encode_constant",
                "find_step",
            ],
            "fadae.coding.tables": ["Statistics", "Tables", "tables_of"],
        },
    )

__all__ = [
    "LEAST_BYTES",
    "MOST_BYTES",
    "ByteCoder",
    "Decoder",
    "EntropyModel",
    "Network",
    "Rate",
    "Statistics",
    "Step",
    "Tables",
    "compress",
    "decompress",
    "encode_constant",
    "encode_file",
    "find_step",
    "from_bytes",
    "identify",
    "pack",
    "packaged",
    "tables_of",
    "to_bytes",
    "unpack",
]
