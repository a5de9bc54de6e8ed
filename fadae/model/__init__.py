"""Models: each file one that meets `contract.Model`; and the codec that makes one usable."""

from typing import TYPE_CHECKING

from fadae._lazy import lazily

if TYPE_CHECKING:
    from fadae.model.codec import FRAMES_AT_A_TIME, Codec, Codes, pass_through, prepared_from
    from fadae.model.companding import values_of
    from fadae.model.config import ModelConfig, gpus_of, resolve_device
    from fadae.model.contract import (
        PREPARED_FRAMES,
        ByteCoding,
        ClosedForm,
        Completes,
        FrameShape,
        Generates,
        Measures,
        Model,
        OwnLoss,
        Prepares,
        StoredCodes,
        model_class,
    )
    from fadae.model.pca import Pca, PcaOptions
else:
    __getattr__ = lazily(
        __name__,
        {
            "fadae.model.codec": [
                "Codec",
                "Codes",
                "FRAMES_AT_A_TIME",
                "pass_through",
                "prepared_from",
            ],
            "fadae.model.companding": ["values_of"],
            "fadae.model.config": ["ModelConfig", "gpus_of", "resolve_device"],
            "fadae.model.contract": [
                "ByteCoding",
                "ClosedForm",
                "Completes",
                "FrameShape",
                "Generates",
                "Measures",
                "Model",
                "OwnLoss",
                "PREPARED_FRAMES",
                "Prepares",
                "StoredCodes",
                "model_class",
            ],
            "fadae.model.pca": ["Pca", "PcaOptions"],
        },
    )

__all__ = [
    "FRAMES_AT_A_TIME",
    "PREPARED_FRAMES",
    "ByteCoding",
    "ClosedForm",
    "Codec",
    "Codes",
    "Completes",
    "FrameShape",
    "Generates",
    "Measures",
    "Model",
    "ModelConfig",
    "OwnLoss",
    "Pca",
    "PcaOptions",
    "Prepares",
    "StoredCodes",
    "gpus_of",
    "model_class",
    "pass_through",
    "prepared_from",
    "resolve_device",
    "values_of",
]
