"""Makes the packaged model from a folder of music: `python -m fadae.making FOLDER`.

It is trained as anybody's is: `ingest`, `extract` and `train` by the recipe `music`, nothing held
out, in one process. Writes music.safetensors and its card, music.json: which files it was trained
on and judged by, each by its hashes, and the figures. The same files in a folder of the same name
give the same bytes, on one kind of CPU. Stopped and started again with the same --workspace, it
goes on.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import logging
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import fadae.coding
from fadae.archive import FolderSource
from fadae.audio import decoded, from_pcm
from fadae.coding import EntropyModel, compress, decompress, identify, to_bytes
from fadae.config import JobConfig, load_config
from fadae.errors import FadaeError, PermanentFailure
from fadae.model import Codec
from fadae.scores import snr_db
from fadae.stages.extract import extract
from fadae.stages.ingest import ingest
from fadae.store import FeatureSet, Location
from fadae.training.launch import train
from fadae.transform import CriticalTransform

logger = logging.getLogger(__name__)

CODE_BYTES = (128, 256, 512)


@dataclass(frozen=True)
class Recording:
    """A file's sound: pcm [n] int16, and the hashes of the file.

    Cards name files by SHA-256; workspaces, like the archive, by SHA-1.
    """

    name: str
    sha256: str
    sha1: str
    pcm: npt.NDArray[np.int16]

    @property
    def pcm_sha256(self) -> str:
        """As the workspace's table of recordings has it."""
        return hashlib.sha256(self.pcm.astype("<i2").tobytes()).hexdigest()

    @property
    def listed(self) -> dict[str, str]:
        """What a card says of it."""
        return {"name": self.name, "sha256": self.sha256, "sha1": self.sha1}


def recordings_of(folder: Path, rate_hz: int) -> Iterator[Recording]:
    """Yield the recordings of a folder, sorted by path, one in memory at a time."""
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        data = path.read_bytes()
        sha256 = hashlib.sha256(data).hexdigest()
        sha1 = hashlib.sha1(data, usedforsecurity=False).hexdigest()
        try:
            with decoded(path, rate_hz) as pcm:
                samples = np.frombuffer(pcm.read(), dtype="<i2").astype(np.int16)
        except PermanentFailure as failure:
            logger.info("%s is left out: %s", path.name, failure)
            continue
        yield Recording(path.name, sha256, sha1, samples)


def settings(steps: int | None = None) -> JobConfig:
    """Return the recipe `music`, with nothing held out, in one process."""
    job = load_config(recipe="music")
    training = dataclasses.replace(
        job.train, holdout=0.0, ranks=1, launcher="local", device="cpu", seed=0
    )
    if steps is not None:
        training = dataclasses.replace(training, max_steps=steps)
    return dataclasses.replace(job, train=training)


def trained(folder: Path, location: Location, config: JobConfig) -> EntropyModel:
    """Return the model that the recipe makes of a folder's recordings, in a workspace."""
    rate_hz = config.extract.sample_rate
    ingest(location, [FolderSource(str(folder))], config.ingest.settings(rate_hz))
    extract(
        location,
        preset=config.extract.preset,
        sample_rate_hz=rate_hz,
        dtype=config.extract.dtype,
    )
    train(location, config.train)
    return Codec.load(location, config.train.run).entropy


def judge(
    model: EntropyModel, recordings: Iterable[Recording], rate_hz: int
) -> tuple[dict[str, Any], list[dict[str, str]]]:
    """Return the mean over recordings of SNR in dB, by rate and bytes a row; and who they were.

    All bytes of the files are counted.
    """
    kinds = [(kind, size) for kind in ("average", "constant") for size in CODE_BYTES]
    scores: list[list[float]] = [[] for _ in kinds]
    spent, rows = [0] * len(kinds), 0
    who = []
    for recording in recordings:
        who.append(recording.listed)
        rows += CriticalTransform(rate_hz).frame_count(len(recording.pcm))
        for at, (kind, size) in enumerate(kinds):
            code = compress(
                recording.pcm,
                rate_hz,
                model=model,
                code_bytes=size,
                rate_kind="average" if kind == "average" else "constant",
            )
            sound, _ = decompress(code, model=model)
            scores[at].append(snr_db(from_pcm(recording.pcm), sound))
            spent[at] += len(code)
        logger.info("%s: %s dB", recording.name, [round(each[-1], 2) for each in scores])
    figures = {
        f"{kind} {size}": {
            "snr_db": round(float(np.mean(scores[at])), 3),
            "bytes_a_row": round(spent[at] / rows, 2),
        }
        for at, (kind, size) in enumerate(kinds)
        if rows
    }
    return figures, who


def make(
    folder: Path, judged: Path | None, location: Location, config: JobConfig, licence: str
) -> tuple[EntropyModel, dict[str, Any]]:
    """Return the model of a folder, and its card, JSON-able."""
    model = trained(folder, location, config)
    rate_hz = config.extract.sample_rate
    table = FeatureSet.open(location).recordings
    sounds = {str(one) for one in table.column("pcm_sha256")[table.frame_count > 0]}
    learned = {
        one.sha256: one.listed for one in recordings_of(folder, rate_hz) if one.pcm_sha256 in sounds
    }
    unseen = () if judged is None else recordings_of(judged, rate_hz)
    figures, who = judge(model, (one for one in unseen if one.pcm_sha256 not in sounds), rate_hz)
    return model, {
        "fingerprint": identify(model).hex(),
        "sample_rate_hz": rate_hz,
        "licence_of_the_music": licence,
        "steps": config.train.max_steps,
        "seed": config.train.seed,
        "trained_on": list(learned.values()),
        "judged_by": who,
        "figures": figures,
    }


def _told(error: FadaeError) -> int:
    """Say what went wrong in a line; return the exit code."""
    logger.error("%s", error)
    return error.exit_code


def main(arguments: Sequence[str] | None = None) -> None:
    """Make the model of a folder and write it with its card."""
    parser = argparse.ArgumentParser(prog="python -m fadae.making", description=__doc__)
    parser.add_argument("folder", type=Path, help="music to train on")
    parser.add_argument("--judge", type=Path, help="music to measure on, never trained on")
    parser.add_argument(
        "--to", type=Path, default=Path(fadae.coding.__file__).parent, help="where to write"
    )
    parser.add_argument("--licence", default="unknown", help="of the music, for the card")
    parser.add_argument("--workspace", help="where to train, and to go on; default: for once")
    parser.add_argument("--steps", type=int, help="of training; default the recipe's")
    asked = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    with tempfile.TemporaryDirectory() as once:
        model, card = make(
            asked.folder,
            asked.judge,
            Location(asked.workspace or str(Path(once) / "workspace")),
            settings(asked.steps),
            asked.licence,
        )
    asked.to.mkdir(parents=True, exist_ok=True)
    (asked.to / "music.safetensors").write_bytes(to_bytes(model))
    (asked.to / "music.json").write_text(json.dumps(card, indent=2) + "\n")


if __name__ == "__main__":
    try:
        main()
    except FadaeError as error:
        sys.exit(_told(error))
