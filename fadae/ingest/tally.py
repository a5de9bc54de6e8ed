"""Running totals over a selection's recordings: what `fadae ingest` prints and remembers."""

from __future__ import annotations

from collections import Counter
from typing import Any, Self

from fadae.nouns import Commit, Failure, FailureClass

FAILURES_SHOWN = 1_000
_COUNTS = ("ok", "transient", "permanent", "samples", "bytes")


class Tally:
    """Counts by outcome, in whole numbers: the order of the outcomes changes nothing."""

    def __init__(self, rate_hz: int) -> None:
        """Begin with nothing; samples are counted at rate_hz."""
        self._rate_hz = rate_hz
        self._counts: Counter[str] = Counter()
        self._failures: list[dict[str, str]] = []

    @property
    def ok(self) -> int:
        """Recordings decoded and staged."""
        return self._counts["ok"]

    @property
    def failed(self) -> int:
        """Recordings that may be had later."""
        return self._counts["transient"]

    @property
    def quarantined(self) -> int:
        """Recordings that will never be had."""
        return self._counts["permanent"]

    @property
    def usable(self) -> int:
        """Recordings that are there or may yet be: what a limit counts."""
        return self.ok + self.failed

    @property
    def recordings(self) -> int:
        """All of them."""
        return self.ok + self.failed + self.quarantined

    def add(self, commit: Commit) -> None:
        """Count a recording."""
        if commit.failure is not None:
            self.add_failure(commit.failure)
        elif commit.decoded is not None:
            self._counts["ok"] += 1
            self._counts["samples"] += commit.decoded.samples
            self._counts["bytes"] += commit.decoded.source_bytes

    def add_failure(self, failure: Failure) -> None:
        """Count a recording or a whole entry that is not there."""
        kind = failure.failure_class.value
        self._counts[kind] += 1
        if len(self._failures) < FAILURES_SHOWN:
            self._failures.append({"id": failure.id, "class": kind, "reason": failure.reason})

    def merge(self, other: Tally) -> None:
        """Add another's totals."""
        self._counts.update(other._counts)
        self._failures = (self._failures + other._failures)[:FAILURES_SHOWN]

    def first(self, kind: FailureClass) -> str:
        """Return an example of a failure of this class, for a message; empty if there is none."""
        found = (f for f in self.summary()["failures"] if f["class"] == kind.value)
        return next((f"{failure['id']}: {failure['reason']}" for failure in found), "")

    def summary(self) -> dict[str, Any]:
        """Return the totals as the command prints them."""
        # Outcomes come in any order: sorted, two runs print the same.
        failures = sorted(self._failures, key=lambda failure: failure["id"])
        return {
            "recordings": self.recordings,
            "ok": self.ok,
            "failed": self.failed,
            "quarantined": self.quarantined,
            "audio_seconds": self._counts["samples"] / self._rate_hz,
            "bytes": self._counts["bytes"],
            "failures": [
                {name: one[name] for name in ("id", "class", "reason")} for one in failures
            ],
        }

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able dict that `from_dict` reads back."""
        counts = {name: self._counts[name] for name in _COUNTS}
        return {**counts, "failures": self._failures}

    @classmethod
    def from_dict(cls, rate_hz: int, values: dict[str, Any]) -> Self:
        """Return the totals that `to_dict` wrote; further keys are ignored."""
        tally = cls(rate_hz)
        tally._counts.update({name: values[name] for name in _COUNTS})
        tally._failures = values["failures"]
        return tally
