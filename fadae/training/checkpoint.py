"""Checkpoints: safetensors and JSON in one folder each, committed by the last file's hashes.

    checkpoints/step-N/{model,optimizer}.safetensors, state.json, then COMMIT.json
    checkpoints/best-N/model.safetensors, then COMMIT.json

A folder without COMMIT.json, or whose files do not match it, is no checkpoint: the next older one
is used. Nothing is ever unpickled.
"""

from __future__ import annotations

import hashlib
import json
import logging
import threading
from collections.abc import Mapping
from dataclasses import dataclass

import safetensors.torch
from torch import Tensor

from fadae.errors import AccessError, StorageError
from fadae.records import canonical_json
from fadae.store import Location

log = logging.getLogger("fadae.training")

COMMIT = "COMMIT.json"
Tensors = Mapping[str, Tensor]


@dataclass(frozen=True)
class Checkpoint:
    """A moment of a run: everything that the rest of it is a function of."""

    step: int
    model: Tensors
    optimizer: Tensors
    state: Mapping[str, object]  # JSON-able


class Checkpoints:
    """A run's checkpoints; one process writes, saving in the background while training goes on."""

    def __init__(self, location: Location, folder: str, keep: int) -> None:
        """Take the folder and how many of the newest to keep, the best one aside."""
        self._location, self._folder, self._keep = location, folder, keep
        self._saving: threading.Thread | None = None
        self._best: tuple[int, Tensors] | None = None  # until it is saved
        self._saved_best: int | None = None

    def newest(self) -> Checkpoint | None:
        """Return the newest checkpoint whose files match their hashes; say which ones do not."""
        for step in reversed(self._steps("step-")):
            files = self._verified(f"step-{step}")
            if files is None:
                log.warning("checkpoint step-%d is incomplete or damaged: using an older one", step)
                continue
            return Checkpoint(
                step,
                safetensors.torch.load(files["model.safetensors"]),
                safetensors.torch.load(files["optimizer.safetensors"]),
                json.loads(files["state.json"]),
            )
        return None

    def superseded(self, *, keep_best: bool) -> list[str]:
        """Return the names of the checkpoints that the run can go on without.

        Those before the newest whose files match their hashes; with `keep_best` its best weights
        stay too. What is being written meanwhile is never among them.
        """
        for step in reversed(self._steps("step-")):
            files = self._verified(f"step-{step}")
            if files is not None:
                kept = json.loads(files["state.json"]).get("best_step") if keep_best else None
                older = [f"step-{n}" for n in self._steps("step-") if n < step]
                best = [f"best-{n}" for n in self._steps("best-") if n < step and n != kept]
                return older + best
        return []

    def keep_best(self, step: int, model: Tensors) -> None:
        """Take the best weights so far; the next checkpoint that succeeds saves them too."""
        self._best = step, model

    def best(self, step: int) -> Tensors | None:
        """Return the weights kept as the best, of a step."""
        if self._best is not None and self._best[0] == step:
            return self._best[1]
        files = self._verified(f"best-{step}")
        return None if files is None else safetensors.torch.load(files["model.safetensors"])

    def save(self, checkpoint: Checkpoint) -> None:
        """Write a checkpoint, its best weights first; tensors must not change meanwhile.

        Raises StorageError where the storage fails, AccessError where it refuses.
        """
        self.wait()
        self._save(checkpoint, self._best)
        self._forget_saved_best()

    def save_in_background(self, checkpoint: Checkpoint) -> None:
        """Write a checkpoint from a thread, after the one before it is done.

        A failure is logged: the checkpoints before it remain, and the next one tries again, the
        best weights included.
        """
        self.wait()
        best = self._best

        def save() -> None:
            try:
                self._save(checkpoint, best)
            except (StorageError, AccessError) as error:
                log.warning("checkpoint step-%d is not saved: %s", checkpoint.step, error)

        self._saving = threading.Thread(target=save, name="checkpoint")
        self._saving.start()

    @property
    def is_saving(self) -> bool:
        """Whether a checkpoint is being written in the background."""
        return self._saving is not None and self._saving.is_alive()

    def wait(self) -> None:
        """Return once nothing is being saved."""
        if self._saving is not None:
            self._saving.join()
            self._saving = None
            self._forget_saved_best()

    def _forget_saved_best(self) -> None:
        if self._best is not None and self._best[0] == self._saved_best:
            self._best = None

    def _save(self, checkpoint: Checkpoint, best: tuple[int, Tensors] | None) -> None:
        kept_best = checkpoint.state.get("best_step")
        if best is not None:
            self._write(f"best-{best[0]}", {"model.safetensors": _bytes_of(best[1])})
            self._saved_best = best[0]
        self._write(
            f"step-{checkpoint.step}",
            {
                "model.safetensors": _bytes_of(checkpoint.model),
                "optimizer.safetensors": _bytes_of(checkpoint.optimizer),
                "state.json": canonical_json(checkpoint.state).encode(),
            },
        )
        self._retire(checkpoint.step, kept_best)

    def _write(self, name: str, files: dict[str, bytes]) -> None:
        hashes = {}
        self._location.delete(f"{self._folder}/{name}/{COMMIT}")  # an older, damaged attempt's
        for file, data in files.items():
            self._location.write_bytes(f"{self._folder}/{name}/{file}", data)
            hashes[file] = hashlib.sha256(data).hexdigest()
        commit = canonical_json({"sha256": hashes}).encode()
        self._location.write_bytes(f"{self._folder}/{name}/{COMMIT}", commit)

    def _verified(self, name: str) -> dict[str, bytes] | None:
        folder = f"{self._folder}/{name}"
        try:
            hashes = json.loads(self._location.read_bytes(f"{folder}/{COMMIT}"))["sha256"]
            files = {file: self._location.read_bytes(f"{folder}/{file}") for file in hashes}
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return None
        intact = all(hashlib.sha256(files[file]).hexdigest() == hashes[file] for file in hashes)
        return files if intact else None

    def _retire(self, newest: int, best: object) -> None:
        """Remove all but the last checkpoints, the best weights, and what a later run left."""
        steps = [step for step in self._steps("step-") if step <= newest]
        for step in self._steps("step-"):
            if step not in steps[-self._keep :]:
                self._location.delete(f"{self._folder}/step-{step}")
        for step in self._steps("best-"):
            if step != best:
                self._location.delete(f"{self._folder}/best-{step}")

    def _steps(self, prefix: str) -> list[int]:
        names = self._location.names(self._folder)
        numbers = (name.removeprefix(prefix) for name in names if name.startswith(prefix))
        return sorted(int(number) for number in numbers if number.isdigit())


def _bytes_of(tensors: Tensors) -> bytes:
    # No metadata: its order in the file is not defined, and equal weights must be equal bytes.
    return safetensors.torch.save({name: t.detach().cpu() for name, t in tensors.items()})


def snapshot(tensors: Tensors) -> dict[str, Tensor]:
    """Return copies on the CPU that training no longer changes."""
    return {name: tensor.detach().to("cpu", copy=True) for name, tensor in tensors.items()}
