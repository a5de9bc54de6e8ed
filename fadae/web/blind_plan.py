"""What a blind test plays: which part of which recording, by which name, and how it sounds.

ABX: X is A or B, and the listener says which (Clark, "High-resolution subjective testing using a
double-blind comparator", J. AES 30, 1982). MUSHRA: recommendation ITU-R BS.1534-3, by webMUSHRA's
rules: the reference is hidden among the signals, and so are copies of it without its treble.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from fadae.arrays import Float32
from fadae.errors import NoInputError, UsageError
from fadae.query import ORIGINAL, TRANSFORM, Recording, Workspace
from fadae.training import Role

REFERENCE = "reference"
ANCHORS = {"anchor 3.5 kHz": 3500.0, "anchor 7 kHz": 7000.0}  # low and mid, of BS.1534-3
LOW_ANCHOR, MID_ANCHOR = ANCHORS
MOST_SIGNALS = 12  # at a time, the reference and the anchors among them: BS.1534-3
MOST_TRIALS = 200
LONGEST_SECONDS = 30.0
_LOOKED_AT = 20_000  # recordings that are asked whether they were held out
_STARTS, _LEAST_RMS = 8, 1e-3  # tries for a part that sounds: above -60 dB of full scale
_FADE_SECONDS = 0.01  # at both ends of every signal, so that a loop does not click
_TRANSITION_HZ, _STOP_DB = 500.0, 60.0  # steeper than BS.1534-3 asks: 25 dB at 4, 50 at 4.5 kHz


@dataclass(frozen=True, slots=True)
class BlindConfig:
    """A blind test: what is compared (`sources`), over how many trials of how many seconds."""

    kind: Literal["abx", "mushra"]
    sources: tuple[str, ...]
    trials: int
    seconds: float
    seed: int
    everything: bool = False  # recordings, too, that a run learned from


@dataclass(frozen=True, slots=True)
class Trial:
    """A trial: a part of a recording; `signals` are what is played, in the order of the page.

    ABX: A, B, X. MUSHRA: the signals to be rated, in an order of this trial's own.
    """

    number: int
    recording: str
    start_seconds: float
    signals: tuple[str, ...]


def checked(workspace: Workspace, config: BlindConfig) -> BlindConfig:
    """Return a configuration that can be played; raises UsageError for any other."""
    for source in config.sources:
        workspace.ensure_source(source)
    if len(set(config.sources)) < len(config.sources):
        raise UsageError("a blind test compares different sources: one is named twice")
    if config.kind == "abx" and len(config.sources) != 2:
        raise UsageError("--abx takes two sources: runs, original or transform")
    if config.kind == "mushra":
        if ORIGINAL in config.sources:
            raise UsageError("--mushra hides the original among the signals by itself")
        signals = [*config.sources, REFERENCE, *anchors(workspace.rate_hz)]
        if len(signals) > MOST_SIGNALS:
            raise UsageError(f"--mushra plays at most {MOST_SIGNALS} signals, not {len(signals)}")
        if LOW_ANCHOR not in signals:
            raise UsageError(f"no anchor of 3.5 kHz can be made at {workspace.rate_hz} Hz")
    return config


def anchors(rate_hz: int) -> list[str]:
    """Return the anchors that sound at a rate has room for.

    >>> anchors(11025), anchors(44100)
    (['anchor 3.5 kHz'], ['anchor 3.5 kHz', 'anchor 7 kHz'])
    """
    return [name for name, hz in ANCHORS.items() if hz + _TRANSITION_HZ < rate_hz / 2]


def plan(workspace: Workspace, config: BlindConfig) -> list[Trial]:
    """Return the trials, a pure function of the workspace and the configuration.

    Of recordings that every run held out, or never met, each taken once before any is taken again.
    Raises NoInputError where there is none.
    """
    draw = np.random.default_rng([config.seed, int(config.kind == "abx")])
    found = list(_recordings(workspace, config, draw))
    trials = []
    for number in range(1, config.trials + 1):
        recording = found[(number - 1) % len(found)]
        start = _start(workspace, recording, config.seconds, draw)
        trials.append(Trial(number, recording.id, start, _signals(workspace, config, draw)))
    return trials


def _recordings(
    workspace: Workspace, config: BlindConfig, draw: np.random.Generator
) -> Iterator[Recording]:
    """Yield recordings to play, in a random order, as many as there are trials."""
    runs = [name for name in config.sources if name not in (ORIGINAL, TRANSFORM)]
    roles = [workspace.roles(run) for run in runs if run in workspace.runs]
    places = draw.permutation(len(workspace.recordings))[:_LOOKED_AT]
    count = 0
    for recording in (workspace.recordings[int(place)] for place in places):
        known = [role[recording.row] for role in roles]
        held_out = all(role in (Role.HELD_OUT, Role.UNSEEN) for role in known)
        long_enough = recording.seconds >= config.seconds
        if recording.same_as < 0 and long_enough and (held_out or config.everything):
            yield recording
            count += 1
        if count == config.trials:
            return
    if not count:
        raise NoInputError(
            f"no recording of {config.seconds:g} seconds or more was held out by all of "
            f"{', '.join(runs) or 'them'}: --all takes any, --seconds asks for less"
        )


def _start(
    workspace: Workspace, recording: Recording, seconds: float, draw: np.random.Generator
) -> float:
    """Return where a part that sounds begins; the last one tried where all are silent."""
    start = 0.0
    for _ in range(_STARTS):
        start = round(float(draw.uniform(0, recording.seconds - seconds)), 3)
        samples = workspace.audio(recording.id, slice(start, start + seconds))
        if np.sqrt(np.mean(samples**2)) > _LEAST_RMS:
            break
    return start


def _signals(
    workspace: Workspace, config: BlindConfig, draw: np.random.Generator
) -> tuple[str, ...]:
    if config.kind == "abx":
        a, b = (config.sources[place] for place in draw.permutation(2))
        return a, b, (a, b)[int(draw.integers(2))]
    hidden = [*config.sources, REFERENCE, *anchors(workspace.rate_hz)]
    return tuple(hidden[place] for place in draw.permutation(len(hidden)))


def rendered(
    workspace: Workspace, config: BlindConfig, trial: Trial, names: Sequence[str]
) -> dict[str, Float32]:
    """Return the samples of signals by name, all of one length, float32 in [-1, 1].

    Levels stay as they are; the ends fade in and out over 10 ms.
    """
    span = slice(trial.start_seconds, trial.start_seconds + config.seconds)
    count = round(config.seconds * workspace.rate_hz)
    fade = _fade(count, workspace.rate_hz)
    made = {}
    for name in dict.fromkeys(names):
        source = ORIGINAL if name == REFERENCE or name in ANCHORS else name
        samples = workspace.audio(trial.recording, span, source)
        if name in ANCHORS:
            samples = low_passed(samples, ANCHORS[name], workspace.rate_hz)
        whole = np.zeros(count, np.float32)
        whole[: len(samples)] = samples[:count]
        made[name] = np.clip(whole * fade, -1, 1)
    return made


def _fade(count: int, rate_hz: int) -> Float32:
    width = min(round(_FADE_SECONDS * rate_hz), count // 2)
    edge = (np.sin(np.linspace(0, np.pi / 2, width, endpoint=False)) ** 2).astype(np.float32)
    fade = np.ones(count, np.float32)
    fade[:width], fade[count - width :] = edge, edge[::-1]
    return fade


def low_passed(samples: Float32, hz: float, rate_hz: int) -> Float32:
    """Return samples [n] without what lies above a frequency, in time with what came.

    A linear-phase filter (Kaiser's window): flat up to `hz`, 60 dB down half a kilohertz above.
    """
    from scipy import signal

    taps, beta = signal.kaiserord(_STOP_DB, 2 * _TRANSITION_HZ / rate_hz)
    window = signal.firwin(taps | 1, hz + _TRANSITION_HZ / 2, window=("kaiser", beta), fs=rate_hz)
    filtered = signal.oaconvolve(samples, window, mode="full")
    first = len(window) // 2
    return np.asarray(filtered[first : first + len(samples)], dtype=np.float32)
