"""Broker, result and database URLs: read as kombu and SQLAlchemy read them, judged only where they fail."""

from __future__ import annotations

import pytest
import sqlalchemy
from celery import Celery
from celery.exceptions import ImproperlyConfigured
from kombu import Connection
from kombu.utils.url import parse_url
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError

from celery_triage.urls import guess_purpose, known, needed_driver, parse, unset_variables
from celery_triage.urls.drivers import version_tuple


def kinds(parsed, stops=None):
    return {problem.kind for problem in parsed.problems if stops is None or problem.stops is stops}


# Every scheme that people write

BROKERS = [
    # text, family, host, port, database
    ("redis://redis:6379/0", "redis", "redis", 6379, "0"),
    ("redis://redis", "redis", "redis", 6379, "0"),
    ("redis://redis/", "redis", "redis", 6379, "0"),
    ("redis://redis:6379//3", "redis", "redis", 6379, "3"),
    ("redis://:secret@redis:6380/2", "redis", "redis", 6380, "2"),
    ("redis://user:secret@redis:6379/0", "redis", "redis", 6379, "0"),
    ("rediss://redis:6380/1?ssl_cert_reqs=required", "redis", "redis", 6380, "1"),
    ("redis://[fd00::5]:6379/0", "redis", "fd00::5", 6379, "0"),
    ("sentinel://s1:26379;sentinel://s2:26380", "redis", "s1", 26379, "0"),
    ("amqp://guest:guest@rabbit:5672//", "amqp", "rabbit", 5672, "/"),
    ("amqp://guest:guest@rabbit", "amqp", "rabbit", 5672, "/"),
    ("amqp://guest:guest@rabbit:5672/tasks", "amqp", "rabbit", 5672, "tasks"),
    ("amqp://u:p@rabbit/%2Ftasks", "amqp", "rabbit", 5672, "/tasks"),
    ("amqps://u:p@rabbit//", "amqp", "rabbit", 5671, "/"),
    ("pyamqp://u:p@rabbit//", "amqp", "rabbit", 5672, "/"),
    ("librabbitmq://u:p@rabbit//", "amqp", "rabbit", 5672, "/"),
    ("sqla+postgresql+psycopg://u:p@db/tasks", "sql", "db", 5432, "tasks"),
    ("sqlalchemy+mysql://u:p@db/tasks", "sql", "db", 3306, "tasks"),
    ("mongodb://mongo:27018/jobs", "mongodb", "mongo", 27018, "jobs"),
    ("sqs://", "sqs", None, None, None),
    ("sqs://key:secret@", "sqs", None, None, None),
    ("memory://", "memory", None, None, None),
    ("filesystem://", "file", None, None, None),
]


@pytest.mark.parametrize(("text", "family", "host", "port", "database"), BROKERS)
def test_broker_schemes(text, family, host, port, database):
    """A broker URL of every usual scheme gives its family, host, port with default, and database; no
    problem."""
    parsed = parse(text, "broker")
    assert (parsed.family, parsed.host, parsed.port, parsed.database) == (family, host, port, database)
    assert parsed.problems == ()


RESULTS = [
    ("rpc://", "rpc", None, None, None),
    ("rpc", "rpc", None, None, None),
    ("redis://redis:6379/1", "redis", "redis", 6379, "1"),
    ("db+postgresql://u:p@db:5432/ai", "sql", "db", 5432, "ai"),
    ("database+postgresql://u:p@db/ai", "sql", "db", 5432, "ai"),
    ("db+postgresql+psycopg://u:p@db/ai", "sql", "db", 5432, "ai"),
    ("db+postgresql+psycopg2://u:p@db/ai?sslmode=require", "sql", "db", 5432, "ai"),
    ("db+mysql+pymysql://u:p@db/ai?charset=utf8mb4", "sql", "db", 3306, "ai"),
    ("db+mssql+pyodbc://u:p@db/ai?driver=ODBC+Driver+18", "sql", "db", 1433, "ai"),
    ("db+oracle+oracledb://u:p@db/ai", "sql", "db", 1521, "ai"),
    ("db+sqlite:///results.sqlite", "sql", None, None, "results.sqlite"),
    ("file:///var/celery/results", "file", None, None, "var/celery/results"),
    ("cache+memcached://cache:11211/", "cache", "cache", 11211, None),
    ("django-db", "django", None, None, None),
    ("disabled", "disabled", None, None, None),
    ("mongodb://mongo/jobs", "mongodb", "mongo", 27017, "jobs"),
]


