"""What ``record.py`` records here: one server with one thing wrong, and who meets it."""

from __future__ import annotations

import signal
import subprocess
import tempfile
import time
from pathlib import Path

#: redis-py has other words from time to time; the newest is kept, the older ones beside it.
REDIS_PY = ("redis-3.5.3", "redis-5.0.8", "redis-7.0.0")
R = "import redis\nr = redis.Redis({})\n"
PSYCOPG2, ASYNCPG = ("psycopg2-binary-2.9.10",), ("asyncpg-0.30.0",)
#: Alembic with SQLAlchemy and what both need, in one folder each time.
SQLALCHEMY, ALEMBIC = ("sqlalchemy-2.0.49",), ("alembic-1.20.1",)
P2 = "import psycopg2\nc = psycopg2.connect('host=127.0.0.1 {}')\nq = c.cursor().execute\n"
AP = "import asyncio, asyncpg\nasync def main():\n c = await asyncpg.connect({})\n {}\nasyncio.run(main())\n"


def redis_clients(bench, name: str, code: str) -> None:
    """One refusal in the words of each redis-py."""
    for package in REDIS_PY:
        text = bench.client((package,), code)
        suffix = "" if package == REDIS_PY[-1] else f".{package}"
        version = package.replace("redis-", "redis-py ")
        bench.keep(f"{name}{suffix}", f"{version}, Redis {bench.redis_version}", text)


def redis_case(bench, name: str, words: tuple[str, ...], code: str, options: str = "") -> None:
    process, _ = bench.redis(*words)
    try:
        redis_clients(bench, name, R.format(options) + code)
    finally:
        process.kill()
        process.wait()


def redis_refusals(bench) -> None:
    redis_case(bench, "redis-oom", ("--maxmemory", "1"), "r.lpush('celery', 'x')")
    redis_case(bench, "redis-readonly", ("--replicaof", "127.0.0.9 1"), "r.lpush('celery', 'x')")
    redis_case(
        bench, "redis-masterdown",
        ("--replicaof", "127.0.0.9 1", "--replica-serve-stale-data", "no"), "r.llen('celery')",
    )  # fmt: skip
    redis_case(bench, "redis-max-clients", ("--maxclients", "1"), "r.ping()\nredis.Redis().ping()")
    redis_case(bench, "redis-needs-login", ("--requirepass", "right-example"), "r.ping()")
    redis_case(bench, "redis-unknown-command", ("--rename-command", "BRPOP", ""), "r.brpop('celery', 1)")
    redis_case(
        bench, "redis-pool-exhausted", (),
        "p = redis.ConnectionPool(max_connections=1)\np.get_connection('PING')\np.get_connection('PING')",
    )  # fmt: skip
    redis_case(bench, "redis-unreachable", (), "r.ping()", "port=6390")
    redis_case(bench, "redis-cluster-down", ("--cluster-enabled", "yes"), "r.lpush('celery', 'x')")
    redis_case(
        bench, "redis-cluster.crossslot", ("--cluster-enabled", "yes"),
        "try: r.execute_command('CLUSTER', 'ADDSLOTSRANGE', 0, 16383)\nexcept redis.ResponseError: pass\n"
        "import time; time.sleep(3)\n"
        "r.mset({'a': 1, 'b': 2})",
    )  # fmt: skip
    acl = "r.execute_command('ACL', 'SETUSER', 'app', 'on', '>app-example', '~celery*', '+@all', '-brpop')\n"
    login = (
        "p = redis.ConnectionPool(max_connections=1)\n"
        "c = redis.Redis(connection_pool=p, single_connection_client=True)\n"
        "c.execute_command('AUTH', 'app', 'app-example')\n"
    )
    redis_case(bench, "redis-acl", (), f"{acl}{login}c.brpop('celery', 1)")
    redis_case(bench, "redis-acl.keys", (), f"{acl}{login}c.get('unacked')")


