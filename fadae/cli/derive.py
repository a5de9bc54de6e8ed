"""Commands from declarations: a function of option sections becomes one of flags.

A command takes sections of options, as `def train(job: Job, config: TrainConfig)`; typer is given
the flags they declare. `picked(TrainConfig, "run")` as a default takes a single option.
"""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from fadae.config import (
    FILE,
    TOP,
    Declared,
    FileSettings,
    Section,
    check_value,
    declared,
    load_recipe,
    load_settings,
)
from fadae.errors import UsageError

_LAYERS, _ERROR = "fadae.settings", "fadae.error"
_KEYWORD = inspect.Parameter.KEYWORD_ONLY


@dataclass(frozen=True)
class Picked:
    """One option of a section, as the default of a command's parameter."""

    option: Declared


def picked(section: type[Section], name: str) -> Any:
    """Return a default that makes a command's parameter that one option of a section."""
    (one,) = [one for one in declared(section) if one.name == name]
    return Picked(one)


def command(function: Callable[..., Any], sections: Sequence[type[Section]]) -> Callable[..., Any]:
    """Return a function as typer takes it: one keyword parameter for each option.

    `sections` are all that fadae.toml may hold. Raises UsageError, when it is called, for values
    that an option does not take, and for settings files that are not right.
    """
    signature = inspect.signature(function, eval_str=True)
    groups: dict[str, type[Any]] = {
        name: parameter.annotation
        for name, parameter in signature.parameters.items()
        if hasattr(parameter.annotation, "section")
    }
    single = {
        name: parameter.default.option
        for name, parameter in signature.parameters.items()
        if isinstance(parameter.default, Picked)
    }
    options = _options(signature, groups)

    @functools.wraps(function)
    def call(**values: Any) -> Any:
        ctx = values.get("ctx")
        if ctx is not None and _ERROR in ctx.meta:
            raise ctx.meta[_ERROR]
        arguments: dict[str, object] = {}
        for name in signature.parameters:
            if name in groups:
                own = [one for one in options if one.section == groups[name].section]
                arguments[name] = groups[name](
                    **{one.name: _value(one, values[one.name]) for one in own}
                )
            elif name in single:
                one = single[name]
                arguments[name] = _value(one, values[one.name])
                check_value(one, arguments[name])
            elif name == "ctx":
                arguments[name] = ctx
            else:
                arguments[name] = values[name]
        return function(**arguments)

    plain = [
        parameter.replace(kind=_KEYWORD)
        for name, parameter in signature.parameters.items()
        if name not in groups and name not in single and name != "ctx"
    ]
    files = _file_parameters(options, sections) if options else []
    parameters = [*files, *map(_parameter, options), *plain]
    call.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    call.__annotations__ = {p.name: p.annotation for p in parameters} | {"return": None}
    return call


def origins(ctx: typer.Context, options: Sequence[Declared]) -> dict[str, str]:
    """Return where the value of each option came from: flag, variable, file, recipe, default."""
    return {one.name: _origin(ctx, one) for one in options}


def _origin(ctx: typer.Context, one: Declared) -> str:
    source = ctx.get_parameter_source(one.name)
    kind = "DEFAULT" if source is None else source.name
    if kind == "ENVIRONMENT":
        return one.env
    if kind == "DEFAULT_MAP":
        if one.about.lines and os.environ.get(one.env):
            return one.env
        layers: list[FileSettings] = ctx.meta[_LAYERS]
        return next(settings.origin for settings in layers if settings.get(one) is not None)
    return "flag" if kind == "COMMANDLINE" else "default"


def _options(signature: inspect.Signature, groups: dict[str, type[Any]]) -> list[Declared]:
    options: list[Declared] = []
    for name, parameter in signature.parameters.items():
        if name in groups:
            options += declared(groups[name])
        elif isinstance(parameter.default, Picked):
            options.append(parameter.default.option)
    options.sort(key=lambda one: one.section != TOP)  # what all commands share comes first
    names = [one.name for one in options]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise TypeError(f"two sections of one command declare {', '.join(sorted(twice))}")
    return options


