"""reconstructions/<run>.zarr: its layout with CF attributes, and what binds it to its inputs."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import cast

from fadae._version import __version__
from fadae.records import CodeSize, CodeSpec, ReconstructionAttrs, SideScores
from fadae.scores import ErrorSums
from fadae.store.features import NO_SAMPLE, PCM_SCALE, FeatureSet
from fadae.store.frames import FrameStore
from fadae.store.layout import ArraySpec, frame_array, recording_array

# Columns of `frame_sums`: what scores are pooled from. Companded features: sum x^2, sum (x-y)^2;
# audio against the transform's own synthesis: the same and sum x(x-y); the log-spectral distance.
SUMS = (
    "companded_reference",
    "companded_error",
    "audio_reference",
    "audio_error",
    "audio_correlation",
    "log_spectral_distance_db",
)
SIDES = ("held_out", "trained")  # of a run's split: sums are kept of either beside those of all
HOPS = "hops"  # beside the sums in the totals: how many hops they were taken of
# Beside them too, where codes vary in length: their bytes, and how many frames they are of.
CODE_BYTES, CODED_FRAMES = "code_bytes", "coded_frames"
SCORES = {
    "nmse_db": "normalised mean squared error of the companded features",
    "snr_db": "signal-to-noise ratio of the audio",
    "si_sdr_db": "scale-invariant signal-to-distortion ratio of the audio",
    "log_spectral_distance_db": "log-spectral distance of the audio, mean over its hops",
}
# What a row's code is made of, by what it is called where it is handed on; the last two where a
# model has them.
CODE_ARRAYS: Mapping[str, str] = {"codes": "encoded", "scale": "scale", "code_bytes": CODE_BYTES}
PREPARED = "recording_prepared"  # an array there only where the model `Prepares`
_IDENTITY = ("id", "pcm_sha256", "frame_start", "frame_count", "samples")


def reconstruction_specs(
    features: FeatureSet, code: CodeSpec, prepares: bool = False
) -> list[ArraySpec]:
    """Return the arrays of a run's store, on the frame axis of the features.

    `prepares`: whether each recording has a number that its frames are encoded with.
    """
    nan = float("nan")
    audio = {
        "units": "1",
        "long_name": "samples of the frame's hop, synthesised from its code",
        "scale_factor": PCM_SCALE,
        "_FillValue": NO_SAMPLE,
    }
    encoded = {"units": "1", "long_name": code.meaning}
    scale = {"units": "1", "long_name": "greatest companded magnitude of the frame"}
    lengths = {"units": "byte", "long_name": "bytes of the frame's code that count"}
    prepared = {"units": "1", "long_name": "what the recording's frames are encoded with"}
    decoded = {"units": "1", "long_name": "coefficients decoded from the code"}
    sums = {"units": "1", "long_name": "sums that scores are pooled from", "columns": list(SUMS)}
    names = {"units": "1", "long_name": "recording, item/file"}
    transform, dtype = features.transform, features.attrs["dtype"]
    return [
        frame_array("audio", {"sample": transform.hop_samples}, "int16", NO_SAMPLE, audio),
        frame_array("encoded", {"code": code.size}, code.dtype, code.fill, encoded),
        frame_array("features", {"coefficient": transform.size}, dtype, nan, decoded),
        frame_array("frame_sums", {"sum": len(SUMS)}, "float64", nan, sums),
        *([frame_array("scale", {}, "float32", nan, scale)] if code.carries_scale else []),
        *([frame_array("code_bytes", {}, "int32", 0, lengths)] if code.variable else []),
        recording_array("recording_id", "str", "", names),
        *([recording_array(PREPARED, "float64", nan, prepared)] if prepares else []),
        *(
            recording_array(f"recording_{name}", "float64", nan, {"units": "dB", "long_name": what})
            for name, what in SCORES.items()
        ),
    ]


def reconstruction_attrs(features: FeatureSet, run: str, model_sha256: str) -> ReconstructionAttrs:
    """Return the attributes of a new store: conventions, provenance, what it is bound to."""
    return {
        "Conventions": "CF-1.11",
        "title": "Codes and reconstructions of recordings",
        "source": f"fadae {__version__}",
        "fadae_version": __version__,
        "run": run,
        "model_sha256": model_sha256,
        "features_sha256": features_sha256(features, 0),
        "totals": dict.fromkeys((*SUMS, HOPS), 0.0),
        "side_totals": {side: dict.fromkeys(SUMS, 0.0) for side in SIDES},
    }


def attrs_of(store: FrameStore) -> ReconstructionAttrs:
    """Return the attributes of a run's store."""
    return cast(ReconstructionAttrs, store.attrs)


def code_size(store: FrameStore, hop_seconds: float) -> CodeSize | None:
    """Return what the codes of a run's store take; None where their length varies unrecorded."""
    if CODE_BYTES not in store.names:
        encoded = store.array("encoded")
        return CodeSize.of(float(encoded.shape[1] * encoded.dtype.itemsize), hop_seconds)
    totals = attrs_of(store)["totals"]
    frames = totals.get(CODED_FRAMES, 0)
    return CodeSize.of(totals[CODE_BYTES] / frames, hop_seconds) if frames else None


def side_scores(attrs: ReconstructionAttrs) -> SideScores:
    """Return NMSE and SNR in dB pooled over the frames held out, and over those trained on.

    NaN where there are none, or where a store was begun before they were kept.
    """
    totals = attrs.get("side_totals", {})
    held_out, trained = (totals.get(side, dict.fromkeys(SUMS, 0.0)) for side in SIDES)
    return {
        "held_out_nmse_db": _nmse_db(held_out),
        "held_out_audio_snr_db": _audio_snr_db(held_out),
        "trained_nmse_db": _nmse_db(trained),
        "trained_audio_snr_db": _audio_snr_db(trained),
    }


def _nmse_db(sums: Mapping[str, float]) -> float:
    return ErrorSums(sums["companded_reference"], sums["companded_error"]).nmse_db


def _audio_snr_db(sums: Mapping[str, float]) -> float:
    return ErrorSums(sums["audio_reference"], sums["audio_error"]).snr_db


def features_sha256(features: FeatureSet, recordings: int) -> str:
    """Return a hash of what the first recordings of the table are and where their rows lie."""
    digest = hashlib.sha256(features.transform.config_sha256.encode())
    for name in _IDENTITY:
        values = features.recordings.column(name)[:recordings].tolist()
        digest.update("\0".join(map(str, [name, *values])).encode())
    return digest.hexdigest()
