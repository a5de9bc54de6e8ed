"""Which class makes a transform: by the name of a preset, or by a stored configuration."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable

from fadae.errors import UsageError
from fadae.records import TransformConfig, canonical_json
from fadae.transform.adaptive import FrequencyAdaptiveTransform
from fadae.transform.critical import CriticalTransform
from fadae.transform.protocol import Transform

_KINDS: dict[str | None, Callable[[TransformConfig], Transform]] = {
    None: FrequencyAdaptiveTransform.from_config,
    "mdct": CriticalTransform.from_config,
}


def preset(name: str, sample_rate_hz: int = 11025) -> Transform:
    """Return the transform called `seed`, `zounds`, `full` or `critical`.

    `seed` and `zounds` are the 2017 experiment's, at 11025 Hz only; `full` hears everything at
    any rate; `critical` does so with as many coefficients as samples. Raises UsageError for
    another name, or a rate that the preset does not have.

    >>> preset("critical", 44100).size
    15000
    """
    if name == "critical":
        return CriticalTransform(sample_rate_hz)
    return FrequencyAdaptiveTransform.preset(name, sample_rate_hz)


def transform_from_config(config: TransformConfig) -> Transform:
    """Return the transform whose `config()` this is; equal ones share what they compute.

    Raises UsageError where it is not one, or of a kind that this version does not know.
    """
    try:
        return _made(canonical_json(config))
    except (TypeError, ValueError, AttributeError) as error:
        raise UsageError(f"not a transform's configuration: {error!r}") from error


@functools.lru_cache(maxsize=4)
def _made(text: str) -> Transform:
    config = json.loads(text)
    kind = config.get("kind")
    if kind not in _KINDS:
        known = ", ".join(repr(kind) for kind in _KINDS if kind)
        raise UsageError(
            f"unknown kind of transform {kind!r}; this version knows {known} and the "
            "frequency-adaptive transform, which has no kind."
        )
    return _KINDS[kind](config)
