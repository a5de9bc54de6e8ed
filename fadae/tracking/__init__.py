"""What logs a run's metrics to TensorBoard, MLflow and W&B: from its metrics.jsonl, step by step.

metrics.jsonl is the truth; a tracker gets the lines that it does not have. So the trainer, whenever
it writes that file, and `fadae runs --track`, at any later time, do the same, and neither a kill
nor a second call logs a step twice.
"""

from fadae.tracking.exporting import ensure_trackers, export, open_trackers
from fadae.tracking.tracker import Tracker, TrackingError

__all__ = ["Tracker", "TrackingError", "ensure_trackers", "export", "open_trackers"]
