"""Breaks the lab's stack in every known way, asks the tool what is wrong, cures it so, judges the cure.

    python -m tests.lab.runner [FAULT…] [--faults-dir DIR] [--jobs N] [--json FILE] [--table FILE]
                               [--no-op | --stop-service] [--keep]

For each fault: the stack comes up broken; ``celery-triage check -p PROJECT --json`` runs as a process of its
own; its causes are held against the fault's; its remedies are carried out to the letter (``cure``); an oracle
that knows nothing of the tool judges what came of it (``oracle``); then the tool, asked again, may not name
what was cured. Prints one line for each fault, below it what is not as it should be. Exit code 0 only if
every fault was told right and cured, 1 if not, 2 if the lab could not work, 64 for wrong use.

``--no-op`` and ``--stop-service`` test the lab itself: nothing is done, or the broken services are stopped,
in place of the remedy. Both must end as "not cured".
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

if __package__ in (None, ""):  # run by its path
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.lab import cure, images, lab, lanes, oracle, table
from tests.lab.asking import NotDiagnosed, diagnose, tool_command
from tests.lab.fault import FOLDER, BadFault, Fault, fault_names, load_fault
from tests.lab.results import Result, as_json, compare, still_told

#: Not the prefix of `make lab-up`: a stack that somebody looks at is not taken away.
PREFIX = "ctfaults_"
PROMISED_SECONDS = 60.0  # within which a default run of the tool ends whatever the stack does
HOPELESS_SECONDS = 15.0  # how long the oracle waits where the remedy could not be carried out
LAB_ERRORS = (BadFault, lab.NotReached, lab.StepFailed, images.BuildFailed)


@dataclass(frozen=True)
class Options:
    """How faults are run: ``tool`` is the command line of the tool, ``patience`` the oracle's, in seconds."""

    prefix: str = PREFIX
    mode: str = "remedy"
    patience: float = 180.0
    tool: tuple[str, ...] = ()


def run_fault(name: str | Path, folder: Path | str = FOLDER, options: Options | None = None) -> Result:
    """Runs one fault from a fresh stack to the oracle's judgement; leaves it up. Raises lab.Foreign."""
    options = options or Options()
    began = time.monotonic()
    result = Result(Path(name).stem)
    try:
        fault = load_fault(name, folder)
        result.title = fault.title
        _run(fault, options, result)
    except LAB_ERRORS as error:
        result.error = f"{type(error).__name__}: {error}"
    except NotDiagnosed as error:
        result.error = str(error)
    result.seconds = time.monotonic() - began
    return result


def _run(fault: Fault, options: Options, result: Result) -> None:
    lap = _Laps(result)
    place = lab.up(fault, options.prefix)
    lap("up")
    diagnosis, exit_code = diagnose(place, options.tool or tool_command())
    lap("check")
    result.diagnosis = diagnosis
    result.comparison = compare(diagnosis, expectation(fault), exit_code)
    if result.timings["check"] > PROMISED_SECONDS:
        result.comparison.problems.append(f"the check took {result.timings['check']} s")
    causes = _causes(diagnosis)
    _treat(fault, place, options.mode, causes, result)
    lap("cure")
    original = oracle.Original.read(lab.COMPOSE / "backend" / "docker-compose.yml", fault.stopped_ok,
                                    fault.gone_ok, fault.true_health, fault.names)
    patience = min(options.patience, HOPELESS_SECONDS) if result.remedy else options.patience
    there = where(place, fault.broker_after)
    result.judgements = oracle.judge(there, original, fault.quiet_seconds, patience)
    lap("oracle")
    if result.cured and causes:
        again, _ = diagnose(place, options.tool or tool_command())
        result.comparison.false_alarms += [f"after the cure: {told}" for told in still_told(again, causes)]
        lap("check again")


def _causes(diagnosis: Mapping[str, Any]) -> list[dict[str, Any]]:
    findings = {finding["id"]: finding for finding in diagnosis["findings"]}
    return [findings[id] for id in diagnosis["causes"] if id in findings]


class _Laps:
    """Notes in the result how long each part took, and tells it to whoever waits."""

    def __init__(self, result: Result) -> None:
        self.result, self.last = result, time.monotonic()

    def __call__(self, part: str) -> None:
        now = time.monotonic()
        self.result.timings[part] = round(now - self.last, 1)
        self.last = now
        _say(f"{self.result.fault}: {part} took {self.result.timings[part]:.0f} s")


def expectation(fault: Fault) -> dict[str, Any]:
    """What a fault expects, in the form that results.compare takes."""
    causes = [{**dataclasses.asdict(cause), "services": sorted(cause.services)} for cause in fault.expected]
    return {"causes": causes, "verdict": fault.verdict, "not": list(fault.unexpected)}


def where(place: lab.Lab, broker: str = "") -> oracle.Place:
    """The lab as the oracle needs it: results belong into the database of the original environment.
    ``broker`` is the URL of the broker after the cure, where the fault says one."""
    return oracle.Place(
        project=place.backend_project, network=place.networks["database-net"],
        image=images.app_image(images.requirements()), postgres=place.server("postgres"),
        database=place.names.text(lab.DATABASE),
        broker_url=place.names.text(broker) if broker else place.broker_url,
        name=f"{place.prefix}ai_oracle", quick=place.names.text(oracle.QUICK),
        scheduled=place.names.text(oracle.SCHEDULED),
    )


