"""Judges from outside whether a stack works: by what it does for its users, not by what any diagnosis says.

Shares no code with the tool under test and asks in another way: the ``docker`` command, a Celery client in a
container beside the stack, ``psql`` inside PostgreSQL's container, HTTP to the containers' addresses. Every
wait is bounded. What the stack should be is read from the project's original Compose file, so a cure that
drops, stops or renames a service is no cure.
"""

from __future__ import annotations

import io
import json
import pickle
import random
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.lab.health import told_true
from tests.lab.original import Original
from tests.lab.outside import Life, Unanswered, clock, docker, lives, moment
from tests.lab.results import Judgement

#: Results of beat's task that must follow the start of our own task on its queue. The queue is first in,
#: first out, so what waited there before our task starts before it, and what follows was sent after it; with
#: two pool processes one that started just before ours may get its row later, therefore two.
FRESH_BEATS = 2
QUICK, SCHEDULED = "shared.tasks.quick", "shared.tasks.heartbeat"


@dataclass(frozen=True)
class Place:
    """Where the oracle asks: all names are those of the running lab."""

    project: str  # the Compose project under judgement
    network: str  # a network on which broker and clients meet
    image: str  # an image with Python and a Celery that works
    postgres: str  # PostgreSQL's container
    database: str  # where results belong
    broker_url: str
    name: str  # of the oracle's own container, with the lab's prefix
    quick: str = QUICK  # the task that is sent
    scheduled: str = SCHEDULED  # the task that beat sends


Answer = tuple[bool, str]  # does it hold, and what was seen


def judge(place: Place, original: Original, quiet_seconds: float, patience: float = 180.0) -> list[Judgement]:
    """Everything that a user of the stack would want to know, as named judgements; none is left out.

    ``patience`` bounds (in seconds) how long the stack may take until all services run, and then until tasks,
    schedule and endpoints answer. From there no service may restart until all have lived ``quiet_seconds``.
    """
    deadline = time.monotonic() + patience
    runs = _until(deadline, "every original service runs", lambda: _all_run(place, original))
    # What does not even run cannot work: the rest is asked all the same, but not waited for.
    deadline = time.monotonic() + (patience if runs.ok else 5.0)
    judged = [runs, *_work(place, original, deadline)]
    for service, ports in original.ports.items():
        for port, path in ports:
            judged.append(_until(
                deadline, f"{service} answers on {port}",
                lambda service=service, port=port, path=path: _http(place, service, port, path),
            ))
    judged.append(_until(deadline, "replicas run one image", lambda: _one_image(place, original)))
    for service, checked in original.health.items():
        judged.append(_until(
            deadline, f"the health of {service} is told true",
            lambda service=service, checked=checked: told_true(place.project, service, checked),
        ))
    quiet = quiet_seconds if all(one.ok for one in judged) else 0.0
    return [*judged, _until(0.0, "no service restarts", lambda: _quiet(place, original, quiet))]


def _until(deadline: float, name: str, ask: Callable[[], Answer], pause: float = 1.0) -> Judgement:
    """Asks until the answer is yes or the deadline has passed (at least once); the last answer counts."""
    while True:
        try:
            ok, why = ask()
        except Unanswered as error:
            ok, why = False, str(error)
        if ok or time.monotonic() + pause > deadline:
            return Judgement(name, ok, why)
        time.sleep(pause)


def _all_run(place: Place, original: Original) -> Answer:
    now = lives(place.project)
    expected = (*original.services, *original.stopped)
    wrong = [f"{service} is missing" for service in expected if service not in now]
    wrong += [
        f"{service} is {life.status} (exit code {life.exit_code})"
        for service in original.services for life in now.get(service, ()) if life.status != "running"
    ]
    return not wrong, "; ".join(wrong) or f"{len(original.services)} services run"


def _one_image(place: Place, original: Original) -> Answer:
    """The containers of each service run the same image, whatever name it was started by."""
    images = {name: {life.image for life in found} for name, found in lives(place.project).items()}
    mixed = [name for name in original.services if len(images.get(name, ())) > 1]
    why = "; ".join(f"{name} runs {len(images[name])} images" for name in mixed)
    return not mixed, why or "each service runs one image"


SEND = """
import json, sys
from celery import Celery
given = json.load(sys.stdin)
app = Celery(broker=given["broker"])
app.conf.broker_transport_options = {"socket_connect_timeout": 5, "socket_timeout": 5}
for id, queue, a, b in given["tasks"]:
    app.send_task(given["task"], (a, b), task_id=id, queue=queue, retry=False)
"""


@dataclass(frozen=True)
class Sent:
    """One task on its way, and the two numbers whose sum one of the queue's own consumers must bring back."""

    id: str
    queue: str
    consumers: tuple[str, ...]
    a: int
    b: int


def _work(place: Place, original: Original, deadline: float) -> list[Judgement]:
    """A task on each queue comes back through PostgreSQL; then so does beat's own task, sent after ours."""
    tasks = [
        Sent(str(uuid.uuid4()), queue, consumers, random.randrange(1000), random.randrange(1000))
        for queue, consumers in original.queues.items()
    ]
    try:
        _send(place, tasks)
    except Unanswered as error:
        why = f"not sent: {error}"
        judged = [Judgement(f"a task on {task.queue} returns", False, why) for task in tasks]
    else:
        judged = [
            _until(deadline, f"a task on {task.queue} returns", lambda task=task: _came_back(place, task))
            for task in tasks
        ]
    if original.scheduler:
        judged.append(_until(deadline, "beat's task is executed anew", lambda: _beats(place, tasks)))
    return judged