@pytest.mark.parametrize(("text", "family", "host", "port", "database"), RESULTS)
def test_result_schemes(text, family, host, port, database):
    """A result backend URL of every usual scheme is understood, without a problem."""
    parsed = parse(text, "result")
    assert (parsed.family, parsed.host, parsed.port, parsed.database) == (family, host, port, database)
    assert parsed.problems == ()


@pytest.mark.parametrize(("text", "host", "port", "database", "dialect", "driver"), [
    ("postgresql://u:p@db/ai", "db", 5432, "ai", "postgresql", None),
    ("postgresql+asyncpg://u:p@db:6432/ai", "db", 6432, "ai", "postgresql", "asyncpg"),
    ("mysql+aiomysql://u:p@db/ai", "db", 3306, "ai", "mysql", "aiomysql"),
    ("mariadb+mariadbconnector://u:p@db/ai", "db", 3306, "ai", "mariadb", "mariadbconnector"),
    ("sqlite:///app.db", None, None, "app.db", "sqlite", None),
])
def test_database_schemes(text, host, port, database, dialect, driver):
    """The app's own database may use an asyncio driver: that is a problem only for Celery."""
    parsed = parse(text, "database")
    assert (parsed.host, parsed.port, parsed.database) == (host, port, database)
    assert (parsed.dialect, parsed.driver) == (dialect, driver)
    assert parsed.problems == ()


# The same parts as the programs find

KOMBU = [
    "redis://h", "redis://:p@h/0", "redis://u:p@h:1/0", "redis://:p@ss@h:6379/0", "redis://:p:ss@h:6379/0",
    "redis://:p%20ss@h/0", "redis://:p%2Fss@h/0", "redis://:p%zz@h/0", "redis://h:6379//0", "redis://:@h/0",
    "amqp://u:p@h:5672/vh", "amqp://u:p@h//", "amqp://h/%2Fx", "redis://h_x:6379/0", "redis://[::1]:6379/0",
    "redis://h:/0", "rediss://h/0?ssl_cert_reqs=none", "redis://u@h:6379", "redis://:p$w@h:1", "redis://:p=w@h",
]


@pytest.mark.parametrize("text", KOMBU)
def test_same_parts_as_kombu(text):
    """Host, port, user, password and path are those that kombu finds, whatever it accepts in a password."""
    theirs, ours = parse_url(text), parse(text, "broker")
    assert (ours.host, ours.user, ours.password_token) == (
        theirs["hostname"], theirs["userid"], theirs["password"])
    assert ours.port == (theirs["port"] or {"redis": 6379, "rediss": 6379, "amqp": 5672}[theirs["transport"]])
    assert ours.ok


REFUSED_BY_KOMBU = [
    ("redis://:p#ss@h:6379/0", "unescaped"), ("redis://:p/ss@h:6379/0", "unescaped"),
    ("redis://:p?ss@h:6379/0", "unescaped"), ("redis://:p[ss@h:6379/0", "unescaped"),
    ("amqp://u:p#x@h", "unescaped"), ("amqp://u:p/x@h//", "unescaped"),
    ("redis://h:${PORT}/0", "port"), ("redis://h:99999/0", "port"), ("redis://h:six/0", "port"),
    ("py-amqp://h//", "unknown_scheme"), ("rabbitmq://h//", "unknown_scheme"), ("http://h", "unknown_scheme"),
    ("postgresql://h/d", "unknown_scheme"), ("'redis://h'", "quoted"), ('"redis://h:6379/0"', "quoted"),
]


@pytest.mark.parametrize(("text", "kind"), REFUSED_BY_KOMBU)
def test_refused_by_kombu_too(text, kind):
    """What is said to stop a broker URL does stop kombu, and is of that kind."""
    with pytest.raises((ValueError, KeyError)):
        Connection(text).transport_cls and Connection(text).get_transport_cls()
    assert kind in kinds(parse(text, "broker"), stops=True)


SQL = [
    "postgresql://u:p@h:1/d", "postgresql://u:p/ss@h/d", "postgresql://u:p#ss@h/d", "postgresql://u:p:ss@h/d",
    "postgresql://u:p[ss@h/d", "postgresql://u:p%40ss@h/d", "postgresql://u:p%ss@h/d", "postgresql://h/d",
    "postgresql://u@h/d", "postgresql://u:p?ss@h/d", "postgresql://u:p@h", "postgresql://u:p@h/",
    "postgresql://u:p@[fd00::1]:5433/d", "postgresql://u:p@h/d?sslmode=require", "postgresql://a@b:p@h/d",
    "postgresql://u:p@h/my%20db", "postgresql+psycopg://u:@h/d",
]


