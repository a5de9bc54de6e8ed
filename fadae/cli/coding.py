"""The commands about codes: `encode` and `decode` of one file, `compare` of many."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO

import typer

from fadae.cli.derive import picked
from fadae.cli.output import Shown, Summary
from fadae.cli.reading import Seconds, pair_of
from fadae.config import EncodeConfig, Job
from fadae.errors import UsageError

if TYPE_CHECKING:
    from fadae.coding import EntropyModel
    from fadae.compare import Comparison
    from fadae.store import Location

AudioFile = Annotated[Path, typer.Argument(metavar="FILE", help="Recording, in any format.")]
CodeFile = Annotated[Path, typer.Argument(metavar="FILE", help="Code that `fadae encode` wrote.")]
EncodedFile = Annotated[Path, typer.Option("--to", help="File to write, as song.fadae.")]
SoundFile = Annotated[Path, typer.Option("--to", help="File to write: .wav, .flac, .ogg or .mp3.")]
ModelFile = Annotated[
    Path | None,
    typer.Option("--model", help="File of an entropy model; default the one in the package."),
]
Fill = Annotated[
    float,
    typer.Option(
        min=0,
        max=1,
        help="Put noise where the code holds zeros: less muffled, and farther from the samples. "
        "0.3 to 0.5 is a good strength.",
    ),
]
Runs = Annotated[
    list[str] | None,
    typer.Argument(metavar="[RUN]...", help="Runs to compare; default: all. Or more --files."),
]
Files = Annotated[
    list[Path] | None,
    typer.Option(
        "--files",
        metavar="FILE...",
        help="Audio files or folders to compare over, instead of the workspace's recordings.",
    ),
]
CodeBytes = Annotated[
    list[int] | None,
    typer.Option(
        "--code-bytes", min=16, max=8192, help="Bytes a row; repeatable; default 128, 256, 512."
    ),
]
CompareSeconds = Annotated[
    float, typer.Option(min=1, max=600, help="Seconds of each recording, from its middle.")
]
CompareLimit = Annotated[int, typer.Option(min=1, max=1000, help="At most this many recordings.")]
Everything = Annotated[
    bool, typer.Option("--all", help="Take recordings that a code was trained on, too.")
]
Visqol = Annotated[
    bool, typer.Option("--visqol", help="Measure ViSQOL too: slow; needs fadae[visqol].")
]
CompareName = Annotated[str, typer.Option("--name", help="Name of the comparison.")]
CompareTo = Annotated[
    Path | None,
    typer.Option("--to", metavar="FOLDER", help="Write NAME.json, .png and .md here as well."),
]
CompareSeed = Annotated[int, typer.Option(min=0, help="Seed of the bootstrap intervals.")]


def encode(
    file: AudioFile,
    to: EncodedFile,
    config: EncodeConfig,
    workspace: str = picked(Job, "workspace"),
    run: str | None = picked(Job, "run"),
    model: ModelFile = None,
) -> Summary:
    """Compress a recording to a .fadae file, by the packaged model, a run's, or a file's."""
    from fadae.coding import encode_file

    own, rate_hz = _model(workspace, run, model)
    if not file.is_file():
        raise UsageError(f"{file}: no such file")
    code = encode_file(
        file,
        model=own,
        code_bytes=config.code_bytes,
        rate_kind=config.rate,
        sample_rate_hz=config.sample_rate or rate_hz or 11025,
    )
    _write(to, code)
    summary = _about(to, own)
    bits = 8 * len(code)
    return {**summary, "kbps": bits / 1000 / summary["seconds"] if summary["seconds"] else None}


def decode(
    file: CodeFile,
    to: SoundFile,
    seconds: Seconds = None,
    workspace: str = picked(Job, "workspace"),
    run: str | None = picked(Job, "run"),
    model: ModelFile = None,
    fill: Fill = 0.0,
) -> Summary:
    """Write the sound of a .fadae file, or of a part of it, which decodes without the rest."""
    from fadae.audio import write
    from fadae.coding import Decoder

    kind = to.suffix.lower().removeprefix(".")
    if kind not in write.FORMATS:
        raise UsageError(f"{to}: the name ends in one of {', '.join(write.FORMATS)}")
    own, _ = _model(workspace, run, model)
    low, high = pair_of(seconds, "--seconds") or (None, None)
    with _opened(file) as opened:
        decoder = Decoder(opened, own, fill=fill)
        blocks = decoder.blocks(*decoder.span(low, high))
        part = to.with_name(f".{to.name}.part")
        try:
            samples = write.write_blocks(part, blocks, decoder.sample_rate_hz, kind)
            part.replace(to)  # what is there stays until all of it has decoded
        except OSError as error:
            raise UsageError(f"cannot write {to}: {error.strerror or error}") from error
        finally:
            part.unlink(missing_ok=True)
    return {
        "file": str(to),
        "samples": samples,
        "rate_hz": decoder.sample_rate_hz,
        "seconds": samples / decoder.sample_rate_hz,
        "fill": fill,
    }


def compare(
    runs: Runs = None,
    workspace: str = picked(Job, "workspace"),
    files: Files = None,
    code_bytes: CodeBytes = None,
    seconds: CompareSeconds = 30.0,
    limit: CompareLimit = 12,
    everything: Everything = False,
    visqol: Visqol = False,
    name: CompareName = "default",
    seed: CompareSeed = 0,
    to: CompareTo = None,
) -> Summary:
    """Compare codes by rate and distortion: runs, the packaged model, Opus, AAC, MP3 and Vorbis."""
    from fadae.compare import CompareConfig, table
    from fadae.compare import compare as compared
    from fadae.store import Location

    location = Location(workspace)
    named, paths = _runs_and_files(location, runs or [], files or [])
    config = CompareConfig(
        runs=named,
        files=paths,
        name=name,
        seconds=seconds,
        limit=limit,
        everything=everything,
        visqol=visqol,
        seed=seed,
        **({"code_bytes": tuple(sorted(set(code_bytes)))} if code_bytes else {}),
    )
    comparison = compared(location, config)
    if to is not None:
        _write_comparison(to, comparison)
    return Shown(dict(comparison), table.text(comparison))


def _runs_and_files(
    location: Location, names: list[str], files: list[Path]
) -> tuple[tuple[str, ...], tuple[Path, ...]]:
    """Return the runs and the files: a shell writes `--files *.ogg` as one and many more names."""
    if not files:
        return tuple(names), ()
    from fadae.training import trained_runs

    known = trained_runs(location)
    more = [Path(name) for name in names if name not in known and Path(name).exists()]
    runs = [name for name in names if Path(name) not in more]
    return tuple(runs), (*files, *more)


def _write_comparison(folder: Path, comparison: Comparison) -> None:
    """Write a comparison as JSON, as a table and as a plot."""
    from fadae import figures
    from fadae.compare import result, table

    name = comparison["name"]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"cannot write {folder}: {error.strerror or error}") from error
    _write(folder / f"{name}.json", result.to_json(comparison).encode())
    _write(folder / f"{name}.md", table.markdown(comparison).encode())
    _write(folder / f"{name}.png", figures.rate_distortion(comparison))


def _opened(file: Path) -> BinaryIO:
    try:
        return file.open("rb")
    except OSError as error:
        raise UsageError(f"cannot read {file}: {error.strerror or error}") from error


def _model(
    workspace: str, run: str | None, file: Path | None
) -> tuple[EntropyModel | None, int | None]:
    """Return the model asked for, None for the packaged one, and its sample rate where known."""
    from fadae.coding import from_bytes

    if run is not None and file is not None:
        raise UsageError("--run or --model, not both")
    if run is not None:
        from fadae.model import Codec
        from fadae.store import Location

        codec = Codec.load(Location(workspace), run, "cpu")
        return codec.entropy, codec.sample_rate_hz
    if file is None:
        return None, None
    try:
        return from_bytes(file.read_bytes()), None
    except OSError as error:
        raise UsageError(f"cannot read {file}: {error.strerror or error}") from error


def _about(path: Path, model: EntropyModel | None) -> Summary:
    """Return what a .fadae file says of itself."""
    from fadae.coding import Decoder

    with path.open("rb") as opened:
        decoder = Decoder(opened, model)
    size = path.stat().st_size
    return {
        "file": str(path),
        "bytes": size,
        "rows": decoder.rows,
        "bytes_a_row": size / decoder.rows if decoder.rows else None,
        "seconds": decoder.samples / decoder.sample_rate_hz,
        "rate_hz": decoder.sample_rate_hz,
        "model": decoder.fingerprint.hex(),
    }


def _write(path: Path, data: bytes) -> None:
    try:
        path.write_bytes(data)
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror or error}") from error