def redis_loading(bench) -> None:
    """A server whose data take long to load answers that it does."""
    home = Path(tempfile.mkdtemp(dir=bench.folder))
    process, _ = bench.redis(folder=home)
    bench.client(("redis-7.0.0",), R.format("") + "for n in range(3000): r.set(n, 'x')\nr.save()")
    process.kill()
    process.wait()
    process, _ = bench.redis(
        "--key-load-delay", "20000", "--loading-process-events-interval-bytes", "1024", folder=home
    )
    try:
        redis_clients(bench, "redis-loading", R.format("") + "r.ping()")
    finally:
        process.kill()


def redis_cannot_save(bench) -> None:
    """A folder that is gone, and a file system that is full."""
    home = Path(tempfile.mkdtemp(dir=bench.folder))
    process, log = bench.redis("--save", "3600 1", folder=home)
    home.rmdir()
    bench.client(("redis-7.0.0",), R.format("") + "r.set('a', 1)\nr.bgsave()\nimport time; time.sleep(3)")
    redis_clients(bench, "redis-misconf", R.format("") + "r.lpush('celery', 'x')")
    process.kill()
    process.wait()
    words = [
        line for line in log.read_text().splitlines() if "Failed opening" in line or "saving error" in line
    ]
    bench.keep("redis-background-saving", f"Redis {bench.redis_version}", bench.plain("\n".join(words)))
    small = Path(tempfile.mkdtemp(dir=bench.folder))
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(small)], check=True)
    process, log = bench.redis("--appendonly", "yes", folder=small)
    fill = "import time\nfor n in range(300):\n  r.set(n, 'x' * 16000)\n  time.sleep(0.02)\n"
    redis_clients(bench, "redis-misconf-aof", R.format("") + fill)
    process.kill()
    process.wait()
    subprocess.run(["umount", "-l", str(small)], check=False)


def redis_words(bench) -> None:
    """What the server itself says at its start and of whoever commands it."""
    process, log = bench.redis("--tcp-backlog", "100000")
    bench.client(("redis-7.0.0",), R.format("") + "r.execute_command('REPLICAOF', '203.0.113.9', '60101')")
    time.sleep(1)
    process.terminate()
    process.wait()
    lines = log.read_text().splitlines()
    by = f"Redis {bench.redis_version}"
    for name, word in (
        ("redis-overcommit", "overcommit"),
        ("redis-advice", "TCP backlog"),
        ("redis-intruder", "REPLICAOF"),
    ):
        found = [line for line in lines if word in line]
        if found:
            bench.keep(name, by, bench.plain(found[0]))
    home = Path(tempfile.mkdtemp(dir=bench.folder))
    (home / "dump.rdb").write_bytes(b"REDIS0099" + bytes(50))
    process, log = bench.redis(folder=home)
    process.wait(10)
    bench.keep("redis-cannot-start", by, bench.plain("\n".join(log.read_text().splitlines()[-2:])))


