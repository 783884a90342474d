#!/bin/sh
# Writes a configuration from RABBITMQ_DEFAULT_USER, _PASS and _VHOST, as the official image does, and lets
# files under /etc/rabbitmq/conf.d come after it.
set -eu

if [ "${1:-rabbitmq-server}" = rabbitmq-server ]; then
    mkdir -p /etc/rabbitmq/conf.d
    : > /etc/rabbitmq/conf.d/10-defaults.conf
    for pair in user:RABBITMQ_DEFAULT_USER pass:RABBITMQ_DEFAULT_PASS vhost:RABBITMQ_DEFAULT_VHOST; do
        value=$(printenv "${pair#*:}" || true)
        if [ -n "$value" ]; then
            printf 'default_%s = %s\n' "${pair%%:*}" "$value" >> /etc/rabbitmq/conf.d/10-defaults.conf
        fi
    done
    unset RABBITMQ_DEFAULT_USER RABBITMQ_DEFAULT_PASS RABBITMQ_DEFAULT_VHOST
fi

exec "$@"