@pytest.mark.parametrize("text", SQL)
def test_same_parts_as_sqlalchemy(text):
    """User, password, host, port and database are those that SQLAlchemy finds."""
    theirs, ours = make_url(text), parse(text, "database")
    assert (ours.user, ours.host, ours.database) == (theirs.username, theirs.host, theirs.database or None)
    assert ours.password_token == (theirs.password or None)
    assert ours.port == (theirs.port or 5432)
    assert ours.ok


@pytest.mark.parametrize("text", [
    "db+postgresql+psycopg://u:p@h:${PORT}/d", "db+postgresql+psycopg://u:p@h:/d",
    "db+postgresql+psycopg://u:p@a:1,b:2/d", "db+postgres://u:p@h/d", "db+sqlite3:///x.db",
    "db+postgresql+psycopg3://u:p@h/d", "db+Postgresql://u:p@h/d", "postgresql://u:p@h/d", "postgres://u:p@h/d",
    "sqla+postgresql://h/d", "amqp://h", "socket:///tmp/x", "redis://h:6379/x", "redis://h:6379/0/1",
    "redis://:p#ss@h:6379/0", "DB+postgresql://h/d", "db+://h",
])
def test_refused_by_celery_too(text):
    """What is said to stop a result backend URL ends Celery's start before anything is connected to."""
    with pytest.raises((ValueError, ImportError, NoSuchModuleError, ArgumentError, ImproperlyConfigured)):
        Celery("t", broker="memory://", backend=text).backend  # noqa: B018
    assert not parse(text, "result").ok


def test_at_sign_in_a_database_password():
    """SQLAlchemy takes the first @ for the end of the password, so host and error are wrong; we say what was
    meant, and what to write."""
    text = "db+postgresql+psycopg://u:p@ss@postgres:5432/ai"
    assert make_url(text.removeprefix("db+")).host == "ss@postgres"
    parsed = parse(text, "result")
    assert (parsed.host, parsed.port, parsed.database) == ("postgres", 5432, "ai")
    assert parsed.password_token == "p@ss"
    assert [(problem.kind, problem.hint) for problem in parsed.problems] == [("unescaped", "%40")]


def test_at_sign_in_a_redis_password_is_no_problem():
    """kombu splits at the last @, so the same character that breaks a database URL is legal here."""
    assert parse("redis://:p@ss@redis:6379/0", "broker").problems == ()


def test_meant_parts_behind_a_reserved_character():
    """Where / # or ? cut the password short, host, port and database are still those that were meant."""
    for char in "/#?":
        parsed = parse(f"redis://user:a{char}b@redis:6390/4", "broker")
        assert (parsed.user, parsed.host, parsed.port, parsed.database) == ("user", "redis", 6390, "4")
        assert [problem.hint for problem in parsed.problems] == [f"%{ord(char):02X}"]


def test_at_sign_in_a_query_is_no_password():
    """An @ behind the path of a URL without user is a part of its query."""
    assert parse("redis://redis:6379/0?client_name=a@b", "broker").problems == ()


# What is wrong with it

@pytest.mark.parametrize(("text", "purpose", "kind", "stops"), [
    ("", "broker", "empty", True),
    ("  ", "result", "empty", True),
    ("redis://:@redis:6379/0", "broker", "empty_credentials", False),
    ("db+postgresql://:@db:5432/", "result", "empty_credentials", False),
    ("redis://", "broker", "empty_host", True),
    ("redis://:secret@:6379/0", "broker", "empty_host", True),
    ("redis", "result", "empty_host", True),
    ("amqp://", "broker", "empty_host", True),
    ("db+postgresql://u:p@/ai", "result", "empty_host", True),
    ("redis:6379", "broker", "no_scheme", True),
    ("redis:/redis:6379", "broker", "no_scheme", True),
    ("redis//redis:6379", "broker", "no_scheme", True),
    ("redis.internal", "broker", "no_scheme", True),
    ("${CELERY_BROKER_URL}", "broker", "unset", True),
    ("redis://${REDIS_HOST}:6379/0", "broker", "unset", True),
    ("redis://:$REDIS_PASSWORD@redis:6379/0", "broker", "unset", True),
    ("db+postgresql://${U:-x}:${P}@db/ai", "result", "unset", True),
    ("redis://redis:6379/zero", "broker", "redis_database", True),
    (" redis://redis:6379/0", "broker", "space", True),
    ("redis://redis:6379/0\n", "broker", "space", True),
    ("redis+sentinel://s:26379", "broker", "unknown_scheme", True),
    ("redis+socket://", "broker", "socket", True),
    ("rediss://redis:6379/0", "result", "tls", False),
    ("mycelery://x", "result", "unknown_scheme", False),
    ("mycelery://x", "broker", "unknown_scheme", True),
    ("db+postgresql+asyncpg://u:p@db/ai", "result", "async_driver", True),
    ("db+postgresql+psycopg_async://u:p@db/ai", "result", "async_driver", True),
    ("db+postgresql+foo://u:p@db/ai", "result", "dialect", False),
])
def test_problems(text, purpose, kind, stops):
    """Each thing that can be wrong is named by its kind, and is said to stop the service only where it
    does."""
    assert kind in kinds(parse(text, purpose), stops)


