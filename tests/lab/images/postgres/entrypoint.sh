#!/bin/sh
# Makes the cluster at the first start, as the official image does: superuser POSTGRES_USER with
# POSTGRES_PASSWORD, and the database POSTGRES_DB (by default named like the user).
set -eu

if [ "${1:-postgres}" != postgres ]; then
    exec "$@"
fi

if [ ! -s "$PGDATA/PG_VERSION" ]; then
    : "${POSTGRES_PASSWORD:?POSTGRES_PASSWORD must be set}"
    user=${POSTGRES_USER:-postgres}
    database=${POSTGRES_DB:-$user}
    password_file=$(mktemp)
    printf '%s\n' "$POSTGRES_PASSWORD" > "$password_file"
    # No sync: a lab's cluster lives as long as its container, and initdb takes a second instead of five.
    initdb --no-sync --username="$user" --pwfile="$password_file" --encoding=UTF8 --locale=C.UTF-8 \
        --auth-local=trust --auth-host=scram-sha-256 >/dev/null
    rm -f "$password_file"
    printf 'host all all all scram-sha-256\n' >> "$PGDATA/pg_hba.conf"
    if [ "$database" != postgres ]; then
        printf 'CREATE DATABASE "%s";\n' "$database" | postgres --single -j -D "$PGDATA" postgres >/dev/null
    fi
fi

shift $(( $# > 0 ? 1 : 0 ))
exec postgres -c listen_addresses='*' "$@"
