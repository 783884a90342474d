"""Node names that two workers share."""

from __future__ import annotations

from collections.abc import Iterator

from celery_triage.checks.registry import Look, NotApplicable, check
from celery_triage.checks.words import listed
from celery_triage.model import Finding, Proof, Remedy
from celery_triage.remedies import alive
from celery_triage.stack import Service


@check(
    "WRK052",
    "duplicate-node-name",
    severity="warning",
    heals=False,
    needs=("containers",),
    uses=("celery", "logs/*", "events", "files/*"),
)
def duplicate_names(look: Look) -> Iterator[Finding]:
    """Two workers have the same node name.

    ## What
    Two workers that run and use the same broker are started in a way that gives both the same name: the same
    `-n` without `%h`, or the same fixed `hostname:`.

    ## Why
    The name is the address of a worker for control commands, and of its mailbox in the broker. A ping with
    `-d NAME` is answered by either, so a health check says nothing of its own container; `revoke`,
    `add_consumer` and Flower reach one of them by chance; events and clocks are mixed up.

    ## Looks like
    `DuplicateNodenameWarning: Received multiple replies from node name: worker@backend`; one worker too few
    in `celery status`.

    ## Confirm
    `celery -A APP status`; `docker inspect -f '{{.Config.Hostname}} {{.Config.Cmd}}' CONTAINER…`.

    ## Do
    Give each its own name: `-n name@%h`, and no fixed `hostname:` for replicas; then let the health checks
    ask for that name.

    ## False alarms
    A name that only a shell in the container makes is not judged.
    """
    if not look.stack.workers and look.section("containers").status == "ok":
        raise NotApplicable("this stack has no worker")
    for (node, broker), workers in sorted(shared(look).items()):
        names = [one.label for one in workers]
        proof = []
        for one in workers:
            given = (one.launch.options.get("hostname") if one.launch else None) or "no -n"
            proof.append(Proof("containers", f"{one.label}: {given}, host name {one.hostname}: {node}"))
            proof += look.seen(one).proof()
        for told in (look.data("celery") or {}).get("brokers") or ():
            if told.get("key") == broker and told.get("asked") is not None:
                proof.append(
                    Proof(
                        "celery",
                        f"{broker}: {told['asked']} nodes got a ping, "
                        f"{len(told.get('replies') or {})} names answered",
                    )
                )
        yield look.finding(
            f"{listed(names)} bear the same node name {node}",
            services=tuple(names),
            object=node,
            proof=proof,
            remedy=Remedy(
                "manual",
                f"Give each its own name in its command (`-n {names[0]}@%h`, `-n {names[1]}@%h`) or its own "
                "`hostname:`, let the health checks ask for that name, and make the containers anew.",
            ),
            verify=alive(workers),
        )


def shared(look: Look) -> dict[tuple[str, str], list[Service]]:
    """The workers that run, by name and broker, where several have both in common."""
    found: dict[tuple[str, str], list[Service]] = {}
    for worker in look.members:
        url, node = worker.url("broker"), worker.nodename
        if worker.role == "worker" and worker.running and node and url is not None and "$" not in node:
            found.setdefault((node, url.parsed.server), []).append(worker)
    return {key: workers for key, workers in found.items() if len(workers) > 1}