@pytest.mark.parametrize(("text", "purpose", "hint"), [
    ("postgres://u:p@db/ai", "result", "db+postgresql://"),
    ("postgresql+psycopg://u:p@db/ai", "result", "db+postgresql+psycopg://"),
    ("db+postgres://u:p@db/ai", "result", "db+postgresql://"),
    ("db+postgresql+psycopg3://u:p@db/ai", "result", "db+postgresql+psycopg://"),
    ("postgresql://u:p@db/ai", "broker", "sqla+postgresql://"),
    ("py-amqp://rabbit//", "broker", "pyamqp://"),
    ("amqp://rabbit//", "result", "rpc://"),
    ("redis+sentinel://s", "broker", "sentinel://"),
    ("DB+postgresql://db/ai", "result", "db+postgresql://"),
    ("redis:/redis:6379", "broker", "redis://"),
])
def test_hints(text, purpose, hint):
    """Where it is sure what should stand there instead, it is said."""
    assert hint in [problem.hint for problem in parse(text, purpose).problems]


def test_a_bare_postgres_url_is_no_problem_for_the_app():
    """``postgres://`` is refused by SQLAlchemy, but many other programs read it: only the dialect is odd."""
    assert kinds(parse("postgres://u:p@db/ai", "database")) == {"dialect"}


@pytest.mark.parametrize("text", [
    "redis://user:hunter2secret", "redis://:hunter2secret/x", "redis://h:hunter2secret/0",
    "hunter2secret@h:1",
    "redis://u:hunter2secret/x@h/0", "db+postgresql://u:hunter2secret@x@h/d", "redis://h:1/hunter2secret",
    "db+postgresql://u@h:hunter2secret/d", "redis://:${P:-hunter2secret}@h/0", "redis://[hunter2secret",
])
def test_no_secret_in_any_sentence(text):
    """A sentence about a URL never quotes what could be its password, not even where it stands wrong; nor
    does the repr."""
    for purpose in ("broker", "result", "database", ""):
        parsed = parse(text, purpose)
        assert "hunter2secret" not in " ".join(problem.text + problem.hint for problem in parsed.problems)
        assert "hunter2secret@" not in repr(parsed)


@pytest.mark.parametrize("text", [
    "\x00", "://", "redis://[", "redis://]:6379", "db+", "+://", "a" * 100_000, "redis://" + "@" * 50_000,
    "redis://" + "[" * 5_000, "db+postgresql://" + ":" * 50_000, "redis://h:٣/0", "redis://h:6379/٣",
    "redis://\ud800@h", "${" * 10_000, "redis://h;;;", ";", "redis://%zz:%zz@%zz/%zz",
])
def test_never_raises(text):
    """No text makes the parser fail, for any purpose."""
    for purpose in ("broker", "result", "database", ""):
        assert parse(text, purpose).text == text


def test_unknown_purpose_is_our_own_mistake():
    """A purpose that does not exist is refused rather than ignored."""
    with pytest.raises(ValueError, match="backend"):
        parse("redis://h", "backend")


# Other things that it tells

def test_several_hosts():
    """All hosts of a failover list, of Sentinels and of libpq's query are told, each with its port."""
    sentinels = parse("sentinel://a:1;sentinel://b;sentinel://c:3/", "broker")
    assert sentinels.hosts == (("a", 1), ("b", 26379), ("c", 3))
    assert parse("amqp://u:p@a//;amqp://u:p@b:5673//", "broker").hosts == (("a", 5672), ("b", 5673))
    query = "postgresql+psycopg://u:p@/d?host=a:1&host=b&port=5433"
    assert parse(query, "database").hosts == (("a", 1), ("b", 5433))


