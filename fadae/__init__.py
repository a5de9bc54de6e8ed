"""fadae learns a compressed code for music, at any scale.

Names are loaded on first use, so that `import fadae` stays light: torch is only imported by what
trains or runs a model.
"""

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fadae.model.codec import Codec, Codes
    from fadae.nouns import CodeSpec
    from fadae.query.workspace import Workspace, open
    from fadae.transform import FrequencyAdaptiveTransform

try:
    __version__ = version("fadae")
except PackageNotFoundError:  # a checkout on the path that nobody installed
    __version__ = "0+unknown"

_HOME = {
    "FrequencyAdaptiveTransform": "fadae.transform",
    "Workspace": "fadae.query.workspace",
    "open": "fadae.query.workspace",
    "Codec": "fadae.model.codec",
    "Codes": "fadae.model.codec",
    "CodeSpec": "fadae.nouns",
}
__all__ = [
    "CodeSpec",
    "Codec",
    "Codes",
    "FrequencyAdaptiveTransform",
    "Workspace",
    "__version__",
    "open",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'fadae' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)
