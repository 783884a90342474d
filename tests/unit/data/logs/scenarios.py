"""What ``record.py`` records: one real process each, with what was made wrong."""

from __future__ import annotations

WORKER = (
    "celery -A shared.infrastructure.celery_app worker --loglevel=info --concurrency=2 -n email_worker@%h"
)
BEAT = (
    "celery -A shared.infrastructure.celery_app beat --loglevel=info --schedule=/tmp/schedule.db --pidfile="
)
PSYCOPG = "db+postgresql+psycopg://app:app-example@{}:5432/{}"
RESULT = "db+postgresql+{}:5432/{}"
OLD, NEW, ALL = ("5.4",), ("5.7",), ("5.4", "5.6", "5.7")
CONFIG = """
from celery import Celery
{}
app = Celery("shared", broker="redis://redis:6379/0",
backend="db+postgresql+psycopg://app:x@postgres/ai_backend") """


def worker(what: str, extra: str = "", **more) -> dict:
    return {"what": what, "command": f"{WORKER} {extra}".strip(), **more}


SCENARIOS: dict[str, dict] = {
    "healthy-worker": worker(
        "a worker that works: a task that returns, one that fails, then SIGTERM",
        limit=14,
        then=[(7, "python send.py shared.tasks.quick:1,2 shared.tasks.failing:no-stock")],
    ),
    "healthy-beat": {"what": "a beat that ticks, then SIGTERM", "command": BEAT, "limit": 9},
    "healthy-flower": {
        "what": "Flower that runs, then SIGTERM",
        "on": NEW,
        "limit": 9,
        "packages": ("flower22", "psycopg3"),
        "command": "celery -A shared.infrastructure.celery_app flower --port=5555",
    },
    "flower-plugin-broken": {
        "what": "Flower is installed, a package that it needs is not",
        "on": NEW,
        "limit": 9,
        "packages": ("flower22", "psycopg3"),
        "without": ("pytz",),
        "command": "celery -A shared.infrastructure.celery_app flower --port=5555",
    },
    "quoting-worker": worker(
        "a healthy worker whose tasks log the texts of all known messages and fail with errors of their own",
        limit=14,
        whole=True,
        then=[
            (
                7,
                "python send.py shared.tasks.quoting shared.tasks.querying shared.tasks.importing "
                "shared.tasks.quick:3,4",
            )
        ],
    ),
    "dying-child": worker(
        "a task that kills its pool process, another that passes its time limit",
        limit=16,
        then=[(6, "python send.py shared.tasks.dying shared.tasks.slow shared.tasks.quick:1,2")],
    ),
    "unregistered-task": worker(
        "a message for a task that this worker does not know",
        limit=12,
        then=[(6, "python send.py shared.tasks.nowhere:1")],
    ),
    # the command line
    "unknown-option": worker("--queue instead of --queues", "--queue=email_processing"),
    "unknown-option-cannot-guess": worker("an option like no other", "--frobnicate=1", on=NEW),
    "misplaced-app": {
        "what": "the Celery 4 order of -A",
        "command": "celery worker -A shared.infrastructure.celery_app --loglevel=info",
    },
    "extra-argument": worker("a blank behind the comma of -Q", "-Q email, bulk", on=NEW),
    "bad-value": worker("a level that is none", "--loglevel=LOUD", on=("5.4", "5.7")),
    "missing-value": worker("an option without its value", "--queues", on=NEW),
    "unknown-command": {
        "what": "a misspelt sub-command",
        "on": ALL,
        "command": "celery -A shared.infrastructure.celery_app wroker",
    },
    "flower-not-installed": {
        "what": "no Flower in the environment",
        "command": "celery -A shared.infrastructure.celery_app flower --port=5555",
    },
    "no-subcommand": {
        "what": "no sub-command",
        "on": NEW,
        "command": "celery -A shared.infrastructure.celery_app",
    },
    # the application
    "app-module-missing": {
        "what": "a module that is not there",
        "command": "celery -A shared.infrastructure.celery_application worker --loglevel=info",
    },
    "app-package-missing": {
        "what": "a package that is not there",
        "command": "celery -A backend.celery_app worker --loglevel=info",
    },
    "app-module-missing-and-unknown-option": {
        "what": "a module that is not there, and --queue instead of --queues: which comes first",
        "command": "celery -A shared.infrastructure.celery_application worker --queue=x",
    },
    "app-import-error": {
        "what": "the application imports a package that is not installed",
        "command": WORKER,
        "files": {"shared/infrastructure/celery_app.py": "import stripe\n" + CONFIG.format("")},
    },
    "tasks-import-error": {
        "what": "a module of tasks imports a package that is not installed",
        "command": WORKER,
        "files": {"shared/tasks.py": "import stripe\n"},
    },
    "app-attribute-missing": {
        "what": "an attribute that is not there",
        "command": "celery -A shared.infrastructure.celery_app:celery_app worker",
    },
    "app-none-in-module": {
        "what": "a module without an application",
        "command": "celery -A shared.nothing worker",
        "files": {"shared/nothing.py": "x = 1\n"},
    },
    "app-syntax-error": {
        "what": "a syntax error in the application",
        "command": WORKER,
        "files": {"shared/infrastructure/celery_app.py": "from celery import Celery\napp = Celery(\n"},
    },
    "app-circular-import": {
        "what": "a circular import",
        "command": WORKER,
        "on": ("5.4", "5.7"),
        "files": {
            "shared/infrastructure/celery_app.py": CONFIG.format("from shared.tasks import quick"),
            "shared/tasks.py": "from shared.infrastructure.celery_app import app\n",
        },
    },
    "app-raises": {
        "what": "the application raises while it is imported",
        "command": WORKER,
        "on": ("5.4", "5.7"),
        "files": {
            "shared/infrastructure/celery_app.py": "import os\nos.environ['STRIPE_KEY']\n" + CONFIG.format("")
        },
    },
    "django-settings-missing": {
        "what": "DJANGO_SETTINGS_MODULE names a module that is not there",
        "command": WORKER,
        "on": NEW,
        "env": {"DJANGO_SETTINGS_MODULE": "backend.settings"},
    },
    "config-module-missing": {
        "what": "the configuration module is not there",
        "command": WORKER,
        "on": ("5.4", "5.7"),
        "files": {
            "shared/infrastructure/celery_app.py": CONFIG.format("")
            + "app.config_from_object('shared.celeryconfig')\n"
        },
    },
    # drivers and URLs
    "driver-not-installed": worker(
        "db+postgresql:// under SQLAlchemy 2.0 with psycopg 3 only",
        on=("5.4", "5.5", "5.6", "5.7"),
        limit=20,
        env={"CELERY_RESULT_BACKEND": "db+postgresql://app:app-example@postgres:5432/ai_backend"},
    ),
    "driver-not-installed-beat": {
        "on": ("5.4", "5.7"),
        "what": "beat with db+postgresql:// under SQLAlchemy 2.0 with psycopg 3 only",
        "command": BEAT,
        "limit": 14,
        "env": {"CELERY_RESULT_BACKEND": "db+postgresql://app:app-example@postgres:5432/ai_backend"},
    },
    "driver-not-installed-psycopg3": worker(
        "postgresql+psycopg:// with psycopg2 only", packages=("psycopg2",), limit=14, on=("5.4", "5.7")
    ),
    "driver-not-installed-asyncpg": worker(
        "postgresql+asyncpg:// without asyncpg",
        limit=14,
        on=NEW,
        env={"CELERY_RESULT_BACKEND": "db+postgresql+asyncpg://app:app-example@postgres:5432/ai_backend"},
    ),
    "driver-not-installed-mysql": worker(
        "mysql:// without a driver",
        limit=14,
        on=NEW,
        env={"CELERY_RESULT_BACKEND": "db+mysql://app:app-example@mysql:3306/ai_backend"},
    ),
    "driver-not-installed-sqla21": worker(
        "db+postgresql:// under SQLAlchemy 2.1 with psycopg2 only",
        limit=14,
        packages=("sqla21", "psycopg2"),
        on=NEW,
        env={"CELERY_RESULT_BACKEND": "db+postgresql://app:app-example@postgres:5432/ai_backend"},
    ),
    "packaging-not-installed": worker(
        "kombu needs a package that is not there", limit=9, without=("packaging",), on=NEW
    ),
    "sqlalchemy-not-installed": worker(
        "db+… without SQLAlchemy", limit=14, without=("sqlalchemy",), on=("5.4", "5.7")
    ),
    "redis-not-installed": worker("redis:// without the redis package", limit=14, without=("redis",)),
    "scheme-unknown-dialect": worker(
        "db+postgres://, which SQLAlchemy 1.4 dropped",
        limit=14,
        on=("5.4", "5.7"),
        env={"CELERY_RESULT_BACKEND": "db+postgres://app:app-example@postgres/x"},
    ),
    "scheme-unknown-broker": worker(
        "a broker scheme that there is none of",
        limit=14,
        env={"CELERY_BROKER_URL": "rediss2://redis:6379/0"},
        on=("5.4", "5.7"),
    ),
    "scheme-unknown-backend": worker(
        "a result scheme that there is none of",
        limit=14,
        on=("5.4", "5.7"),
        env={"CELERY_RESULT_BACKEND": "postgresql://app:app-example@postgres/x"},
    ),
    "url-bad-port": worker(
        "a port that is no number",
        limit=14,
        env={"CELERY_BROKER_URL": "redis://redis:${PORT}/0"},
        on=("5.4", "5.7"),
    ),
    "url-bad-db-number": worker(
        "a Redis database that is no number",
        limit=14,
        env={"CELERY_BROKER_URL": "redis://redis:6379/zero"},
        on=("5.4", "5.7"),
    ),
    "url-sqlalchemy-unparsable": worker(
        "a result URL that SQLAlchemy cannot parse",
        limit=14,
        on=NEW,
        env={"CELERY_RESULT_BACKEND": "db+postgresql//app@postgres/x"},
    ),
    # the broker
    "broker-wrong-host": worker(
        "a broker host that nothing knows", limit=14, env={"CELERY_BROKER_URL": "redis://redis-wrong:6379/0"}
    ),
    "broker-wrong-host-beat": {
        "what": "beat with a broker host that nothing knows",
        "command": BEAT,
        "limit": 12,
        "env": {"CELERY_BROKER_URL": "redis://redis-wrong:6379/0"},
    },
    "broker-refused-beat": {
        "what": "beat with a broker where nothing listens",
        "command": BEAT,
        "on": NEW,
        "limit": 9,
        "env": {"CELERY_BROKER_URL": "redis://nothing-listens:6379/0"},
    },
    "broker-wrong-host-flower": {
        "what": "Flower with a broker host that nothing knows",
        "on": NEW,
        "limit": 9,
        "packages": ("flower22", "psycopg3"),
        "command": "celery -A shared.infrastructure.celery_app flower --port=5555",
        "env": {"CELERY_BROKER_URL": "redis://redis-wrong:6379/0"},
    },
    "broker-refused-flower": {
        "what": "Flower with a broker where nothing listens",
        "on": NEW,
        "limit": 9,
        "packages": ("flower22", "psycopg3"),
        "command": "celery -A shared.infrastructure.celery_app flower --port=5555",
        "env": {"CELERY_BROKER_URL": "redis://nothing-listens:6379/0"},
    },
    "broker-refused": worker(
        "a broker where nothing listens",
        limit=12,
        env={"CELERY_BROKER_URL": "redis://nothing-listens:6379/0"},
    ),
    "broker-refused-amqp": worker(
        "an AMQP broker where nothing listens",
        limit=12,
        on=("5.4", "5.7"),
        env={"CELERY_BROKER_URL": "amqp://guest:guest@nothing-listens:5672//"},
    ),
    "broker-no-password": worker(
        "a Redis that wants a password, none given",
        limit=12,
        env={"CELERY_BROKER_URL": "redis://redis-auth:6379/0"},
    ),
    "broker-wrong-password": worker(
        "a Redis that wants another password",
        limit=12,
        env={"CELERY_BROKER_URL": "redis://:wrong-example@redis-auth:6379/0"},
    ),
    "broker-wrong-password-flower": {
        "what": "Flower with a wrong broker password",
        "on": NEW,
        "limit": 9,
        "packages": ("flower22", "psycopg3"),
        "command": "celery -A shared.infrastructure.celery_app flower --port=5555",
        "env": {"CELERY_BROKER_URL": "redis://:wrong-example@redis-auth:6379/0"},
    },
    "broker-password-not-set": worker(
        "a password for a Redis that has none",
        limit=12,
        on=("5.4", "5.7"),
        env={"CELERY_BROKER_URL": "redis://:some-example@redis:6379/0"},
    ),
    # the database
    "database-missing": worker(
        "a database that is not there",
        on=("5.4", "5.5", "5.6", "5.7"),
        limit=40,
        env={"CELERY_RESULT_BACKEND": PSYCOPG.format("postgres", "ai_backend_missing")},
    ),
    "database-missing-with-task": worker(
        "a database that is not there, and a task whose result must go there",
        on=OLD,
        limit=12,
        env={"CELERY_RESULT_BACKEND": PSYCOPG.format("postgres", "ai_backend_missing")},
        then=[(7, "python send.py shared.tasks.quick:1,2")],
    ),
    "database-missing-sqla21": worker(
        "a database that is not there, SQLAlchemy 2.1",
        limit=40,
        packages=("sqla21", "psycopg3"),
        on=NEW,
        env={"CELERY_RESULT_BACKEND": PSYCOPG.format("postgres", "ai_backend_missing")},
    ),
    "database-missing-psycopg2": worker(
        "a database that is not there, by psycopg2",
        limit=40,
        packages=("psycopg2",),
        on=NEW,
        env={
            "CELERY_RESULT_BACKEND": RESULT.format(
                "psycopg2://app:app-example@postgres", "ai_backend_missing"
            )
        },
    ),
    "database-missing-beat": {
        "on": ("5.4", "5.7"),
        "what": "beat with a database that is not there",
        "command": BEAT,
        "limit": 40,
        "env": {"CELERY_RESULT_BACKEND": PSYCOPG.format("postgres", "ai_backend_missing")},
    },
    "database-wrong-password": worker(
        "a wrong password of the role",
        on=("5.4", "5.6", "5.7"),
        limit=40,
        env={"CELERY_RESULT_BACKEND": "db+postgresql+psycopg://app:wrong-example@postgres:5432/ai_backend"},
    ),
    "database-role-missing": worker(
        "a role that is not there",
        on=NEW,
        limit=40,
        env={
            "CELERY_RESULT_BACKEND": "db+postgresql+psycopg://nobody_here:x-example@postgres:5432/ai_backend"
        },
    ),
    "database-role-no-login": worker(
        "a role that may not log in",
        on=NEW,
        limit=40,
        env={
            "CELERY_RESULT_BACKEND": RESULT.format(
                "psycopg://nologin_role:app-example@postgres", "ai_backend"
            )
        },
    ),
    "database-no-hba": worker(
        "a login that pg_hba.conf rejects",
        on=NEW,
        limit=40,
        env={
            "CELERY_RESULT_BACKEND": "db+postgresql+psycopg://outsider:app-example@postgres:5432/ai_backend"
        },
    ),
    "database-wrong-host": worker(
        "a database host that nothing knows",
        on=("5.4", "5.6", "5.7"),
        limit=40,
        env={"CELERY_RESULT_BACKEND": PSYCOPG.format("postgres-wrong", "ai_backend")},
    ),
    "database-refused": worker(
        "a database host where nothing listens",
        on=("5.4", "5.6", "5.7"),
        limit=40,
        env={"CELERY_RESULT_BACKEND": PSYCOPG.format("nothing-listens", "ai_backend")},
    ),
    "database-full": worker(
        "no connection left",
        on=("5.6", "5.7"),
        limit=40,
        hold=[
            [
                "python",
                "-c",
                "import psycopg, time; held = [psycopg.connect('host=postgres user=postgres') "
                "for _ in range(11)]; time.sleep(60)",
            ]
        ],
    ),
    "database-starting": worker(
        "a database that is starting up",
        on=NEW,
        limit=40,
        env={"CELERY_RESULT_BACKEND": PSYCOPG.format("postgres-starting", "ai_backend")},
    ),
    # others
    "beat-pidfile": {
        "what": "a stale pid file of beat",
        "on": NEW,
        "limit": 9,
        "command": "celery -A shared.infrastructure.celery_app beat --pidfile=beat.pid",
        "files": {"beat.pid": "1\n"},
    },
    "beat-schedule-not-writable": {
        "what": "a schedule file in a folder that is not there",
        "on": NEW,
        "limit": 9,
        "command": "celery -A shared.infrastructure.celery_app beat -s /nowhere/schedule",
    },
}
