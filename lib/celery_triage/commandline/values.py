"""The value types of Celery's options, by the class name that the option tables record.

Celery's own classes need a loaded application; these refuse the same values without one (sources of
``celery/bin/base.py`` and ``celery/bin/worker.py``, 5.0 to 5.7). A type that is not known here takes any
text."""

from __future__ import annotations

import json
from typing import Any

import click


class Text(click.ParamType):
    """Takes every text. The default for types that are not known."""

    name = "text"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return value


class CommaSeparated(Text):
    """``a,b`` as a list. Celery splits at every comma and keeps blanks around the names."""

    name = "comma separated list"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return value.split(",") if isinstance(value, str) else value


class LogLevel(click.Choice):
    """One of the level names, in any case."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return super().convert(str(value).upper(), param, ctx)


class Autoscale(Text):
    """``max`` or ``max,min``. More than two numbers, or text, are refused."""

    name = "<min workers>, <max workers>"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        parts = str(value).split(",")
        if len(parts) > 2:
            self.fail(
                f"Expected two comma separated integers or one integer.Got {len(parts)} instead.", param, ctx
            )
        try:
            numbers = [int(part) for part in parts]
        except ValueError:
            if len(parts) == 1:
                self.fail(f"Expected an integer. Got {parts} instead.", param, ctx)
            self.fail(f"Expected two comma separated integers. Got {value} instead.", param, ctx)
        return sorted([*numbers, 0][:2], reverse=True)


class Concurrency(Text):
    """A number of 0 or more, or ``auto`` (Celery 5.7's callback ``_concurrency_value``)."""

    name = "concurrency"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not value or str(value).strip().lower() == "auto":
            return value
        try:
            number = int(value)
        except ValueError:
            number = -1
        if number < 0:
            self.fail(f"must be a non-negative integer or 'auto', got {value!r}", param, ctx)
        return number


class Json(Text):
    """JSON text, of the given kind (an object or an array; 5.0 and 5.1 take every kind)."""

    name = "json"

    def __init__(self, kind: type = object) -> None:
        self.kind = kind

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            loaded = json.loads(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)
        if not isinstance(loaded, self.kind):
            self.fail(f"{value} was not an {'array' if self.kind is list else 'object'}", param, ctx)
        return loaded


def value_type(described: dict[str, Any]) -> click.ParamType:
    """The type that a table describes as ``{"name": class name, "choices": …, "callback": …}``."""
    name = described["name"]
    if described.get("callback") == "_concurrency_value":
        return Concurrency()
    if name == "LogLevel":
        return LogLevel(described["choices"])
    if name == "WorkersPool" and "threads" not in described["choices"]:
        return Text()  # 5.0 shows its choices and checks none (5.0.5 starts with threads)
    if "choices" in described:
        return click.Choice(described["choices"], case_sensitive=described.get("case_sensitive", True))
    if name in ("IntRange", "FloatRange"):
        limits = {key: described[key] for key in ("min", "max") if key in described}
        return click.IntRange(**limits) if name == "IntRange" else click.FloatRange(**limits)
    plain: dict[str, click.ParamType] = {
        "IntParamType": click.INT,
        "FloatParamType": click.FLOAT,
        "BoolParamType": click.BOOL,
        "CommaSeparatedList": CommaSeparated(),
        "Autoscale": Autoscale(),
        "Json": Json(),
        "JsonArray": Json(list),
        "JsonObject": Json(dict),
    }
    return plain.get(name, Text())
