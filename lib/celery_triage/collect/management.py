"""RabbitMQ's management API, where it answers in the stack: GETs of a list, with the broker URL's login.

It tells what AMQP does not: alarms, memory and disk, every queue, who consumes, who is blocked, permissions.
"""

from __future__ import annotations

import base64
import http.client
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from celery_triage.collect.probe import Emit

PORT = 15672
TIMEOUT_S = 3.0
#: Bytes of one answer; more is no answer.
LONGEST = 4 * 2**20

_QUEUE = ("name,messages_ready,messages_unacknowledged,consumers,type,durable,auto_delete,exclusive,"
          "arguments,policy,state")
_NODE = ("name,running,mem_used,mem_limit,mem_alarm,disk_free,disk_free_limit,disk_free_alarm,fd_used,"
         "fd_total,sockets_used,sockets_total,uptime")
_CONNECTION = "peer_host,user,vhost,state,channels,client_properties.product"
_CONSUMER = "queue.name,channel_details.peer_host,prefetch_count,ack_required"
#: All that is ever asked, with the virtual host or the user of the URL in it.
PATHS = {
    "overview": "/api/overview?columns=rabbitmq_version,product_version,cluster_name,node",
    "nodes": f"/api/nodes?columns={_NODE}",
    "vhosts": "/api/vhosts?columns=name",
    "permissions": "/api/users/{user}/permissions",
    "queues": f"/api/queues/{{vhost}}?columns={_QUEUE}",
    "bindings": "/api/bindings/{vhost}?columns=source,destination,destination_type,routing_key",
    "consumers": f"/api/consumers/{{vhost}}?columns={_CONSUMER}",
    "connections": f"/api/connections?columns={_CONNECTION}",
}


class Refused(Exception):
    """The API answered, and not with what was asked for: the status code and its own reason."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"{code} {reason}".strip())
        self.code, self.reason = code, reason


class Management:
    """The API at one of several addresses; ``why`` says why it could not be asked, empty where it could."""

    def __init__(self, ways: Sequence[tuple[str, int, str]], user: str, password: str, vhost: str) -> None:
        self._ways, self._names = list(ways), {"user": quote(user, safe=""), "vhost": quote(vhost, safe="")}
        pair = base64.b64encode(f"{user}:{password}".encode()).decode()
        self._headers = {"Authorization": f"Basic {pair}", "Accept": "application/json",
                         "User-Agent": "celery-triage", "Connection": "close"}
        self.way: tuple[str, int, str] | None = None
        self.why = "" if ways else f"its container has no address here and publishes no port {PORT}"

    def get(self, emit: Emit, what: str) -> Any:
        """The answer to one question of ``PATHS``, from the first address at which anybody answers. Raises
        Refused, OSError, ValueError."""
        path = PATHS[what].format(**self._names)
        ways = [self.way] if self.way else self._ways
        for way in ways:
            with emit.asking(f"GET {path.partition('?')[0]} ({way[0]}:{way[1]})") as asked:
                try:
                    answer = self._get(way, path)
                except Refused as refused:
                    asked.outcome = str(refused.code)
                    self.way = way
                    raise
                except OSError:
                    if way is ways[-1]:
                        raise
                    continue
                asked.outcome = "200"
                self.way = way
                return answer
        raise OSError(self.why)

    def _get(self, way: tuple[str, int, str], path: str) -> Any:
        connection = http.client.HTTPConnection(*way[:2], timeout=TIMEOUT_S)
        try:
            connection.request("GET", path, headers=self._headers)
            response = connection.getresponse()
            body = response.read(LONGEST + 1)
        except http.client.HTTPException as error:
            raise ValueError(f"what answers there is no HTTP: {type(error).__name__}") from None
        finally:
            connection.close()
        if response.status != 200:
            raise Refused(response.status, _reason(body))
        if len(body) > LONGEST:
            raise ValueError(f"its answer is longer than {LONGEST // 2**20} MiB")
        return json.loads(body)


def _reason(body: bytes) -> str:
    try:
        told = json.loads(body)
        return str(told.get("reason") or told.get("error") or "")[:200]
    except (ValueError, AttributeError):
        return ""


def rows(answer: Any, read: Callable[[Mapping[str, Any]], Any], most: int) -> list[Any]:
    """What ``read`` makes of each object of an answer, at most that many; nothing of another shape."""
    return [read(one) for one in answer[:most] if isinstance(one, dict)] if isinstance(answer, list) else []


def number(value: Any) -> int | float | None:
    """A number, or None for what is none (RabbitMQ says ``unknown``)."""
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else None
