"""fadae learns a compressed code for music, at any scale.

Names are loaded on first use, so that `import fadae` stays light: torch is only imported by what
trains or runs a model.
"""

from typing import TYPE_CHECKING

from fadae._lazy import lazily
from fadae._version import __version__

if TYPE_CHECKING:
    from fadae.model import Codec, Codes
    from fadae.query import Workspace, open
    from fadae.records import CodeSpec
    from fadae.transform import FrequencyAdaptiveTransform
else:
    __getattr__ = lazily(
        __name__,
        {
            "fadae.model": ["Codec", "Codes"],
            "fadae.query": ["Workspace", "open"],
            "fadae.records": ["CodeSpec"],
            "fadae.transform": ["FrequencyAdaptiveTransform"],
        },
    )

__all__ = [
    "CodeSpec",
    "Codec",
    "Codes",
    "FrequencyAdaptiveTransform",
    "Workspace",
    "__version__",
    "open",
]