def _parameter(one: Declared) -> inspect.Parameter:
    """Return an option as typer takes it; `check` holds the bounds that typer cannot show."""
    kind: Any = list[one.kind] if one.repeatable else one.kind  # type: ignore[name-defined]
    default = None if one.repeatable and not one.default else one.default
    if one.about.joined:
        kind, default = str, _joined(one.default)
    elif one.optional or one.repeatable:
        kind = kind | None
    annotation = Annotated[kind, _typed(one)]
    return inspect.Parameter(one.name, _KEYWORD, default=default, annotation=annotation)


def _typed(one: Declared) -> Any:
    about = one.about
    if about.positional:
        word = one.name.rstrip("s").upper()
        return typer.Argument(metavar=word, envvar=one.env, help=about.help)
    flag = f"{one.flag}/--no-{one.key}" if one.kind is bool else one.flag
    number = one.kind in (int, float)
    bounded = number and not about.joined
    return typer.Option(
        *([about.short] if about.short else []),
        flag,
        envvar=one.env if about.shared and not about.lines else None,
        help=f"{about.help}  [env var: {one.env}, one a line]" if about.lines else about.help,
        metavar="|".join(about.choices) or about.unit.upper() or ("N" if number else "TEXT"),
        min=about.minimum if bounded else None,
        max=about.maximum if bounded else None,
        show_default=one.kind is not bool,
    )


def _joined(values: Any) -> str:
    return ",".join(map(str, values))


def _value(one: Declared, value: Any) -> Any:
    if one.about.joined:
        value = one.read(value)
    return tuple(value or ()) if one.repeatable else value


def _file_parameters(
    options: Sequence[Declared], sections: Sequence[type[Section]]
) -> list[inspect.Parameter]:
    """Return the parameters that load files: eager, so that the others find what files set.

    Eager parameters come in the order they are typed; each loads again with what is known by then.
    """

    def noting(key: str) -> Callable[[typer.Context, str | None], str | None]:
        def note(ctx: typer.Context, value: str | None) -> str | None:
            ctx.meta[key] = value
            try:
                ctx.meta[_LAYERS] = _layers(
                    ctx.meta.get("config"), ctx.meta.get("recipe"), sections
                )
            except UsageError as error:
                ctx.meta[_ERROR] = error  # raised by the call, whose errors are one line
            else:
                _set_defaults(ctx, options, ctx.meta[_LAYERS])
            return value

        return note

    config = typer.Option(
        "--config",
        envvar="FADAE_CONFIG",
        metavar="FILE",
        is_eager=True,
        callback=noting("config"),
        help=f"Settings file; ./{FILE} is read where there is one.",
    )
    recipe = typer.Option(
        "--recipe",
        envvar="FADAE_RECIPE",
        metavar="NAME",
        is_eager=True,
        callback=noting("recipe"),
        help="Settings under a name, or a .toml file. Options given beside it win.",
    )
    text = str | None
    parameters = [
        inspect.Parameter("ctx", _KEYWORD, annotation=typer.Context),
        inspect.Parameter("config", _KEYWORD, default=None, annotation=Annotated[text, config]),
    ]
    if any(one.section != TOP for one in options):  # a recipe says nothing of what all share
        parameters.append(
            inspect.Parameter("recipe", _KEYWORD, default=None, annotation=Annotated[text, recipe])
        )
    return parameters


def _layers(
    config: str | None, recipe: str | None, sections: Sequence[type[Section]]
) -> list[FileSettings]:
    """Return the settings of the file and of the recipe, the winning one first."""
    path = Path(config or FILE)
    layers = [load_settings(path, sections)] if config or path.is_file() else []
    name = recipe or (layers[0].recipe if layers else None)
    return [*layers, load_recipe(name, sections)] if name else layers


def _lines(options: Sequence[Declared]) -> Iterator[tuple[Declared, list[str]]]:
    """Yield the options that a variable sets with a value a line: typer would split at spaces."""
    for one in options:
        if one.about.lines and os.environ.get(one.env):
            yield one, one.read(os.environ[one.env])


def _set_defaults(
    ctx: typer.Context, options: Sequence[Declared], layers: Sequence[FileSettings]
) -> None:
    """Let files stand in for defaults: earlier layers win."""
    found: dict[str, object] = {}
    for settings in reversed(layers):
        for one in options:
            value = settings.get(one)
            if value is not None:
                found[one.name] = _joined(value) if one.about.joined else value
    found |= {one.name: value for one, value in _lines(options)}
    ctx.default_map = {**(ctx.default_map or {}), **found}