def test_unix_sockets():
    """A URL that leads to a Unix socket needs no host and no network."""
    redis = parse("redis+socket:///run/redis.sock?virtual_host=3", "broker")
    assert (redis.socket, redis.database, redis.host) == ("/run/redis.sock", "3", None)
    assert not redis.networked
    postgres = parse("postgresql://u:p@/d?host=/run/postgresql", "database")
    assert (postgres.socket, postgres.host, postgres.ok) == ("/run/postgresql/.s.PGSQL.5432", None, True)


@pytest.mark.parametrize(("text", "server"), [
    ("redis://:x@redis/", "redis:6379/0"), ("redis://redis:6380/2", "redis:6380/2"),
    ("db+postgresql://u:p@postgres/ai", "postgres:5432"), ("amqp://u:p@rabbit//", "rabbit:5672"),
    ("redis://[fd00::5]/1", "[fd00::5]:6379/1"), ("redis://", "localhost:6379/0"),
])
def test_key_of_a_server(text, server):
    """The key of a server is host and port, and for Redis its database; never a user or a password."""
    assert parse(text).server == server


@pytest.mark.parametrize(("scheme", "purpose"), [
    ("amqp", "broker"), ("sqla+mysql", "broker"), ("db+postgresql", "result"), ("rpc", "result"),
    ("postgresql+psycopg", "database"), ("redis", ""), ("http", ""),
])
def test_purpose_by_scheme(scheme, purpose):
    """A scheme decides what a URL is for where it can; Redis can be either."""
    assert guess_purpose(scheme) == purpose


def test_known_schemes():
    """A web address or a mail address is no broker, result backend or database."""
    assert all(known(scheme) for scheme in ("redis", "rediss", "db+postgresql", "postgres", "py-amqp", "sqs"))
    assert not any(known(scheme) for scheme in ("http", "https", "smtp", "ftp", "tcp", "git+ssh"))


def test_unset_variables_without_their_defaults():
    """The name of a variable is told, never the default behind it, which may be a password."""
    assert unset_variables("redis://:${PW:-hunter2}@${HOST}/0") == ("${PW}", "${HOST}")
    assert unset_variables("redis://:pa$word@h/0") == ()


# Which driver it needs

def packages(**versions):
    """``{"psycopg": "3.3", "psycopg2": None}``: a version, or None for what is not installed."""
    return {name: {"present": version is not None, "version": version or None}
            for name, version in versions.items()}


BARE = "db+postgresql://u:***0a1b2c@postgres:5432/ai"


def test_incident_before_the_fix():
    """SQLAlchemy 2.0 with psycopg 3 only: ``postgresql://`` needs psycopg2, which is not there, and the URL
    that works is ``postgresql+psycopg://``."""
    need = needed_driver(parse(BARE, "result"), packages(sqlalchemy="2.0.44", psycopg="3.2", psycopg2=None))
    assert (need.module, need.package, need.present) == ("psycopg2", "psycopg2-binary", False)
    assert need.fix == "db+postgresql+psycopg://u:***0a1b2c@postgres:5432/ai"
    assert (need.fix_old, need.fix_new) == ("db+postgresql://", "db+postgresql+psycopg://")
    assert "2.0.44" in need.how


