"""Click commands rebuilt from an option table, without Celery's defaults, callbacks and side effects."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import click

from celery_triage.commandline.values import CommaSeparated, value_type


class _FromEnvironment:
    """An option or argument that reads its variables from the given environment, never from this
    process's."""

    environment: Mapping[str, str] = {}
    taken_from = ""

    def resolve_envvar_value(self, ctx: click.Context) -> str | None:
        names = [self.envvar] if isinstance(self.envvar, str) else list(self.envvar or ())
        if ctx.auto_envvar_prefix is not None and getattr(self, "allow_from_autoenv", False) and self.name:
            names.append(f"{ctx.auto_envvar_prefix}_{self.name.upper()}")
        for name in names:
            if self.environment.get(name):
                self.taken_from = name
                return self.environment[name]
        return None


class _Option(_FromEnvironment, click.Option):
    pass


class _Argument(_FromEnvironment, click.Argument):
    pass


class _Unexpanded(click.ParamType):
    """Judges a value only when no shell is going to replace part of it."""

    name = "value"

    def __init__(self, judge: click.ParamType) -> None:
        self.judge = judge
        self.choices = getattr(judge, "choices", ())

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, str) and ("$" in value or "`" in value):
            return value
        return self.judge.convert(value, param, ctx)


def _asked_for_help(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        raise click.exceptions.Exit(0)


class _Commands(dict[str, click.Command]):
    """Commands by name, each built when it is asked for: of some twenty a command line uses one, and there
    may be thousands of command lines."""

    def __init__(self, names: Iterable[str], build: Callable[[str], click.Command]) -> None:
        super().__init__(dict.fromkeys(names))  # type: ignore[arg-type]
        self._build = build

    def __getitem__(self, name: str) -> click.Command:
        if super().__getitem__(name) is None:
            self[name] = self._build(name)
        return super().__getitem__(name)

    def get(self, name: str, default: Any = None) -> Any:
        return self[name] if name in self else default

    def values(self) -> list[click.Command]:  # type: ignore[override]
        return [self[name] for name in self]

    def items(self) -> list[tuple[str, click.Command]]:  # type: ignore[override]
        return [(name, self[name]) for name in self]


class Builder:
    """Builds commands that read their variables from ``environment``; ``expands`` as in ``parse``."""

    def __init__(self, environment: Mapping[str, str], expands: bool) -> None:
        self.environment, self.expands = environment, expands

    def root(self, table: dict[str, Any], flower: dict[str, Any] | None) -> click.Group:
        """The ``celery`` group of a table, with Flower's command where its table is given."""
        root = self.command("celery", table["root"])
        if flower is not None and flower.get("command"):
            root.add_command(self.command("flower", flower["command"]), "flower")
        return root

    def command(self, name: str, described: dict[str, Any]) -> click.Command:
        context = dict(described["context"])
        prints_help = context.pop("no_args_is_help", False)
        context.pop("invoke_without_command", None)
        settings: dict[str, Any] = {
            "name": name,
            "context_settings": context,
            "add_help_option": False,
            "params": [self.param(param) for param in _without_doubles(described["params"])] + [self.help()],
        }
        if "commands" not in described:
            return click.Command(**settings)
        # Without this a group that lacks its sub-command raises before it has read its own words.
        group = click.Group(**settings, invoke_without_command=True)
        group.prints_help = prints_help  # type: ignore[attr-defined]
        below = described["commands"]
        group.commands = _Commands(below, lambda sub: self.command(sub, below[sub]))
        return group

    def help(self) -> click.Option:
        return click.Option(
            ["--help"], is_flag=True, is_eager=True, expose_value=False, callback=_asked_for_help
        )

    def param(self, described: dict[str, Any]) -> click.Parameter:
        kind = value_type(described["type"])
        if self.expands and not described.get("is_flag") and not isinstance(kind, CommaSeparated):
            kind = _Unexpanded(kind)
        built: click.Parameter
        if described["kind"] == "argument":
            built = _Argument(
                [described["name"]],
                nargs=described.get("nargs", 1),
                type=kind,
                required=described.get("required", False),
                envvar=described.get("envvar"),
            )
        else:
            built = self.option(described, kind)
        built.environment = self.environment  # type: ignore[attr-defined]
        return built

    def option(self, described: dict[str, Any], kind: click.ParamType) -> click.Option:
        opts, secondary = described["opts"], described.get("secondary_opts", [])
        if secondary:
            opts = [f"{opts[0]}/{secondary[0]}", *opts[1:]]
        settings: dict[str, Any] = {
            "envvar": described.get("envvar"),
            "default": None,
            "required": described.get("required", False),
        }
        if described.get("count"):
            settings["count"] = True
        elif described.get("is_flag"):
            settings["is_flag"] = True
        else:
            settings |= {
                "nargs": described.get("nargs", 1),
                "multiple": described.get("multiple", False),
                "type": kind,
            }
            if described.get("value_optional"):
                settings |= {"is_flag": False, "flag_value": ""}
        return _Option([*opts, described["name"]], **settings)


def _without_doubles(params: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A name that two options of a command declare is the later one's (``-d`` of ``events``, 5.3 and 5.4)."""
    taken: set[str] = set()
    kept = []
    for param in reversed(params):
        opts = [name for name in param.get("opts", ()) if name not in taken]
        taken.update(opts)
        kept.append({**param, "opts": opts} if "opts" in param else param)
    return kept[::-1]
