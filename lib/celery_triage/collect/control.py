"""The questions of Celery's remote control that are asked, and what is kept of each answer.

Pure: in goes what one node said, out comes plain data, unmasked but without the arguments of any task.
The shapes are those of Celery 5.7 (``worker/control.py``; ``Request.info`` in ``worker/request.py``;
``Settings.table`` in ``app/utils.py``). An answer of another shape gives None, as no answer does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from celery_triage import shapes

#: More entries of one answer are not kept.
MOST_ACTIVE = 200
MOST_NAMES = 1000
MOST_ENTRIES = 200
#: A text of a setting is cut there.
TEXT = 500

#: What goes along with a question. Only ``active`` can be asked to leave whole arguments of tasks out (it
#: then sends short descriptions, which are not kept either).
ARGUMENTS: dict[str, dict[str, Any]] = {"active": {"safe": True}, "conf": {"with_defaults": True}}

#: The settings that are kept: where tasks go, when, how they are acknowledged, what bounds them. The two URLs
#: are not among them: a worker that has its broker from ``CELERY_BROKER_URL`` says
#: ``amqp://guest:********@localhost:5672//`` (5.7, measured), and ``stats`` tells the true one. Every setting
#: with DATABASE or KEY in its name comes as ``********`` (``app/utils.py``), names of result tables too.
SETTINGS = frozenset((
    "accept_content beat_max_loop_interval beat_scheduler broker_connection_max_retries "
    "broker_connection_retry broker_connection_retry_on_startup broker_heartbeat broker_pool_limit "
    "enable_utc imports include result_backend_always_retry result_expires "
    "result_extended result_persistent result_serializer task_acks_late task_acks_on_failure_or_timeout "
    "task_always_eager task_create_missing_queues task_default_exchange task_default_priority "
    "task_default_queue task_ignore_result task_queue_max_priority task_reject_on_worker_lost task_routes "
    "task_send_sent_event task_serializer task_soft_time_limit task_store_errors_even_if_ignored "
    "task_time_limit task_track_started timezone worker_concurrency worker_consumer "
    "worker_max_memory_per_child worker_max_tasks_per_child worker_pool worker_prefetch_multiplier "
    "worker_proc_alive_timeout worker_send_task_events worker_soft_shutdown_timeout worker_state_db"
).split())
#: Of an entry of the beat schedule the options that decide where and how its message goes.
_OPTIONS = ("queue", "exchange", "routing_key", "expires", "priority", "countdown", "time_limit",
            "soft_time_limit", "ignore_result")
#: Of the transport's options only this one: others hold passwords and host names.
_TRANSPORT = ("visibility_timeout",)


def kept(question: str, answer: Any) -> dict[str, Any]:
    """The keys of a reply that an answer fills; all None where it has another shape than Celery gives it."""
    try:
        if isinstance(answer, Mapping) and answer.keys() == {"error"}:
            raise TypeError("the node could not answer")
        told = _KEPT[question](answer)
        if shapes.wrong("celery", {"brokers": [{"replies": {"": told}}]}):
            raise TypeError("a bundle with that could not be read again")
        return told
    except (TypeError, ValueError, AttributeError, KeyError):
        return dict.fromkeys(BLANK[question])


def _stats(answer: Mapping[str, Any]) -> dict[str, Any]:
    pool = answer.get("pool") if isinstance(answer.get("pool"), Mapping) else {}
    broker = answer.get("broker") if isinstance(answer.get("broker"), Mapping) else {}
    processes = pool.get("processes")
    return {"stats": {
        "pid": answer.get("pid"), "uptime": answer.get("uptime"), "total": answer.get("total"),
        "prefetch_count": answer.get("prefetch_count"), "clock": answer.get("clock"),
        "pool": {"implementation": pool.get("implementation"), "max-concurrency": pool.get("max-concurrency"),
                 "processes": processes[:200] if isinstance(processes, list) else None},
        "broker": {name: broker.get(name) for name in ("hostname", "port", "virtual_host", "transport")},
    }}


def _active(answer: list[Mapping[str, Any]]) -> dict[str, Any]:
    """``time_start`` is in seconds since 1970, by the worker's clock; None for a task that no process has
    accepted yet."""
    kept_keys = ("id", "name", "time_start", "worker_pid", "acknowledged")
    tasks = [{key: task.get(key) for key in kept_keys} for task in _list(answer)[:MOST_ACTIVE]]
    return {"active": tasks, "active_count": len(answer)}


def _reserved(answer: list[Any]) -> dict[str, Any]:
    return {"reserved": len(_list(answer))}


def _scheduled(answer: list[Any]) -> dict[str, Any]:
    return {"scheduled": len(_list(answer))}


def _active_queues(answer: list[Mapping[str, Any]]) -> dict[str, Any]:
    return {"active_queues": [str(queue["name"])[:TEXT] for queue in _list(answer)[:MOST_NAMES]]}


def _registered(answer: list[str]) -> dict[str, Any]:
    """Names only: Celery puts ``[rate_limit=…]`` behind a name."""
    return {"registered": [str(text).partition(" [")[0][:TEXT] for text in _list(answer)[:MOST_NAMES]]}


def _conf(answer: Mapping[str, Any]) -> dict[str, Any]:
    told = {name: _short(answer[name]) for name in sorted(SETTINGS & answer.keys())}
    transport = answer.get("broker_transport_options")
    if isinstance(transport, Mapping):
        told["broker_transport_options"] = {name: _short(transport[name]) for name in _TRANSPORT
                                            if name in transport}
    schedule = answer.get("beat_schedule")
    if isinstance(schedule, Mapping):
        told["beat_schedule"] = {str(name)[:TEXT]: _entry(entry) for name, entry in
                                 list(schedule.items())[:MOST_ENTRIES] if isinstance(entry, Mapping)}
    return {"conf": told}


def _entry(entry: Mapping[str, Any]) -> dict[str, Any]:
    """One entry of the schedule without its arguments. A crontab is Celery's own text of it, an interval
    seconds or ``0:00:30``."""
    options = entry.get("options") if isinstance(entry.get("options"), Mapping) else {}
    return {"task": _short(entry.get("task")), "schedule": _short(entry.get("schedule")),
            "options": {name: _short(options[name]) for name in _OPTIONS if name in options}}


def _short(value: Any, depth: int = 3) -> Any:
    """A value with long texts and long or deep collections cut."""
    if isinstance(value, str):
        return value[:TEXT]
    if isinstance(value, Mapping):
        return {str(key)[:TEXT]: _short(item, depth - 1)
                for key, item in list(value.items())[:MOST_ENTRIES]} if depth else None
    if isinstance(value, (list, tuple)):
        return [_short(item, depth - 1) for item in value[:MOST_ENTRIES]] if depth else None
    return value if value is None or isinstance(value, (bool, int, float)) else str(value)[:TEXT]


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError("no list")
    return value


_KEPT: dict[str, Callable[[Any], dict[str, Any]]] = {
    "ping": lambda answer: {}, "stats": _stats, "active": _active, "reserved": _reserved,
    "scheduled": _scheduled, "active_queues": _active_queues, "registered": _registered, "conf": _conf,
}
#: The keys of a reply, by the question that fills them.
BLANK = {"ping": (), "stats": ("stats",), "active": ("active", "active_count"), "reserved": ("reserved",),
         "scheduled": ("scheduled",), "active_queues": ("active_queues",), "registered": ("registered",),
         "conf": ("conf",)}
#: All that is ever asked; none of them changes anything in a worker. ``ping`` comes first, alone.
QUESTIONS = tuple(_KEPT)
