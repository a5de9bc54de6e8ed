"""`fadae compare`: the same excerpts through every code, by its bytes and by its errors."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fadae._version import __version__
from fadae.arrays import Float32, Int16
from fadae.audio import from_pcm
from fadae.coding import EntropyModel, packaged
from fadae.compare import excerpts, result
from fadae.compare.excerpts import LONGEST_SECONDS, Candidate, Excerpt
from fadae.compare.perceptual import ensure_visqol, visqol_mos
from fadae.compare.result import (
    MEASURES,
    PACKAGED,
    CodeResult,
    Compared,
    Comparison,
    LeftOut,
    Measured,
)
from fadae.errors import NoInputError, PermanentFailure, UsageError
from fadae.progress import track
from fadae.query import Workspace
from fadae.scores import ErrorSums, log_spectral_distance_db, multi_resolution_stft_distance
from fadae.store import Location, publish_listing
from fadae.training import Role, trained_runs

if TYPE_CHECKING:
    from fadae.compare.codes import Code, Passed

CODE_BYTES = (128, 256, 512)
RATE_HZ = 11025  # where no workspace says
_MOST_LEFT_OUT = 1000


@dataclass(frozen=True)
class CompareConfig:
    """What is compared, and over what."""

    runs: tuple[str, ...] = ()  # all that have a model, where none is named
    files: tuple[Path, ...] = ()  # instead of the workspace's recordings
    name: str = "default"
    code_bytes: tuple[int, ...] = CODE_BYTES
    seconds: float = 30.0  # of each recording, from its middle
    limit: int = 12  # recordings
    everything: bool = False  # recordings that a code was trained on, too
    codecs: bool = True  # Opus, AAC, MP3 and Vorbis
    fill: float = 0.0  # byte codes also with noise of this strength in place of zeros
    visqol: bool = False
    seed: int = 0

    @property
    def command(self) -> str:
        """The command that asks for this; names of files stay with whoever has them.

        >>> CompareConfig(runs=("default",), files=(Path("a.ogg"),), visqol=True).command
        'fadae compare default --files RECORDINGS --seconds 30 --limit 12 --visqol'
        """
        parts = ["fadae compare", *self.runs]
        parts += ["--files RECORDINGS"] if self.files else []
        if self.code_bytes != CODE_BYTES:
            parts += [f"--code-bytes {count}" for count in self.code_bytes]
        parts += [f"--seconds {self.seconds:g}", f"--limit {self.limit}"]
        parts += ["--all"] if self.everything else []
        parts += [] if self.codecs else ["--no-codecs"]
        parts += [f"--fill {self.fill:g}"] if self.fill else []
        parts += ["--visqol"] if self.visqol else []
        parts += [f"--name {self.name}"] if self.name != "default" else []
        parts += [f"--seed {self.seed}"] if self.seed else []
        return " ".join(parts)


def compare(location: Location, config: CompareConfig) -> Comparison:
    """Return the comparison, and write it to the workspace where there is one.

    The same bytes every time. Raises UsageError for unknown runs or files, NoInputError where
    nothing can be compared: no recording that no code was trained on, or none that decodes.
    """
    if not 0 < config.seconds <= LONGEST_SECONDS:
        raise UsageError(f"--seconds {config.seconds:g}: above 0, at most {LONGEST_SECONDS:g}")
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", config.name):
        raise UsageError(
            f"--name {config.name!r}: letters, digits, '.', '_' and '-' only, at most 64"
        )
    if config.visqol:
        ensure_visqol()
    location.ensure_writable()  # before minutes of work
    comparing = _Comparing(location, config)
    comparison = comparing.compare()
    if comparing.workspace is not None:
        result.write(location, comparison)
        publish_listing(location)
    return comparison


def score(
    original: Float32, made: Float32, rate_hz: int, visqol: bool = False
) -> dict[str, float | None]:
    """Return every measure of what was made of samples [n], clipped to full scale as players do."""
    made = np.clip(made, -1, 1)
    sums = ErrorSums.of(original, made)
    scores = {
        "snr_db": sums.snr_db,
        "si_sdr_db": sums.si_sdr_db,
        "log_spectral_distance_db": log_spectral_distance_db(original, made),
        "multi_resolution_stft_distance": multi_resolution_stft_distance(original, made),
    }
    if visqol:
        scores["visqol_mos"] = visqol_mos(original, made, rate_hz)
    return {key: result.rounded(value) for key, value in scores.items()}


def _packaged() -> EntropyModel | None:
    """Return the model that comes with fadae, None where it was left out."""
    try:
        return packaged()
    except NoInputError:
        return None


class _Comparing:
    """One comparison being made: a recording at a time, through every code."""

    def __init__(self, location: Location, config: CompareConfig) -> None:
        self.config = config
        self.workspace = Workspace(location) if location.names("") else None
        if self.workspace is None and (config.runs or not config.files):
            location.ensure_workspace()
        trained = trained_runs(location) if self.workspace else []
        self._runs = config.runs or tuple(trained)
        self._rate_hz = self._sample_rate()
        self._remarks: list[str] = []
        self._left_out: list[LeftOut] = []

    def compare(self) -> Comparison:
        """Return the comparison."""
        learned = [*self._runs, *([PACKAGED] if _packaged() is not None else [])]
        candidates, learned = self._choose(learned)
        codes = self._codes(learned)
        compared, measured = self._measure(candidates, codes)
        return {
            "fadae_version": __version__,
            "command": self.config.command,
            "name": self.config.name,
            "sample_rate_hz": self._rate_hz,
            "seconds": self.config.seconds,
            "seed": self.config.seed,
            "resamples": result.RESAMPLES,
            "confidence": result.CONFIDENCE,
            "measures": {
                key: MEASURES[key] for key in MEASURES if self.config.visqol or key != "visqol_mos"
            },
            "recordings": compared,
            "left_out": self._left_out[:_MOST_LEFT_OUT],
            "remarks": self._remarks,
            "codes": [
                self._pooled(code, each, compared)
                for code, each in zip(codes, measured, strict=True)
            ],
        }

    def _sample_rate(self) -> int:
        """Return the rate of the runs, or of the features."""
        if self.workspace is None:
            return RATE_HZ
        if not self._runs:
            return RATE_HZ if self.config.files else self.workspace.rate_hz
        rates = {
            self.workspace.config(run)["dataset"]["transform"]["sample_rate_hz"]
            for run in self._runs
        }
        if len(rates) > 1:
            raise UsageError(f"runs of sound at different rates: {sorted(rates)} Hz")
        return rates.pop()

    def _choose(self, learned: list[str]) -> tuple[list[Candidate], list[str]]:
        """Return what to compare over, and the codes that learned something else.

        Where the packaged model knows all that is left, it is left out instead.
        """
        candidates = self._candidates(learned)
        everything, limit = self.config.everything, self.config.limit
        usable, known = excerpts.chosen(candidates, limit, everything)
        if not usable and PACKAGED in learned and learned != [PACKAGED]:
            self._remarks.append(
                "The packaged model is left out: it was trained on these recordings, or its card "
                "does not say."
            )
            learned = [name for name in learned if name != PACKAGED]
            for one in candidates:
                one.roles.pop(PACKAGED, None)
            usable, known = excerpts.chosen(candidates, limit, everything)
        for one in known:
            who = ", ".join(one.in_role(Role.TRAINED, Role.UNKNOWN))
            self._left_out.append({"id": one.id, "reason": f"trained on, or not known, by {who}"})
        if not usable:
            raise NoInputError(
                f"none of {len(candidates)} recordings is known to be new to every code; --all "
                "takes those trained on too, --files others"
            )
        return usable, learned

    def _candidates(self, learned: list[str]) -> list[Candidate]:
        if self.config.files:
            return excerpts.of_files(self.config.files, self._rate_hz, self.workspace, learned)
        assert self.workspace is not None
        return excerpts.of_workspace(self.workspace, learned)

    def _codes(self, learned: list[str]) -> list[Code]:
        from fadae.compare import codes

        found: list[Code] = []
        sizes, fills = self.config.code_bytes, sorted({0.0, self.config.fill})
        for run in self._runs:
            assert self.workspace is not None
            found += codes.of_run(run, self.workspace.codec(run), sizes, fills)
        entropy = _packaged()
        if entropy is not None and PACKAGED in learned:
            found += codes.of_packaged(entropy, sizes, fills)
        if self.config.codecs:
            found += codes.everyday()
        if not found:
            raise NoInputError("nothing to compare: no run, no packaged model, no codecs")
        return found

    def _measure(
        self, candidates: Sequence[Candidate], codes: Sequence[Code]
    ) -> tuple[list[Compared], list[list[Measured]]]:
        """Return the recordings and, for each code, what became of each of them."""
        compared: list[Compared] = []
        measured: list[list[Measured]] = [[] for _ in codes]
        with track("compare", len(candidates) * len(codes), "codings") as progress:
            for one in candidates:
                excerpt = self._loaded(one)
                if excerpt is None:
                    progress.advance(len(codes))
                    continue
                compared.append(
                    {
                        "id": one.id,
                        "title": one.title,
                        "start_seconds": round(excerpt.start_seconds, 3),
                        "seconds": round(len(excerpt.pcm) / self._rate_hz, 3),
                        "held_out_by": one.in_role(Role.HELD_OUT, Role.UNSEEN),
                        "trained_on_by": one.in_role(Role.TRAINED, Role.UNKNOWN),
                    }
                )
                for code, each in zip(codes, measured, strict=True):
                    passed = code.passed(excerpt.pcm, self._rate_hz)
                    each.append(self._measured(one.id, excerpt.pcm, passed))
                    progress.advance(code=code.name)
        if not compared:
            raise NoInputError("none of the recordings has sound that decodes")
        return compared, measured

    def _loaded(self, one: Candidate) -> Excerpt | None:
        """Return a recording's excerpt; one that has no sound is left out."""
        try:
            excerpt = one.load(self.config.seconds)
        except PermanentFailure as failure:
            self._left_out.append({"id": one.id, "reason": str(failure)})
            return None
        if not excerpt.pcm.any():
            self._left_out.append({"id": one.id, "reason": "silent in its middle"})
            return None
        return excerpt

    def _measured(self, recording: str, pcm: Int16, passed: Passed) -> Measured:
        scores = score(from_pcm(pcm), passed.samples, self._rate_hz, self.config.visqol)
        return {
            "recording": recording,
            "bytes": passed.bytes,
            "payload_bytes": passed.payload_bytes,
            "delay_samples": passed.delay_samples,
            "scores": scores,
        }

    def _pooled(self, code: Code, each: list[Measured], compared: Sequence[Compared]) -> CodeResult:
        seconds = sum(one["seconds"] for one in compared)
        known = code.name if code.kind != "codec" else ""
        return {
            "name": code.name,
            "kind": code.kind,
            "model": code.model,
            "setting": code.setting,
            "about": code.about,
            "kbps": round(sum(8 * one["bytes"] for one in each) / seconds / 1000, 3),
            "payload_kbps": round(
                sum(8 * one["payload_bytes"] for one in each) / seconds / 1000, 3
            ),
            "trained_on": sum(known in one["trained_on_by"] for one in compared),
            "scores": {
                key: result.interval([one["scores"][key] for one in each], self.config.seed)
                for key in each[0]["scores"]
            },
            "recordings": each,
        }
