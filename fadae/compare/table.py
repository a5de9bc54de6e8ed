"""A comparison as a table: for a terminal, and as Markdown."""

from __future__ import annotations

from fadae.compare.result import Comparison, Interval, label, measured
from fadae.records import printable


def cells(comparison: Comparison) -> tuple[list[str], list[list[str]]]:
    """Return the heads and the rows of the table: a row a code and setting."""
    keys = measured(comparison)
    heads = ["code", "setting", "kbps", "payload"]
    for key in keys:
        measure = comparison["measures"][key]
        heads.append(" ".join(part for part in (measure["name"], measure["unit"]) if part))
    rows = [
        [
            label(code) + ("*" if code["trained_on"] else ""),
            code["setting"],
            f"{code['kbps']:.1f}",
            f"{code['payload_kbps']:.1f}",
            *(_shown(code["scores"].get(key)) for key in keys),
        ]
        for code in comparison["codes"]
    ]
    return heads, rows


def _shown(one: Interval | None) -> str:
    if one is None or one["mean"] is None:
        return "-"
    return f"{one['mean']:.2f} [{one['low']:.2f}, {one['high']:.2f}]"


def explained(comparison: Comparison) -> list[str]:
    """Return what is to be known beside the table, a sentence or two each."""
    recordings, rate_hz = comparison["recordings"], comparison["sample_rate_hz"]
    total = sum(one["seconds"] for one in recordings)
    lines = [
        f"{len(recordings)} recordings, {total:.0f} s in all, mono at {rate_hz} Hz. Means over "
        f"recordings, with {comparison['confidence']:.0%} bootstrap intervals.",
        "kbps counts the whole file; payload leaves out what a container adds. Higher SNR, SI-SDR "
        "and ViSQOL are better, lower LSD and MR-STFT.",
    ]
    if any(code["kind"] == "codec" for code in comparison["codes"]):
        lines.append(
            "Opus, AAC, MP3 and Vorbis are made for ears and short delay, byte codes for the "
            "waveform, at 0.34 s a row. SNR measures waveforms."
        )
    if any(code["trained_on"] for code in comparison["codes"]):
        lines.append("* was trained on some of these recordings.")
    return lines + comparison["remarks"]


def text(comparison: Comparison) -> str:
    """Return the table as lines for a terminal, and what is to be known beside it."""
    heads, rows = cells(comparison)
    table = [heads, *([printable(cell) for cell in row] for row in rows)]
    widths = [max(len(row[column]) for row in table) for column in range(len(heads))]
    lines = [
        "  ".join(
            cell.ljust(width) if column < 2 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in table
    ]
    held = ", ".join(printable(one["title"] or one["id"]) for one in comparison["recordings"])
    left = [f"{printable(one['id'])}: {printable(one['reason'])}" for one in comparison["left_out"]]
    parts = [*lines, "", *explained(comparison), f"Compared over: {held}."]
    return "\n".join(parts + (["Left out:", *(f"  {one}" for one in left)] if left else []))


def markdown(comparison: Comparison) -> str:
    """Return the table as Markdown, with what is to be known beside it."""
    heads, rows = cells(comparison)
    lines = [
        f"# Comparison of codes: {_plain(comparison['name'])}",
        "",
        f"Made by `{comparison['command']}`.",
        "",
        f"| {' | '.join(heads)} |",
        f"|{'---|' * 2}{'---:|' * (len(heads) - 2)}",
        *(f"| {' | '.join(row)} |" for row in rows),
        "",
        *explained(comparison),
        "",
        "| encoder | |",
        "|---|---|",
        *(f"| {name} | {about} |" for name, about in _encoders(comparison).items()),
        "",
        "Recordings: "
        + "; ".join(
            f"{_plain(one['title'] or one['id'])} ({one['start_seconds']:.0f} to "
            f"{one['start_seconds'] + one['seconds']:.0f} s)"
            for one in comparison["recordings"]
        )
        + ".",
    ]
    if comparison["left_out"]:
        left = (f"{_plain(one['id'])} ({_plain(one['reason'])})" for one in comparison["left_out"])
        lines.append(f"\nLeft out: {'; '.join(left)}.")
    return "\n".join(lines) + "\n"


def _encoders(comparison: Comparison) -> dict[str, str]:
    return {label(code): code["about"] for code in comparison["codes"]}


def _plain(text: str) -> str:
    """Return an outside text as one line that no table or markup breaks."""
    return "".join(c if c.isprintable() and c not in "|<>`[]*" else " " for c in text)
