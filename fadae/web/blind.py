"""A blind test under way: the trial that is played, the answers, and what came of them.

A page asks for the trial and gets marks that mean nothing (`secrets`), new ones in every trial.
All signals of a trial are made before the first mark is told, and all are files of one length: no
address, size or time says what plays. Names are told with the results.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fadae.audio.write import encode
from fadae.errors import UnknownNameError, UsageError
from fadae.query import Workspace
from fadae.web.blind_plan import REFERENCE, BlindConfig, Trial, checked, plan, rendered
from fadae.web.blind_results import ResultsFile, Row, binomial_p, means, screened


class BlindTest:
    """One listener's test; all methods may be called from several threads."""

    def __init__(
        self, workspace: Workspace, config: BlindConfig, file: Path, listener: str = ""
    ) -> None:
        """Plan the trials; `file` gets the rows of the results.

        Raises UsageError for what cannot be compared or written, NoInputError where there is
        nothing to play.
        """
        self.config = checked(workspace, config)
        self._workspace, self._listener = workspace, listener
        self._trials = plan(workspace, config)
        self._results = ResultsFile(file, config.kind)
        self._session = secrets.token_hex(4)
        self._lock = threading.Lock()
        self._marks: list[str] = []  # of the signals of the trial under way, in their order
        self._clips: dict[str, bytes] = {}
        self._rows: list[Row] = []
        self._done = 0

    @property
    def over(self) -> bool:
        """Whether every trial is answered."""
        return self._done == len(self._trials)

    def state(self) -> dict[str, Any]:
        """Return what a page may know: the trial under way, or the results when there is none."""
        with self._lock:
            return self._state()

    def clip(self, mark: str) -> bytes:
        """Return the sound of a mark, as WAV; UnknownNameError for any but this trial's."""
        with self._lock:
            if mark not in self._clips:
                raise UnknownNameError("no sound of this trial has this mark")
            return self._clips[mark]

    def answer(self, trial: object, answers: object, heard: object) -> dict[str, Any]:
        """Take a trial's answers by mark; return the next state.

        ABX: {X's mark: A's or B's mark}. MUSHRA: {mark: rating from 0 to 100}. `heard`: the marks
        that were played. Raises UsageError for anything else.
        """
        with self._lock:
            if self.over or trial != self._trials[self._done].number:
                raise UsageError("this trial is answered already; load the page again")
            if not isinstance(answers, dict) or not isinstance(heard, list):
                raise UsageError("answers are an object, what was heard is a list")
            if set(map(str, heard)) != set(self._marks):
                raise UsageError("all signals must be played before a trial is answered")
            rows = self._abx(answers) if self.config.kind == "abx" else self._mushra(answers)
            self._results.append(rows)
            self._rows += rows
            self._done += 1
            self._marks, self._clips = [], {}
            return self._state()

    # --- the trial under way ---

    def _state(self) -> dict[str, Any]:
        about: dict[str, Any] = {
            "kind": self.config.kind,
            "trials": len(self._trials),
            "over": self.over,
        }
        if self.over:
            return about | {"results": self.summary()}
        if not self._marks:
            self._prepare(self._trials[self._done])
        return about | {
            "trial": self._trials[self._done].number,
            "seconds": self.config.seconds,
            "rate_hz": self._workspace.rate_hz,
            "marks": self._marks,
        }

    def _prepare(self, trial: Trial) -> None:
        """Make all signals of a trial; of MUSHRA the open reference comes first."""
        shown = trial.signals if self.config.kind == "abx" else (REFERENCE, *trial.signals)
        sounds = rendered(self._workspace, self.config, trial, shown)
        files = {
            name: encode(samples, self._workspace.rate_hz, "wav")
            for name, samples in sounds.items()
        }
        self._marks = [secrets.token_urlsafe(12) for _ in shown]
        self._clips = {mark: files[name] for mark, name in zip(self._marks, shown, strict=True)}

    # --- answers ---

    def _row(self, trial: Trial) -> dict[str, object]:
        return {
            "time": datetime.now(UTC).isoformat(timespec="seconds"),
            "test": self.config.kind,
            "session": self._session,
            "listener": self._listener,
            "seed": self.config.seed,
            "trial": trial.number,
            "trials": len(self._trials),
            "recording": trial.recording,
            "start_seconds": trial.start_seconds,
            "seconds": self.config.seconds,
        }

    def _abx(self, answers: Mapping[str, object]) -> list[Row]:
        trial = self._trials[self._done]
        a, b, x = self._marks
        if set(answers) != {x} or answers[x] not in (a, b):
            raise UsageError("the answer says whether X is A or B")
        answer, truth = "ab"[answers[x] == b], "ab"[trial.signals[2] == trial.signals[1]]
        right = sum(row["correct"] == 1 for row in self._rows) + (answer == truth)
        own = {
            "a": trial.signals[0],
            "b": trial.signals[1],
            "x": truth,
            "answer": answer,
            "correct": int(answer == truth),
            "correct_so_far": right,
            "p_so_far": binomial_p(right, self._done + 1),
        }
        return [self._row(trial) | own]

    def _mushra(self, answers: Mapping[str, object]) -> list[Row]:
        trial, marks = self._trials[self._done], self._marks[1:]
        if set(answers) != set(marks):
            raise UsageError("every signal is rated, and the open reference is not")
        for rating in answers.values():
            if type(rating) is not int or not 0 <= rating <= 100:
                raise UsageError("ratings are whole numbers from 0 to 100")
        return [
            self._row(trial) | {"place": place, "signal": name, "rating": answers[mark]}
            for place, (mark, name) in enumerate(zip(marks, trial.signals, strict=True), 1)
        ]

    # --- results ---

    def summary(self) -> dict[str, Any]:
        """Return what came of the trials so far."""
        about: dict[str, Any] = {
            "test": self.config.kind,
            "sources": list(self.config.sources),
            "session": self._session,
            "seed": self.config.seed,
            "trials": self._done,
            "of": len(self._trials),
            "file": str(self._results.path),
        }
        if self.config.kind == "abx":
            right = sum(row["correct"] == 1 for row in self._rows)
            return about | {"correct": right, "p": binomial_p(right, self._done)}
        if not self._done:
            return about
        ratings: dict[str, list[int]] = {}
        for row in self._rows:
            ratings.setdefault(str(row["signal"]), []).append(int(str(row["rating"])))
        counts, rule = screened(ratings)
        found = means(ratings, self.config.seed)
        return about | {"ratings": found, "counts": counts, "post_screening": rule}
