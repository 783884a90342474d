"""Which Python module a URL needs, whether the image has it, and the URL that works with what it has.

Measured with SQLAlchemy 1.4.54, 2.0.58 and 2.1.9 in environments of their own: ``postgresql://`` means
psycopg2 up to 2.0 and psycopg (version 3) from 2.1 on, also when only the other one is installed;
``postgres://`` is refused by all three; ``postgresql+psycopg://`` is unknown to 1.4.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from celery_triage.urls import schemes
from celery_triage.urls.model import ParsedUrl
from celery_triage.urls.sql import PREFIXES

#: Families that need one package beside Celery and kombu, and the key under which ``files`` reports it.
_PLAIN = {"redis": "redis", "amqp": "amqp", "sqs": "boto3", "mongodb": "pymongo", "kafka": "confluent_kafka"}
#: Which driver to take for a dialect when several are installed: the first one.
_PREFERRED = {"postgresql": ("psycopg", "psycopg2", "pg8000"), "mysql": ("mysqldb", "pymysql"),
              "mariadb": ("mysqldb", "pymysql")}


@dataclass(frozen=True)
class Need:
    """What a URL needs. ``module`` is imported (``psycopg2``), ``package`` is what pip installs;
    ``present`` is None when it cannot be known; ``version`` is the module's, where known. ``how`` says by
    what it was decided. ``fix`` is the same URL with the scheme that works with what is installed,
    ``fix_old`` and ``fix_new`` are the fragments to exchange; all three are empty where the URL is right or
    where nothing suitable is installed."""

    module: str
    package: str
    present: bool | None
    version: str | None = None
    how: str = ""
    fix: str = ""
    fix_old: str = ""
    fix_new: str = ""


def needed_driver(parsed: ParsedUrl, packages: Mapping[str, Mapping] | None) -> Need | None:
    """The module that this URL needs before all others and does not have, else the one that decides.

    ``packages`` is ``packages`` of a ``files/<label>`` section: ``{"psycopg2": {"present": False}, …}``; an
    absent key means that nobody looked. None when the URL needs nothing of its own (rpc, memory, sqlite,
    file).
    """
    packages = packages or {}
    if parsed.family in _PLAIN:
        module = _PLAIN[parsed.family]
        return Need(module, _package(module), _present(packages, module), _version(packages, module),
                    how=f"{parsed.scheme}:// is spoken with the package {module}")
    if parsed.family != "sql" or not parsed.dialect:
        return None
    if _present(packages, "sqlalchemy") is False:
        return Need("sqlalchemy", "SQLAlchemy", False, how=f"{parsed.scheme}:// is used through SQLAlchemy")
    return _sql_need(parsed, packages)


def _sql_need(parsed: ParsedUrl, packages: Mapping[str, Mapping]) -> Need | None:
    dialect = schemes.DIALECT_SLIPS.get(parsed.dialect.lower(), parsed.dialect.lower())
    entry = schemes.DIALECTS.get(dialect)
    if entry is None or dialect == "sqlite":
        return None
    sqlalchemy = version_tuple(_version(packages, "sqlalchemy"))
    named = schemes.DRIVER_SLIPS.get(parsed.driver or "", parsed.driver)
    if named:
        drivers, how = [named], f"the URL names the driver {named}"
    elif sqlalchemy:
        since = max(first for first in entry["default"] if first <= sqlalchemy)
        drivers = [entry["default"][since]]
        how = (f"without a driver in the URL, SQLAlchemy {_version(packages, 'sqlalchemy')} takes "
               f"{drivers[0]} for {dialect}")
    else:
        drivers = list(dict.fromkeys(entry["default"].values()))
        how = f"the version of SQLAlchemy is unknown; it takes {' or '.join(drivers)} for {dialect}"
    modules = [entry["drivers"].get(driver, driver) for driver in drivers]
    states = [_present(packages, module) for module in modules]
    present = states[0] if len(set(states)) == 1 else None
    too_old = named in schemes.DRIVER_SINCE and sqlalchemy and sqlalchemy < schemes.DRIVER_SINCE[named]
    if too_old:
        how += f", which SQLAlchemy {_version(packages, 'sqlalchemy')} does not know yet"
        present = False
    module = " or ".join(modules)
    need = Need(module, " or ".join(_package(name) for name in modules), present,
                _version(packages, modules[0]) if len(modules) == 1 else None, how)
    if present is False or parsed.dialect != dialect or parsed.driver in schemes.DRIVER_SLIPS:
        return _with_fix(need, parsed, dialect, entry, packages, sqlalchemy)
    if parsed.driver in schemes.ASYNC_DRIVERS and parsed.purpose in ("broker", "result"):
        return _with_fix(need, parsed, dialect, entry, packages, sqlalchemy)
    return need


def _with_fix(need: Need, parsed: ParsedUrl, dialect: str, entry: Mapping, packages, sqlalchemy) -> Need:
    for driver in _PREFERRED.get(dialect, ()):
        since = schemes.DRIVER_SINCE.get(driver)
        if since and (not sqlalchemy or sqlalchemy < since):
            continue
        if _present(packages, entry["drivers"][driver]):
            break
    else:
        return need
    if parsed.transport in PREFIXES:
        prefix = parsed.transport
    else:
        prefix = {"result": "db", "broker": "sqla"}.get(parsed.purpose, "")
    scheme = f"{prefix}+{dialect}+{driver}" if prefix else f"{dialect}+{driver}"
    old, new = f"{parsed.scheme}://", f"{scheme}://"
    if old == new:
        return need
    return Need(need.module, need.package, need.present, need.version, need.how,
                fix=parsed.text.replace(old, new, 1), fix_old=old, fix_new=new)


def version_tuple(version: str | None) -> tuple[int, ...]:
    """``"2.0.58"`` as (2, 0, 58), ``"2.1b1"`` as (2, 1); empty for None and for what is no version."""
    match = re.match(r"\d+(?:\.\d+)*", version or "")
    return tuple(int(part) for part in match[0].split(".")) if match else ()


def _present(packages: Mapping[str, Mapping], module: str) -> bool | None:
    entry = packages.get(module) or packages.get(module.lower())
    return entry.get("present") if entry else None


def _version(packages: Mapping[str, Mapping], module: str) -> str | None:
    entry = packages.get(module)
    return entry.get("version") if entry else None


def _package(module: str) -> str:
    return schemes.PACKAGES.get(module, module)
