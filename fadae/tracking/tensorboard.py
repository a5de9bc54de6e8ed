"""TensorBoard: event files in runs/<run>/tensorboard, written anew whenever a run is taken up."""

from __future__ import annotations

from collections.abc import Sequence

from fadae.records import MetricsRow
from fadae.store import Location, paths
from fadae.tracking.tracker import TrackedRun, TrackingError, figures


class TensorBoard:
    """Event files that say what metrics.jsonl says, no more.

    A few megabytes tell a year of training: writing them again is the simplest way for a step to
    be there once. `purge_step` has a TensorBoard that watches forget what it saw before.
    """

    def __init__(self, location: Location, run: TrackedRun) -> None:
        """Remove the events of an earlier start; begin a file."""
        from torch.utils.tensorboard import SummaryWriter

        folder = paths.run_path(run.name, "tensorboard")
        location.delete(folder)
        self._taken = 0
        try:
            self._writer = SummaryWriter(location.full(folder), purge_step=0)
        except OSError as error:
            raise TrackingError("tensorboard", error) from error

    def take(self, lines: Sequence[MetricsRow]) -> None:
        """Write the lines that came since."""
        try:
            for line in lines[self._taken :]:
                for name, value in figures(line).items():
                    self._writer.add_scalar(name, value, line["step"])
                self._taken += 1
            self._writer.flush()
        except OSError as error:
            raise TrackingError("tensorboard", error) from error

    def close(self, done: bool) -> None:
        """Close the file."""
        try:
            self._writer.close()
        except OSError as error:
            raise TrackingError("tensorboard", error) from error
