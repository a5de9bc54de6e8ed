"""Sound to frequency-adaptive coefficients and back; companding; NumPy and SciPy only."""

from fadae.transform.adaptive import MODEL_FLOOR, FrequencyAdaptiveTransform
from fadae.transform.framing import Framing
from fadae.transform.presets import PRESETS, SEED_SCALE
from fadae.transform.scale import (
    BarkScale,
    FrequencyScale,
    GeometricScale,
    KnotScale,
    LinearScale,
    band_slices,
)

__all__ = [
    "MODEL_FLOOR",
    "PRESETS",
    "SEED_SCALE",
    "BarkScale",
    "Framing",
    "FrequencyAdaptiveTransform",
    "FrequencyScale",
    "GeometricScale",
    "KnotScale",
    "LinearScale",
    "band_slices",
]