def _treat(
    fault: Fault, place: lab.Lab, mode: str, causes: list[dict[str, Any]], result: Result
) -> None:
    """Carries out the remedies of all causes, or what stands in their place when the lab tests itself."""
    if mode != "remedy":
        result.kinds = (mode,)
        if mode == "stop-service":
            broken = {service for cause in fault.expected for service in cause.services}
            for service in sorted(broken & place.containers.keys()):
                lab.compose(place, "backend", "stop", "--timeout", "1", service)
        return
    try:
        steps = cure.plan(causes, fault.choice, fault.manual)
    except cure.Refused as error:
        result.remedy = str(error)
        result.kinds = tuple(str((cause.get("remedy") or {}).get("kind", "none")) for cause in causes)
        return
    result.kinds = steps.kinds
    done = cure.carry_out(
        steps, place.folder, place.backend_dir,
        by_hand=lambda name: lab.apply_manual(place, fault, name), env=place.env,
    )
    result.remedy = done.why
    result.ran = [dataclasses.asdict(ran) for ran in done.ran]


def clean_up(prefix: str) -> None:
    """Removes all that this prefix has on the engine. Raises lab.Foreign for what is not the lab's own."""
    place = lab.Lab.at(prefix)
    name = f"{prefix}ai_oracle"
    subprocess.run(["docker", "rm", "--force", name], capture_output=True, check=False, timeout=60)
    lab.down(place)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> Any:
        self.print_usage(sys.stderr)
        self.exit(64, f"{self.prog}: {message}\n")


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = _Parser(prog="faults", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("faults", nargs="*", metavar="FAULT", help="name or path (default: all)")
    parser.add_argument("--faults-dir", default=str(FOLDER), help="any folder with fault files")
    parser.add_argument("--prefix", default=PREFIX, help="of all names on the engine (default %(default)s)")
    parser.add_argument("--json", metavar="FILE", help="write all results there, too")
    mode = parser.add_mutually_exclusive_group()
    for name, told in (("no-op", "do nothing"), ("stop-service", "stop the broken services")):
        mode.add_argument(f"--{name}", dest="mode", action="store_const", const=name,
                          help=f"{told} in place of the remedy: must end as not cured")
    parser.add_argument("--patience", type=float, default=180.0, metavar="SECONDS",
                        help="how long the oracle waits for a stack to work (default %(default).0f)")
    parser.add_argument("--tool", metavar="COMMAND", help="the tool's command line (default: as installed)")
    parser.add_argument("--jobs", type=int, default=1, metavar="N",
                        help="faults side by side, each with a stack of its own (default %(default)s)")
    parser.add_argument("--table", metavar="FILE", help="note each result in this table of all faults")
    parser.add_argument("--while-stdin", action="store_true", help="end when the standard input ends")
    parser.add_argument("--keep", action="store_true", help="leave the last stack up")
    given = parser.parse_args(argv)
    given.faults = given.faults or fault_names(given.faults_dir)
    if not given.faults:
        parser.error(f"{given.faults_dir} holds no fault file (*.yml)")
    if given.jobs < 1 or (given.jobs > 1 and given.keep):
        parser.error("--jobs is 1 or more, and --keep is for one stack only")
    if given.table and given.mode:
        parser.error(f"--table is for what remedies came to, not for --{given.mode}")
    return given


def main(argv: list[str] | None = None) -> int:
    """The command line. A stack that was begun is removed whatever happens, unless it shall be kept."""
    given = _arguments(argv)
    tool = tuple(shlex.split(given.tool or ""))
    signal.signal(signal.SIGTERM, _terminated)
    if given.while_stdin:
        threading.Thread(target=_end_with_stdin, daemon=True).start()
    results: list[Result] = []
    versions = table.versions(tool or tool_command()) if given.table else ""

    def told(result: Result) -> None:
        results.append(result)
        print(result.line, flush=True)
        for detail in result.details:
            print(f"       {detail}", flush=True)
        if given.json:
            Path(given.json).write_text(json.dumps(as_json(results), indent=2, ensure_ascii=False) + "\n")
        if given.table:
            table.note(result, versions, fault_names(given.faults_dir), Path(given.table))

    try:
        if given.jobs > 1:
            _side_by_side(given, told)
        else:
            options = Options(given.prefix, given.mode or "remedy", given.patience, tool)
            for name in given.faults:
                told(run_fault(name, given.faults_dir, options))
    except lab.Foreign as error:
        _say(str(error))
        return 2
    except KeyboardInterrupt:
        _say("interrupted")
        return 130
    finally:
        if not given.keep:
            _clear(lanes.prefixes(given.prefix, given.jobs))
    good = sum(result.ok for result in results)
    print(f"{good} of {len(results)} faults told right and cured", flush=True)
    return 0 if good == len(results) else 1


def _side_by_side(given: argparse.Namespace, told: Callable[[Result], None]) -> None:
    passed = ["--patience", str(given.patience), *(["--tool", given.tool] if given.tool else []),
              *([f"--{given.mode}"] if given.mode else [])]
    running = lanes.Lanes(given.faults, given.prefix, given.jobs, passed, given.faults_dir, told).start()
    try:
        for future in running.results.values():
            future.result()
    finally:
        running.stop()


def _clear(prefixes: list[str]) -> None:
    for prefix in prefixes:
        try:
            clean_up(prefix)
        except (lab.Foreign, lab.StepFailed, OSError, subprocess.SubprocessError) as error:
            _say(f"not all could be removed: {error}")


def _end_with_stdin() -> None:
    """Ends this process as SIGTERM does when nobody holds its standard input any more."""
    while os.read(0, 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def _terminated(number: int, frame: object) -> None:
    raise SystemExit(128 + number)


def _say(text: str) -> None:
    print(f"faults: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
