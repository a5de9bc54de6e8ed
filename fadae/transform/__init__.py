"""Sound to frequency-adaptive coefficients and back; companding; NumPy and SciPy only."""

from typing import TYPE_CHECKING

from fadae._lazy import lazily

if TYPE_CHECKING:
    from fadae.transform.adaptive import MODEL_FLOOR, FrequencyAdaptiveTransform
    from fadae.transform.bark import bark_spectrogram_db
    from fadae.transform.companding import LOG_MU, MU, mu_law
    from fadae.transform.critical import CriticalTransform
    from fadae.transform.factory import preset, transform_from_config
    from fadae.transform.framing import Framing, vorbis_window
    from fadae.transform.half import to_float16
    from fadae.transform.presets import PRESETS, SEED_SCALE
    from fadae.transform.protocol import Transform
    from fadae.transform.scale import (
        BarkScale,
        FrequencyScale,
        GeometricScale,
        KnotScale,
        LinearScale,
        band_slices,
    )
else:
    __getattr__ = lazily(
        __name__,
        {
            "fadae.transform.adaptive": ["FrequencyAdaptiveTransform", "MODEL_FLOOR"],
            "fadae.transform.critical": ["CriticalTransform"],
            "fadae.transform.factory": ["preset", "transform_from_config"],
            "fadae.transform.protocol": ["Transform"],
            "fadae.transform.bark": ["bark_spectrogram_db"],
            "fadae.transform.companding": ["LOG_MU", "MU", "mu_law"],
            "fadae.transform.framing": ["Framing", "vorbis_window"],
            "fadae.transform.half": ["to_float16"],
            "fadae.transform.presets": ["PRESETS", "SEED_SCALE"],
            "fadae.transform.scale": [
                "BarkScale",
                "FrequencyScale",
                "GeometricScale",
                "KnotScale",
                "LinearScale",
                "band_slices",
            ],
        },
    )

__all__ = [
    "LOG_MU",
    "MODEL_FLOOR",
    "MU",
    "PRESETS",
    "SEED_SCALE",
    "BarkScale",
    "CriticalTransform",
    "Framing",
    "FrequencyAdaptiveTransform",
    "FrequencyScale",
    "GeometricScale",
    "KnotScale",
    "LinearScale",
    "Transform",
    "band_slices",
    "bark_spectrogram_db",
    "mu_law",
    "preset",
    "to_float16",
    "transform_from_config",
    "vorbis_window",
]
