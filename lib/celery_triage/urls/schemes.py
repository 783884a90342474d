"""Which schemes Celery and kombu know, and what each means.

Sources: ``kombu/transport/__init__.py`` (TRANSPORT_ALIASES) of kombu 5.7 and ``celery/app/backends.py``
(BACKEND_ALIASES) of Celery 5.7; each scheme below was given to both in a real environment (Celery 5.7,
kombu 5.7, SQLAlchemy 2.1; Celery 5.4 with SQLAlchemy 2.0; SQLAlchemy 1.4).
"""

from __future__ import annotations

#: kombu's transports by the name that a broker URL may begin with, and the family that they speak.
BROKERS = {
    "amqp": "amqp", "amqps": "amqp", "pyamqp": "amqp", "librabbitmq": "amqp",
    "redis": "redis", "rediss": "redis", "sentinel": "redis",
    "sqla": "sql", "sqlalchemy": "sql",
    "sqs": "sqs", "SQS": "sqs", "memory": "memory", "filesystem": "file", "mongodb": "mongodb",
    "kafka": "kafka", "confluentkafka": "kafka", "zookeeper": "zookeeper", "qpid": "qpid", "consul": "consul",
    "etcd": "etcd", "pyro": "pyro", "slmq": "slmq", "SLMQ": "slmq", "azurestoragequeues": "azure",
    "azureservicebus": "azure", "gcpubsub": "gcpubsub", "pgmq": "pgmq",
}

#: Celery's result backends by name; ``django-db`` and ``django-cache`` come with django-celery-results.
RESULTS = {
    "rpc": "rpc", "redis": "redis", "rediss": "redis", "sentinel": "redis", "db": "sql", "database": "sql",
    "cache": "cache", "mongodb": "mongodb", "file": "file", "disabled": "disabled", "elasticsearch": "other",
    "cassandra": "other", "couchbase": "other", "couchdb": "other", "cosmosdbsql": "other", "riak": "other",
    "consul": "consul", "dynamodb": "other", "azureblockblob": "azure", "arangodb": "other", "s3": "other",
    "gs": "other", "django-db": "django", "django-cache": "django",
}

#: SQLAlchemy's dialects: default port and the modules of their drivers (``None`` stands for no driver
#: named). The default of ``postgresql`` and of ``oracle`` changed with SQLAlchemy 2.1 (measured: 1.4.54,
#: 2.0.58, 2.1.9).
DIALECTS: dict[str, dict] = {
    "postgresql": {"port": 5432, "default": {(0, 0): "psycopg2", (2, 1): "psycopg"}, "drivers": {
        "psycopg": "psycopg", "psycopg_async": "psycopg", "psycopg2": "psycopg2", 
        "psycopg2cffi": "psycopg2cffi", "asyncpg": "asyncpg", "pg8000": "pg8000"}},
    "mysql": {"port": 3306, "default": {(0, 0): "mysqldb"}, "drivers": {
        "mysqldb": "MySQLdb", "pymysql": "pymysql", "mysqlconnector": "mysql", "aiomysql": "aiomysql",
        "asyncmy": "asyncmy", "cymysql": "cymysql", "pyodbc": "pyodbc"}},
    "sqlite": {"port": None, "default": {(0, 0): "pysqlite"}, "drivers": {
        "pysqlite": "sqlite3", "aiosqlite": "aiosqlite"}},
    "oracle": {"port": 1521, "default": {(0, 0): "cx_oracle", (2, 1): "oracledb"}, "drivers": {
        "cx_oracle": "cx_Oracle", "oracledb": "oracledb"}},
    "mssql": {"port": 1433, "default": {(0, 0): "pyodbc"}, "drivers": {
        "pyodbc": "pyodbc", "pymssql": "pymssql", "aioodbc": "aioodbc"}},
}
DIALECTS["mariadb"] = {**DIALECTS["mysql"],
                       "drivers": {**DIALECTS["mysql"]["drivers"], "mariadbconnector": "mariadb"}}

#: The first SQLAlchemy that has this driver; older ones say "Can't load plugin" (measured: 1.4.54).
DRIVER_SINCE = {"psycopg": (2, 0), "psycopg_async": (2, 0), "oracledb": (2, 0)}

#: Drivers that only an asyncio engine can use; Celery's database backend and kombu's make a plain one.
ASYNC_DRIVERS = frozenset({"asyncpg", "psycopg_async", "aiomysql", "asyncmy", "aiosqlite", "aioodbc"})

#: What people write for a dialect that SQLAlchemy does not know by that name, and the name that it knows.
DIALECT_SLIPS = {"postgres": "postgresql", "pgsql": "postgresql", "pg": "postgresql", "sqlite3": "sqlite",
                 "psql": "postgresql"}
DRIVER_SLIPS = {"psycopg3": "psycopg", "mysqlclient": "mysqldb"}

#: What people write for a broker, and the scheme that kombu knows.
BROKER_SLIPS = {"py-amqp": "pyamqp", "rabbitmq": "amqp", "rabbit": "amqp", "amqp+ssl": "amqps", "rmq": "amqp",
                "redis+ssl": "rediss", "redis+tls": "rediss", "redis-sentinel": "sentinel"}

#: The package to install for a module, where its name differs.
PACKAGES = {"MySQLdb": "mysqlclient", "mysql": "mysql-connector-python", "psycopg2": "psycopg2-binary",
            "psycopg": "psycopg[binary]", "cx_Oracle": "cx_Oracle", "sqlalchemy": "SQLAlchemy"}

PORTS = {"redis": 6379, "rediss": 6379, "sentinel": 26379, "amqp": 5672, "pyamqp": 5672, "librabbitmq": 5672,
         "amqps": 5671, "mongodb": 27017}


def is_sql(name: str) -> bool:
    """Whether a scheme without its driver is a dialect of SQLAlchemy, or a slip for one."""
    return name.lower() in DIALECTS or name.lower() in DIALECT_SLIPS


def known(scheme: str) -> bool:
    """Whether a text with this scheme is a broker, result or database URL at all."""
    first = scheme.partition("+")[0]
    return (first in BROKERS or first in RESULTS or first.lower() in BROKERS or is_sql(first)
            or scheme in BROKER_SLIPS or first in BROKER_SLIPS)