def postgres_refusals(bench) -> None:
    """Logins and statements that the server refuses."""
    data = bench.cluster(
        "refusals",
        "max_connections = 5\nsuperuser_reserved_connections = 1\nmax_wal_senders = 0\nunrelated.x = 1",
    )
    (data / "pg_hba.conf").write_text("host all postgres all trust\nhost shop app all scram-sha-256\n")
    process, log = bench.postgres(data)
    server = f"PostgreSQL {bench.postgres_version}"
    two, three = f"psycopg2 2.9.10, {server}", f"asyncpg 0.30.0, {server}"
    root = P2.format("user=postgres dbname=postgres") + "c.autocommit = True\n"
    shop = P2.format("user=postgres dbname=shop")
    try:
        bench.client(
            PSYCOPG2,
            root + "q(\"create role app login password 'app-example'\")\nq('create database shop owner app')",
        )
        bench.client(PSYCOPG2, shop + "q('create table orders (id int primary key)')\nc.commit()")

        def said(name: str, word: str) -> None:
            lines = [line for line in log.read_text().splitlines() if word in line]
            bench.keep(name, server, bench.plain(lines[-1]))

        def by_psycopg(name: str, code: str) -> None:
            bench.keep(name, two, bench.client(PSYCOPG2, code))

        def by_asyncpg(name: str, connect: str, code: str = "pass") -> None:
            bench.keep(name, three, bench.client(ASYNCPG, AP.format(connect, code)))

        at = "host='127.0.0.1', database={!r}, user={!r}, password='wrong-example', ssl=False"
        by_asyncpg("database-missing-asyncpg", at.format("nowhere", "postgres"))
        by_asyncpg("database-password-asyncpg", at.format("shop", "app"))
        by_asyncpg(
            "table-missing-any", at.format("shop", "postgres"), "await c.execute('select * from carts')"
        )
        by_asyncpg("database-refused-asyncpg", "host='127.0.0.1', port=5433, database='shop', user='app'")
        by_psycopg("database-no-password-given", P2.format("user=app dbname=shop"))
        by_psycopg("database-tls", P2.format("user=postgres dbname=shop sslmode=require"))
        by_psycopg("database-socket-missing", "import psycopg2\npsycopg2.connect('dbname=shop user=app')")
        by_psycopg("column-missing", shop + "q('select colour from orders')")
        by_psycopg("schema-missing", shop + "q('create table nowhere.x (id int)')")
        by_psycopg("database-already-exists", shop + "q('create table orders (id int)')")
        by_psycopg(
            "database-permission-denied",
            P2.format("user=app password=app-example dbname=shop") + "q('select * from orders')",
        )
        by_psycopg(
            "database-connection-lost",
            shop + "try: q('select pg_terminate_backend(pg_backend_pid())')\nexcept Exception: pass\n"
            "q('select 1')",
        )
        said("postgres-terminated-by-administrator", "terminating connection due to administrator")
        by_psycopg(
            "database-locks",
            shop
            + "q('lock table orders')\nd = psycopg2.connect('host=127.0.0.1 user=postgres dbname=shop')\n"
            "d.cursor().execute(\"set lock_timeout = '100ms'; lock table orders\")",
        )
        bench.client(PSYCOPG2, shop + "q('insert into orders values (1), (1)')")
        said("postgres-duplicate-key", "duplicate key")
        bench.client(PSYCOPG2, P2.format("user=root dbname=postgres"))
        bench.client(
            PSYCOPG2,
            shop + "q(\"set idle_in_transaction_session_timeout = '200ms'\")\nc.commit()\nq('select 1')\n"
            "import time; time.sleep(1.5)",
        )
        said("postgres-idle-in-transaction", "idle-in-transaction timeout")
        bench.client(
            (),
            "import socket\ns = socket.create_connection(('127.0.0.1', 5432)); s.send(b'x' * 4); s.close()",
        )
        time.sleep(0.5)
        lines = [one for one in log.read_text().splitlines() if "startup packet" in one]
        if lines:
            bench.keep("postgres-incomplete-startup", server, lines[-1])
        many = (
            "l = [await asyncpg.connect(host='127.0.0.1', user='app', password='app-example', "
            "database='shop', ssl=False) for _ in range(9)]"
        )
        by_asyncpg("database-too-many-asyncpg", at.format("shop", "postgres"), many)
        killed = (
            shop
            + "import os, signal\nos.kill(c.info.backend_pid, signal.SIGKILL)\nimport time; time.sleep(1)\n"
        )
        bench.client(PSYCOPG2, killed)
        said("postgres-crashed", "was terminated by signal")
    finally:
        process.send_signal(signal.SIGQUIT)
        process.wait()


