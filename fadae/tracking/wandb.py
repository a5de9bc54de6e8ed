"""W&B: an offline run in ./wandb, written anew whenever a run is taken up; nothing is sent."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from fadae.records import MetricsRow
from fadae.tracking.tracker import PROJECT, TrackedRun, TrackingError, figures


class WandB:
    """A folder wandb/offline-run-*-<identity> below WANDB_DIR, else the current folder.

    There is one for a run, with all its steps: that of an earlier start goes, since W&B cannot
    tell offline which steps it holds. `wandb sync` sends it, when and if the user wishes. The
    project is that of WANDB_PROJECT, else `fadae`.
    """

    def __init__(self, run: TrackedRun) -> None:
        """Remove the folder of an earlier start; begin one."""
        # Before it is imported: no report of its own errors leaves the machine.
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        import wandb

        home = Path(os.environ.get("WANDB_DIR") or ".").absolute()
        with _failures():
            for earlier in (home / "wandb").glob(f"offline-run-*-{run.identity}"):
                shutil.rmtree(earlier)
            home.mkdir(parents=True, exist_ok=True)
            self._run = wandb.init(
                project=os.environ.get("WANDB_PROJECT", PROJECT),
                id=run.identity,
                name=run.name,
                dir=str(home),
                config={**run.settings, **run.limits, "workspace": run.workspace},
                reinit="create_new",
                settings=wandb.Settings(
                    mode="offline",
                    console="off",
                    silent=True,
                    save_code=False,
                    disable_code=True,
                    disable_git=True,
                    disable_job_creation=True,
                    x_disable_meta=True,
                    x_disable_stats=True,
                ),
            )
        self._taken = 0

    def take(self, lines: Sequence[MetricsRow]) -> None:
        """Log the lines that came since."""
        with _failures():
            for line in lines[self._taken :]:
                self._run.log(figures(line), step=line["step"])
                self._taken += 1

    def close(self, done: bool) -> None:
        """End the run's folder."""
        with _failures():
            self._run.finish()


@contextlib.contextmanager
def _failures() -> Iterator[None]:
    """Turn what W&B raises into TrackingError."""
    import wandb

    try:
        yield
    except (wandb.Error, OSError) as error:
        raise TrackingError("wandb", error) from error