def _send(place: Place, tasks: list[Sent]) -> None:
    given = json.dumps({"broker": place.broker_url, "task": place.quick,
                        "tasks": [[task.id, task.queue, task.a, task.b] for task in tasks]})
    try:
        docker("run", "--rm", "--interactive", "--name", place.name, "--network", place.network,
               "--entrypoint", "python3", place.image, "-c", SEND, given=given, seconds=60.0)
    except Unanswered:
        try:
            docker("rm", "--force", place.name)
        except Unanswered:
            pass  # it had gone by itself
        raise


def _rows(place: Place, statement: str) -> list[list[str]]:
    """Rows of the result database as text, asked by its superuser inside PostgreSQL's container."""
    psql = 'exec psql -X -A -t -F "|" -U "$POSTGRES_USER" -d "$0" -c "$1"'
    told = docker("exec", place.postgres, "sh", "-c", psql, place.database, statement)
    return [line.split("|") for line in told.splitlines() if line]


def _came_back(place: Place, task: Sent) -> Answer:
    columns = "status, worker, encode(result, 'hex')"
    rows = _rows(place, f"SELECT {columns} FROM celery_taskmeta WHERE task_id = '{task.id}'")
    if not rows:
        return False, "sent, but celery_taskmeta has no row of it"
    status, worker, stored = rows[0]
    if status != "SUCCESS":
        return False, f"its row in celery_taskmeta says {status}"
    value = _value(bytes.fromhex(stored))
    if value != task.a + task.b:
        return False, f"celery_taskmeta holds {value!r} for {task.a} + {task.b}"
    # A worker's name ends with its host name, which Docker makes of the container's id.
    own = [life.id[:12] for service in task.consumers for life in lives(place.project).get(service, ())]
    told = f"{worker} stored {value!r} in celery_taskmeta"
    if worker.partition("@")[2] not in own:
        return False, f"{told}, which is none of {', '.join(task.consumers)}"
    return True, told


class _PlainUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"a plain value was expected, not {module}.{name}")


def _value(stored: bytes) -> Any:
    """The value in Celery's result column: JSON text in 5.7, a pickle of the value in older versions."""
    try:
        return _PlainUnpickler(io.BytesIO(stored)).load() if stored[:1] == b"\x80" else json.loads(stored)
    except (pickle.UnpicklingError, EOFError, ValueError, IndexError) as error:
        return f"unreadable: {error}"


def _beats(place: Place, ours: list[Sent]) -> Answer:
    """Beat's task was executed after our own tasks had begun: what beat had sent earlier does not count."""
    listed = ", ".join(f"'{task.id}'" for task in ours)
    begun, fresh = _rows(place, (
        f"SELECT count(*), (SELECT count(*) FROM celery_taskmeta WHERE name = '{place.scheduled}'"
        " AND status = 'SUCCESS' AND id > max(ours.id)) FROM celery_taskmeta AS ours"
        f" WHERE task_id IN ({listed})"
    ))[0]
    if int(begun) < len(ours):
        return False, "not all of our own tasks have begun, so nothing shows what beat has sent since"
    return int(fresh) >= FRESH_BEATS, f"{fresh} results of it since our own tasks ({FRESH_BEATS} needed)"


def _http(place: Place, service: str, port: int, path: str) -> Answer:
    why = "it has no address"
    for address in [address for life in lives(place.project).get(service, ()) for address in life.addresses]:
        url = f"http://{address}:{port}{path}"
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with direct.open(url, timeout=5) as answer:
                answer.read(1 << 20)
                if answer.status == 200:
                    return True, f"GET {url}: 200"
                why = f"GET {url}: {answer.status}"
        except urllib.error.HTTPError as error:
            if error.code == 401:  # it asks for a login, as it may be meant to
                return True, f"GET {url}: 401"
            why = f"GET {url}: {error}"
        except (OSError, ValueError) as error:  # refused, timed out, cut off
            why = f"GET {url}: {error}"
    return False, why


def _quiet(place: Place, original: Original, seconds: float) -> Answer:
    """No service is restarted, replaced or stopped until the youngest of them has lived ``seconds``."""
    before = lives(place.project)
    started = [moment(life.started_at) for name in original.services for life in before.get(name, ())]
    lived = clock() - max(started, default=0.0)
    end = time.monotonic() + max(0.0, seconds - lived)
    while True:
        now = lives(place.project)
        changes = ((name, _change(before.get(name, []), now.get(name, []))) for name in original.services)
        changed = [f"{name} {change}" for name, change in changes if change]
        left = end - time.monotonic()
        if changed or left <= 0:
            return not changed, "; ".join(changed) or f"the youngest has lived {max(seconds, lived):.0f} s"
        time.sleep(min(2.0, max(0.1, left)))


def _change(before: list[Life], now: list[Life]) -> str:
    """What happened to a service's containers between two looks; empty if they run on in the same lives."""
    stopped = [life for life in now if life.status != "running"]
    if not now:
        return "is gone"
    if stopped:
        return f"is {stopped[0].status} (exit code {stopped[0].exit_code}, restarts {stopped[0].restarts})"
    if sorted(life.id for life in before) != sorted(life.id for life in now):
        return "was replaced"
    if sorted(life.same for life in before) != sorted(life.same for life in now):
        return "was started again"
    return ""