@pytest.mark.parametrize(("url", "installed", "module", "present", "fix_new"), [
    # the default of a bare dialect, by version
    ("db+postgresql://h/d", {"sqlalchemy": "2.0.58", "psycopg2": "2.9"}, "psycopg2", True, ""),
    ("db+postgresql://h/d", {"sqlalchemy": "2.1.9", "psycopg": "3.3"}, "psycopg", True, ""),
    ("db+postgresql://h/d", {"sqlalchemy": "2.1.0b1", "psycopg": None, "psycopg2": "2.9"}, "psycopg", False,
     "db+postgresql+psycopg2://"),
    ("db+postgresql://h/d", {"sqlalchemy": "1.4.54", "psycopg": "3.1", "psycopg2": None},
     "psycopg2", False, ""),
    ("db+postgresql://h/d", {"sqlalchemy": "2.0.1", "psycopg": None, "psycopg2": None},
     "psycopg2", False, ""),
    # a named driver
    ("db+postgresql+psycopg://h/d", {"sqlalchemy": "2.0.1", "psycopg": "3.1"}, "psycopg", True, ""),
    ("db+postgresql+psycopg://h/d", {"sqlalchemy": "2.0.1", "psycopg": None, "psycopg2": "2.9"}, "psycopg",
     False, "db+postgresql+psycopg2://"),
    ("db+postgresql+psycopg://h/d", {"sqlalchemy": "1.4.54", "psycopg": "3.1", "psycopg2": "2.9"}, "psycopg",
     False, "db+postgresql+psycopg2://"),
    ("db+postgresql+psycopg2://h/d", {"sqlalchemy": "2.1.9", "psycopg": "3.3", "psycopg2": None},
     "psycopg2", False, "db+postgresql+psycopg://"),
    ("db+postgresql+asyncpg://h/d", {"sqlalchemy": "2.0.1", "asyncpg": "0.30", "psycopg": "3.1"},
     "asyncpg", True, "db+postgresql+psycopg://"),
    # a dialect or driver that SQLAlchemy does not know by that name
    ("db+postgres://h/d", {"sqlalchemy": "2.0.1", "psycopg2": "2.9"}, "psycopg2", True,
     "db+postgresql+psycopg2://"),
    ("db+postgresql+psycopg3://h/d", {"sqlalchemy": "2.0.1", "psycopg": "3.1"}, "psycopg", True,
     "db+postgresql+psycopg://"),
    ("postgresql://h/d", {"sqlalchemy": "2.0.1", "psycopg": "3.1", "psycopg2": None}, "psycopg2", False,
     "db+postgresql+psycopg://"),
    # other families
    ("db+mysql://h/d", {"sqlalchemy": "2.0.1", "MySQLdb": None, "pymysql": "1.1"}, "MySQLdb", False,
     "db+mysql+pymysql://"),
    ("db+mysql+pymysql://h/d", {"sqlalchemy": "2.0.1", "pymysql": "1.1"}, "pymysql", True, ""),
    ("redis://h", {"redis": None}, "redis", False, ""),
    ("redis://h", {"redis": "5.0"}, "redis", True, ""),
    ("db+postgresql://h/d", {"sqlalchemy": None, "psycopg2": "2.9"}, "sqlalchemy", False, ""),
    ("db+postgresql+pg8000://h/d", {"sqlalchemy": "2.0.1"}, "pg8000", None, ""),
])
def test_needed_driver(url, installed, module, present, fix_new):
    """The module that a URL needs, by the SQLAlchemy that is in the image, and the scheme that works
    there."""
    need = needed_driver(parse(url, "result"), packages(**installed))
    assert (need.module, need.present, need.fix_new) == (module, present, fix_new)


def test_version_of_sqlalchemy_unknown():
    """Without the version a bare dialect is only judged where both answers are the same."""
    unknown = {"sqlalchemy": {"present": True, "version": None}}
    assert needed_driver(parse(BARE, "result"), unknown).present is None
    both = {**unknown, **packages(psycopg="3.1", psycopg2="2.9")}
    assert needed_driver(parse(BARE, "result"), both).present is True
    neither = {**unknown, **packages(psycopg=None, psycopg2=None)}
    assert needed_driver(parse(BARE, "result"), neither).present is False
    one = {**unknown, **packages(psycopg="3.1", psycopg2=None)}
    assert needed_driver(parse(BARE, "result"), one).present is None


@pytest.mark.parametrize("text", ["rpc://", "memory://", "db+sqlite:///x", "file:///x", "", "${X}", "foo://x"])
def test_needs_nothing_of_its_own(text):
    """A URL without a driver of its own, or one that cannot be read, needs none."""
    assert needed_driver(parse(text, "result"), {}) is None


def test_default_of_the_installed_sqlalchemy():
    """The table's default for ``postgresql://`` is what the SQLAlchemy of this environment takes (1.4.54,
    2.0.58 and 2.1.9 were tried by hand, each also with only the other driver installed)."""
    installed = {"sqlalchemy": {"present": True, "version": sqlalchemy.__version__}}
    need = needed_driver(parse(BARE, "result"), installed)
    assert make_url("postgresql://h/d").get_dialect().driver == need.module


def test_versions_as_numbers():
    """A pre-release counts as the version that it leads to; nothing is no version."""
    assert version_tuple("2.1.0b1") == (2, 1, 0)
    assert version_tuple("2.0.58") == (2, 0, 58)
    assert version_tuple(None) == () == version_tuple("unknown")
