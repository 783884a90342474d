"""Record what a RabbitMQ refuses, in the words of its client.

    PYTHONPATH=AMQP:VINE python rabbitmq.py ADDRESS "RabbitMQ VERSION" CONTAINER [NAME …]

The server is a throw-away one with ``consumer_timeout = 60000``, user ``app`` (``app-example``) with all
rights in ``/``, and user ``stranger`` with the same password and none. The recordings called ``rabbitmq-…``
are lines of its own log meanwhile, its alarms set off by ``rabbitmqctl set_vm_memory_high_watermark 0.00001``
and ``set_disk_free_limit 9000GB``. CONTAINER is where the server runs, with its log on its output; those of
``LOGGED`` are read from it. Of them and of ``ELSEWHERE`` each wants a server of its own, so their NAME is to
be given: ``--ulimit nofile=256`` for file handles, RabbitMQ 4 with
``deprecated_features.permit.transient_nonexcl_queues = false`` for transient queues that are refused, without
it for those that are allowed.
"""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime

import record

CASES = {
    "amqp-access-refused": "c('app', 'wrong-example')",
    "amqp-access-refused.guest": "c('guest', 'guest')",
    "amqp-vhost-missing": "c(vhost='shop')",
    "amqp-access-to-vhost": "c('stranger')",
    "amqp-inequivalent": "q('orders', durable=True)\nq('orders', durable=False)",
    "amqp-unknown-delivery-tag": "x = c(); x.channel().basic_ack(3); x.drain_events(timeout=5)",
    "amqp-not-found": "q('nowhere', passive=True)",
    "amqp-resource-locked": "q('a.celery.pidbox', exclusive=True)\nq('a.celery.pidbox', exclusive=True)",
    "amqp-global-qos": (
        "q('quorum', durable=True, arguments={'x-queue-type': 'quorum'})\nh = c().channel()\n"
        "h.basic_qos(0, 4, True)\nh.basic_consume('quorum')"
    ),
    "amqp-precondition-any": "q('q2', durable=False, arguments={'x-queue-type': 'quorum'})",
    "amqp-ack-timeout": (
        "import time\nx = c(); h = x.channel(); h.queue_declare('slow', durable=True, auto_delete=False)\n"
        "h.basic_publish(amqp.Message('x'), routing_key='slow')\n"
        "h.basic_consume('slow', callback=lambda message: None)\nend = time.time() + 170\n"
        "while time.time() < end:\n  try: x.drain_events(timeout=5)\n  except TimeoutError: pass"
    ),
}
TICK = "while True:\n  x.heartbeat_tick()\n  try: x.drain_events(timeout=1)\n  except TimeoutError: pass"
ELSEWHERE = {
    "amqp-transient-refused": "q('orders', durable=False)",
    "amqp-heartbeats": (
        "import atexit\nx = c(heartbeat=2)\ndocker('pause')\natexit.register(docker, 'unpause')\n" + TICK
    ),
}
#: What the client does, and the words of the record that the server then writes.
LOGGED = {
    "rabbitmq-heartbeats": (
        "import os, signal, time\nx = c(heartbeat=2)\n"
        "if not os.fork(): time.sleep(9); os.kill(os.getppid(), signal.SIGCONT); os._exit(0)\n"
        "os.kill(os.getpid(), signal.SIGSTOP)",
        "missed heartbeats",
    ),
    "rabbitmq-file-handles": ("while True: c()", "alarm set"),
    "rabbitmq-transient-refused": ("q('orders', durable=False)", "is not permitted per"),
    "rabbitmq-transient-allowed": ("q('orders', durable=False)", "transient_nonexcl_queues"),
}
OPEN = """
import amqp, subprocess
held = []
def c(user='app', password='app-example', vhost='/', heartbeat=0):
    login = dict(userid=user, password=password, virtual_host=vhost)
    held.append(amqp.Connection(host={!r}, heartbeat=heartbeat, connect_timeout=5, **login))
    held[-1].connect()
    return held[-1]
def docker(word):
    subprocess.run(['docker', word, {!r}], check=True, stdout=subprocess.DEVNULL)
def q(name, **more):
    c().channel().queue_declare(name, **{{'auto_delete': False, **more}})
"""


def said(container: str, since: str, words: str) -> str:
    """The record in the server's log that has these words: its lines have one moment and one process."""
    done = subprocess.run(["docker", "logs", "--since", since, container], text=True, capture_output=True)
    lines = [line for line in done.stdout.splitlines() if " <" in line]
    head = next(line for line in lines if words in line).split("> ")[0]
    return "\n".join(line for line in lines if line.startswith(f"{head}>"))


def main(address: str, version: str, container: str, *names: str) -> None:
    import amqp

    for name, code in (CASES | ELSEWHERE | {name: code for name, (code, _) in LOGGED.items()}).items():
        if name not in names and (names or name not in CASES):
            continue
        since = datetime.now(UTC).isoformat()
        done = subprocess.run(
            [sys.executable, "-c", OPEN.format(address, container) + code],
            text=True, capture_output=True, timeout=300,
        )  # fmt: skip
        by, text = f"amqp {amqp.__version__}, {version}", done.stderr
        if name in LOGGED:
            by, text = version, said(container, since, LOGGED[name][1])
        for folder in [entry for entry in sys.path if "amqp" in entry or "vine" in entry]:
            text = text.replace(folder, "/usr/local/lib/python3.11/site-packages")
        text = record.shortened(text)
        (record.HERE / f"{name}.txt").write_text(f"## by: {by}\n{text}\n")
        print(name, text.splitlines()[-1][:150], flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