def postgres_starts(bench) -> None:
    """Data folders that a server refuses."""
    server = f"PostgreSQL {bench.postgres_version}"

    def started(name: str, data: Path, word: str) -> None:
        process, log = bench.postgres(data)
        process.terminate()
        process.wait(20)
        lines = log.read_text().splitlines()
        place = next(place for place, line in enumerate(lines) if word in line)
        bench.keep(name, server, bench.plain("\n".join(lines[place : place + 2])))

    data = bench.cluster("starts")
    version = (data / "PG_VERSION").read_text()
    (data / "PG_VERSION").write_text("13\n")
    started("postgres-other-major-version", data, "incompatible")
    (data / "PG_VERSION").write_text(version)
    data.chmod(0o755)
    started("postgres-data-folder", data, "permissions")
    data.chmod(0o700)
    taken = subprocess.Popen(
        [
            "python3",
            "-c",
            "import socket,time\ns=socket.socket();s.bind(('127.0.0.1',5432));s.listen();time.sleep(60)",
        ]
    )
    time.sleep(1)
    started("postgres-port-taken", data, "could not bind")
    taken.kill()
    taken.wait()
    with (data / "postgresql.conf").open("a") as file:
        file.write("max_conections = 5\n")
    started("postgres-bad-setting", data, "unrecognized")


def postgres_not_ready(bench) -> None:
    """A server that ends but waits for a client, a standby without readers, one after a crash."""
    server = f"PostgreSQL {bench.postgres_version}"
    two, three = f"psycopg2 2.9.10, {server}", f"asyncpg 0.30.0, {server}"
    root = P2.format("user=postgres dbname=postgres")
    connect = AP.format("host='127.0.0.1', database='postgres', user='postgres', ssl=False", "pass")
    process, _ = bench.postgres(bench.cluster("ending"))
    psql = [f"{bench.options.postgres}/psql", "-h", "127.0.0.1", "-U", "postgres"]
    held = subprocess.Popen([*psql, "-c", "select pg_sleep(60)"], stderr=subprocess.DEVNULL)
    time.sleep(1)
    process.terminate()  # what ``pg_ctl stop -m smart`` sends
    time.sleep(1)
    bench.keep("database-starting-asyncpg", three, bench.client(ASYNCPG, connect))
    process.send_signal(signal.SIGQUIT)
    process.wait()
    held.wait()
    data = bench.cluster("standby", "hot_standby = off\nrestore_command = 'false'")
    (data / "standby.signal").touch()
    process, _ = bench.postgres(data)
    bench.keep("database-not-accepting", two, bench.client(PSYCOPG2, root))
    process.send_signal(signal.SIGQUIT)
    process.wait()
    process, _ = bench.postgres(bench.cluster("crashing"))
    loop = (
        "import asyncio, asyncpg, os, signal\n"
        "at = dict(host='127.0.0.1', database='postgres', user='postgres', ssl=False)\n"
        "async def main():\n c = await asyncpg.connect(**at)\n os.kill(c.get_server_pid(), signal.SIGKILL)\n"
        " for _ in range(5000):\n"
        "  try: await (await asyncpg.connect(**at)).close()\n"
        "  except asyncpg.CannotConnectNowError as error:\n   if 'recovery' in str(error): raise\n"
        "  except (OSError, asyncpg.PostgresError): pass\n"
        "asyncio.run(main())\n"
    )
    bench.keep("database-starting-asyncpg.recovery", three, bench.client(ASYNCPG, loop))
    process.send_signal(signal.SIGQUIT)
    process.wait()


