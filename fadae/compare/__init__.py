"""Rate and distortion of codes over recordings: runs, the packaged model, everyday codecs."""

from typing import TYPE_CHECKING

from fadae._lazy import lazily

if TYPE_CHECKING:
    from fadae.compare import result, table
    from fadae.compare.comparing import CompareConfig, compare
    from fadae.compare.result import CodeResult, Comparison, label
else:
    __getattr__ = lazily(
        __name__,
        {
            "fadae.compare": ["result", "table"],
            "fadae.compare.comparing": ["CompareConfig", "compare"],
            "fadae.compare.result": ["CodeResult", "Comparison", "label"],
        },
    )

__all__ = [
    "CodeResult",
    "CompareConfig",
    "Comparison",
    "compare",
    "label",
    "result",
    "table",
]
