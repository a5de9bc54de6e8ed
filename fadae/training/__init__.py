"""Training: one trainer for any number of ranks, resumable to the bit, and its launchers."""

from typing import TYPE_CHECKING

from fadae._lazy import lazily

if TYPE_CHECKING:
    from fadae.training import launch
    from fadae.training.checkpoint import Checkpoints
    from fadae.training.process import stop_flag
    from fadae.training.roles import roles_of
    from fadae.training.runs import (
        Role,
        RunSplit,
        Side,
        best_run,
        chosen_run,
        every_row,
        owners,
        pca_remark,
        run_config,
        run_summary,
        sides_of,
        split_of,
        trained_runs,
    )
else:
    __getattr__ = lazily(
        __name__,
        {
            "fadae.training": ["launch"],
            "fadae.training.checkpoint": ["Checkpoints"],
            "fadae.training.process": ["stop_flag"],
            "fadae.training.roles": ["roles_of"],
            "fadae.training.runs": [
                "Role",
                "RunSplit",
                "Side",
                "best_run",
                "chosen_run",
                "every_row",
                "owners",
                "pca_remark",
                "run_config",
                "run_summary",
                "sides_of",
                "split_of",
                "trained_runs",
            ],
        },
    )

__all__ = [
    "Checkpoints",
    "Role",
    "RunSplit",
    "Side",
    "best_run",
    "chosen_run",
    "every_row",
    "launch",
    "owners",
    "pca_remark",
    "roles_of",
    "run_config",
    "run_summary",
    "sides_of",
    "split_of",
    "stop_flag",
    "trained_runs",
]
