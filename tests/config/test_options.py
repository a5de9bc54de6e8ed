"""Options: declared once, bounded, read from flags, variables, files and recipes."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest
import typer
from typer.testing import CliRunner

from fadae.cli.derive import command, origins, picked
from fadae.config.files import load_recipe, parse_settings, recipe_names
from fadae.config.options import check, declared, option
from fadae.errors import UsageError


@dataclass(frozen=True)
class Job:
    section: ClassVar[str] = "job"
    workspace: str = option("./here", short="-w", help="Folder.")
    words: tuple[str, ...] = option((), help="Words.", positional=True)

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True)
class Oven:
    section: ClassVar[str] = "oven"
    heat: float = option(180.0, help="Heat.", unit="C", above=0, maximum=300)
    minutes: int | None = option(None, help="Time.", unit="min", minimum=1)
    mode: str = option("top", help="Mode.", choices=("top", "fan"))
    light: bool = option(False, help="Light.")
    inner: int = 4  # no option: nobody sets it from outside

    def __post_init__(self) -> None:
        check(self)


SECTIONS = (Job, Oven)


def bake(ctx: typer.Context, job: Job, oven: Oven) -> None:
    """Bake."""
    print((job, oven))
    print(origins(ctx, [*declared(Job), *declared(Oven)]))


def warm(heat: float = picked(Oven, "heat")) -> None:
    """Warm."""
    print(heat)


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> typer.Typer:
    monkeypatch.chdir(tmp_path)
    made = typer.Typer()
    made.command()(command(bake, SECTIONS))
    made.command()(command(warm, SECTIONS))
    return made


def run(app: typer.Typer, *arguments: str, env: dict[str, str] | None = None) -> str:
    result = CliRunner().invoke(app, list(arguments), env=env or {})
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.output


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"heat": 0.0}, r"--heat 0.0: above 0 and at most 300 C|--heat 0.0: at most 300 and above"),
        ({"heat": 301.0}, "--heat 301.0"),
        ({"minutes": 0}, "--minutes 0: at least 1 min"),
        ({"minutes": 1.5}, "--minutes 1.5: expected a whole number"),
        ({"mode": "grill"}, "--mode grill: one of top, fan"),
        ({"light": "yes"}, "--light yes: expected true or false"),
        ({"heat": True}, "--heat True: expected a number"),
    ],
)
def test_a_section_refuses_what_its_options_do_not_take(
    values: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        Oven(**values)


def test_flag_then_variable_then_file_then_recipe_then_default(app: typer.Typer) -> None:
    Path("fadae.toml").write_text('recipe = "r.toml"\n[oven]\nheat = 90\nmode = "fan"\n')
    Path("r.toml").write_text('[oven]\nheat = 10\nminutes = 7\nmode = "top"\n')
    shown = run(app, "bake", "--light", "a", "b", env={"FADAE_HEAT": "120"})
    assert "Oven(heat=120.0, minutes=7, mode='fan', light=True, inner=4)" in shown
    assert "words=('a', 'b')" in shown
    assert (
        "{'workspace': 'default', 'words': 'flag', 'heat': 'FADAE_HEAT', 'minutes': 'r.toml', "
        "'mode': 'fadae.toml', 'light': 'flag'}" in shown
    )
    assert "heat=50.0" in run(app, "bake", "--heat", "50", env={"FADAE_HEAT": "120"})


def test_a_switch_that_a_file_sets_can_be_switched_off(app: typer.Typer) -> None:
    Path("fadae.toml").write_text("[oven]\nlight = true\n")
    assert "light=True" in run(app, "bake")
    assert "light=False" in run(app, "bake", "--no-light")


def test_a_command_may_pick_a_single_option(app: typer.Typer) -> None:
    Path("fadae.toml").write_text("[oven]\nheat = 33\n")
    assert run(app, "warm").strip() == "33.0"
    assert run(app, "warm", "--heat", "40").strip() == "40.0"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[oven]\nheatt = 1\n", "unknown key oven.heatt; the nearest is oven.heat"),
        ("[ovn]\nheat = 1\n", r"unknown table \[ovn\]; the nearest is oven"),
        ('work-space = "x"\n', "unknown key work-space; the nearest is workspace"),
        ("[oven]\ninner = 1\n", "unknown key oven.inner"),
        ('[oven]\nheat = "hot"\n', "heat 'hot': expected a number"),
        ("[oven]\nheat = 1000\n", "heat 1000: at most 300"),
        ("[oven\n", "is not TOML"),
        ("recipe = 3\n", "expected the name of a recipe"),
    ],
)
def test_a_file_is_refused_for_what_it_cannot_mean(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse_settings(text, "fadae.toml", SECTIONS)


@pytest.mark.parametrize("arguments", [["--config", "none.toml"], ["--recipe", "none"]])
def test_settings_that_are_not_there_are_a_usage_error(
    app: typer.Typer, arguments: list[str]
) -> None:
    with pytest.raises(UsageError, match="none"):
        run(app, "bake", *arguments)


def test_keys_may_be_written_with_either_dash() -> None:
    @dataclass(frozen=True)
    class Long:
        section: ClassVar[str] = "long"
        two_words: int = option(1, help="Two.")

    for key in ("two-words", "two_words"):
        settings = parse_settings(f"[long]\n{key} = 5\n", "x", (Job, Long))
        assert settings.get(declared(Long)[0]) == 5


def test_there_is_the_recipe_of_2017() -> None:
    assert "seed" in recipe_names()
    with pytest.raises(UsageError, match="unknown table"):
        load_recipe("seed", SECTIONS)  # it speaks of fadae's own sections


def test_declarations_load_no_library() -> None:
    code = (
        "import fadae.config.options, fadae.config.files, sys;"
        "sys.exit(bool({'typer', 'numpy', 'torch', 'dask', 'zarr'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
