"""MLflow: one of its runs for one of fadae's, found by a tag; what it holds is asked of it."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator, Sequence

from fadae.records import MetricsRow, batched
from fadae.tracking.tracker import PROJECT, TrackedRun, TrackingError, figures

_IDENTITY = "fadae.identity"
_A_REQUEST = 1000  # metrics, MLflow's own limit
_PARAMS = 100  # likewise
# Before it is imported: training waits for its answers, and nothing is told to anybody else.
_QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "15",
}


class MLflow:
    """The tracking server or database that MLFLOW_TRACKING_URI names, or MLflow's default.

    The experiment is that of MLFLOW_EXPERIMENT_NAME, else `fadae`.
    """

    def __init__(self, run: TrackedRun) -> None:
        """Find the run by its identity, else create it."""
        for name, value in _QUIET.items():
            os.environ.setdefault(name, value)
        from mlflow.entities import Param, RunTag
        from mlflow.tracking import MlflowClient

        with _failures():
            self._client = MlflowClient()
            self._run_id = self._find(run)
            params = [Param(name, str(value)[:500]) for name, value in run.settings.items()]
            tags = {"fadae.workspace": run.workspace, **run.limits}
            for part in batched(params, _PARAMS):
                self._client.log_batch(self._run_id, params=[*part])
            told = [RunTag(name, str(value)) for name, value in tags.items()]
            self._client.log_batch(self._run_id, tags=told)
            self._client.set_terminated(self._run_id, "RUNNING")
        self._taken = 0
        self._last: dict[str, int] | None = None  # the last step of each metric that it holds

    def _find(self, run: TrackedRun) -> str:
        from mlflow.exceptions import MlflowException

        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT)
        experiment = self._client.get_experiment_by_name(name)
        if experiment is None:
            try:
                experiment_id = self._client.create_experiment(name)
            except MlflowException:  # another run created it meanwhile, or it cannot be
                experiment = self._client.get_experiment_by_name(name)
                if experiment is None:
                    raise
        if experiment is not None:
            experiment_id = experiment.experiment_id
        found = self._client.search_runs(
            [experiment_id], f"tags.`{_IDENTITY}` = '{run.identity}'", max_results=1
        )
        if found:
            return str(found[0].info.run_id)
        tags = {_IDENTITY: run.identity}
        return str(self._client.create_run(experiment_id, tags=tags, run_name=run.name).info.run_id)

    def take(self, lines: Sequence[MetricsRow]) -> None:
        """Log the figures of later steps than it holds."""
        from mlflow.entities import Metric

        with _failures():
            if self._last is None:
                self._last = self._held()
            last, now = self._last, time.time_ns() // 10**6
            new = [
                Metric(name, value, now, line["step"])
                for line in lines[self._taken :]
                for name, value in figures(line).items()
                if line["step"] > last.get(name, -1)
            ]
            self._last = None  # until all is there: a request may be answered in part
            for part in batched(new, _A_REQUEST):
                self._client.log_batch(self._run_id, metrics=[*part])
            self._last = last | {metric.key: metric.step for metric in new}
            self._taken = len(lines)

    def _held(self) -> dict[str, int]:
        names = self._client.get_run(self._run_id).data.metrics
        histories = {n: self._client.get_metric_history(self._run_id, n) for n in names}
        return {name: max(one.step for one in found) for name, found in histories.items() if found}

    def close(self, done: bool) -> None:
        """Say that the run is finished, where it is."""
        if done:
            with _failures():
                self._client.set_terminated(self._run_id, "FINISHED")


@contextlib.contextmanager
def _failures() -> Iterator[None]:
    """Turn what MLflow and its database raise into TrackingError."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except (MlflowException, OSError) as error:
        raise TrackingError("mlflow", error) from error
