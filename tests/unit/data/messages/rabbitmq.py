"""Record what a RabbitMQ refuses, in the words of its client.

    PYTHONPATH=AMQP:VINE python rabbitmq.py ADDRESS "RabbitMQ VERSION"

The server is a throw-away one with ``consumer_timeout = 60000``, user ``app`` (``app-example``) with all
rights in ``/``, and user ``stranger`` with the same password and none. The recordings called ``rabbitmq-…``
are lines of its own log meanwhile, its alarms set off by ``rabbitmqctl set_vm_memory_high_watermark 0.00001``
and ``set_disk_free_limit 9000GB``.
"""

from __future__ import annotations

import subprocess
import sys

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
OPEN = """
import amqp
held = []
def c(user='app', password='app-example', vhost='/'):
    held.append(amqp.Connection(host={!r}, userid=user, password=password, virtual_host=vhost, heartbeat=0))
    held[-1].connect()
    return held[-1]
def q(name, **more):
    c().channel().queue_declare(name, **{{'auto_delete': False, **more}})
"""


def main(address: str, version: str) -> None:
    import amqp

    for name, code in CASES.items():
        done = subprocess.run(
            [sys.executable, "-c", OPEN.format(address) + code], text=True, capture_output=True, timeout=300
        )
        folders = [entry for entry in sys.path if "amqp" in entry or "vine" in entry]
        text = done.stderr
        for folder in folders:
            text = text.replace(folder, "/usr/local/lib/python3.11/site-packages")
        text = record.shortened(text)
        path = record.HERE / f"{name}.txt"
        path.write_text(f"## by: amqp {amqp.__version__}, {version}\n{text}\n")
        print(name, text.splitlines()[-1][:150], flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