def alembic_migrations(bench) -> None:
    """A database at a revision that the code lacks, and two newest revisions."""
    home = Path(tempfile.mkdtemp(dir=bench.folder))
    # Alembic tells the log (standard error) and, again, standard output.
    run = (
        f"import os\nos.dup2(2, 1)\nos.chdir('{home}')\nfrom alembic.config import main\nmain({{!r}}.split())"
    )
    bench.client(ALEMBIC, run.format("init migrations"))
    settings = (home / "alembic.ini").read_text()
    (home / "alembic.ini").write_text(
        settings.replace("driver://user:pass@localhost/dbname", f"sqlite:///{home}/shop.db")
    )

    def revision(name: str, down: str | None) -> Path:
        path = home / "migrations" / "versions" / f"{name}.py"
        path.write_text(
            f"revision = {name!r}\ndown_revision = {down!r}\nbranch_labels = depends_on = None\n"
            "def upgrade():\n    pass\ndef downgrade():\n    pass\n"
        )
        return path

    by = "alembic 1.20.1, SQLAlchemy 2.1.9"
    upgrade = run.format("upgrade head")
    revision("1f2e3d4c5b6a", None)
    newest = revision("2a3b4c5d6e7f", "1f2e3d4c5b6a")
    bench.client(ALEMBIC, upgrade)
    newest.unlink()
    bench.keep("alembic-unknown-revision", by, bench.client(ALEMBIC, upgrade))
    revision("2a3b4c5d6e7f", "1f2e3d4c5b6a")
    revision("3c4d5e6f7a8b", "1f2e3d4c5b6a")
    bench.keep("alembic-several-heads", by, bench.client(ALEMBIC, upgrade))


def pool_exhausted(bench) -> None:
    """A pool of one connection that is in use."""
    process, _ = bench.postgres(bench.cluster("pool"))
    try:
        code = (
            "from sqlalchemy import create_engine\n"
            "engine = create_engine('postgresql+psycopg2://postgres@127.0.0.1/postgres', pool_size=1, "
            "max_overflow=0, pool_timeout=1)\nheld = engine.connect()\nengine.connect()\n"
        )
        text = bench.client((*SQLALCHEMY, *PSYCOPG2), code)
        by = f"SQLAlchemy 2.0.49, psycopg2 2.9.10, PostgreSQL {bench.postgres_version}"
        bench.keep("sqlalchemy-pool-exhausted", by, text)
    finally:
        process.send_signal(signal.SIGQUIT)
        process.wait()


def redis_moved(bench) -> None:
    """A cluster of two, and a client that knows nothing of clusters."""
    first, _ = bench.redis("--cluster-enabled", "yes")
    second, _ = bench.redis("--cluster-enabled", "yes", "--port", "6380")
    try:
        bench.client(
            ("redis-7.0.0",),
            "import redis, time\na, b = redis.Redis(), redis.Redis(port=6380)\n"
            "a.execute_command('CLUSTER ADDSLOTSRANGE', 0, 8191)\n"
            "b.execute_command('CLUSTER ADDSLOTSRANGE', 8192, 16383)\n"
            "a.execute_command('CLUSTER MEET', '127.0.0.1', 6380)\n"
            "time.sleep(6)\n",
        )
        code = R.format("") + "for n in range(64): r.lpush(f'queue{n}', 'x')"
        for name, package in (
            ("redis-cluster.moved.redis-5.0.8", "redis-5.0.8"),
            ("redis-cluster-moved", "redis-7.0.0"),
        ):
            by = f"{package.replace('redis-', 'redis-py ')}, Redis {bench.redis_version}"
            bench.keep(name, by, bench.client((package,), code))
    finally:
        for process in (first, second):
            process.kill()
            process.wait()


def postgres_full(bench) -> None:
    """A disk that is full."""
    small = Path(tempfile.mkdtemp(dir=bench.folder))
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=90m", "tmpfs", str(small)], check=True)
    small.chmod(0o755)
    data = bench.cluster("full", parent=small)
    process, log = bench.postgres(data)
    try:
        text = bench.client(
            PSYCOPG2,
            P2.format("user=postgres dbname=postgres")
            + "q(\"create unlogged table t as select repeat('x', 900) x from generate_series(1, 100000)\")",
        )
        bench.keep("postgres-disk-full", f"psycopg2 2.9.10, PostgreSQL {bench.postgres_version}", text)
    finally:
        process.send_signal(signal.SIGQUIT)
        process.wait()
        subprocess.run(["umount", "-l", str(small)], check=False)


ALL = (
    redis_refusals,
    redis_loading,
    redis_cannot_save,
    redis_words,
    postgres_refusals,
    postgres_starts,
    postgres_full,
    postgres_not_ready,
    alembic_migrations,
    pool_exhausted,
    redis_moved,
)
