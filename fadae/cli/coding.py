"""The commands about one file: `encode` and `decode`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO

import typer

from fadae.cli.derive import picked
from fadae.cli.output import Summary
from fadae.cli.reading import Seconds, pair_of
from fadae.config import EncodeConfig, Job
from fadae.errors import UsageError

if TYPE_CHECKING:
    from fadae.coding import EntropyModel

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
        metavar="0..1",
        help="Put noise where the code holds zeros: less muffled, and farther from the samples. "
        "0.3 to 0.5 is a good strength.",
    ),
]


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
    from fadae.audio import Tags, write
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
            tags = Tags(source=file.name, run=run or "", model_sha256=decoder.fingerprint.hex())
            samples = write.write_blocks(part, blocks, decoder.sample_rate_hz, kind, tags)
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
