"""Command lines: parsed as the real Celery of each version parsed them, and found behind their wrappers."""

from __future__ import annotations

import json
import random
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from celery_triage.commandline import composewords, parse, tables, unwrap, versions
from celery_triage.commandline.alike import Alike
from celery_triage.commandline.extract import RELEASES, dump

DATA = Path(__file__).parent / "data" / "commandline"
OUTCOMES = json.loads((DATA / "outcomes.json").read_text(encoding="utf-8"))
LINES = [
    line
    for line in (DATA / "lines.txt").read_text(encoding="utf-8").splitlines()
    if line[:1] not in ("#", "")
]
NO_APP = re.compile(r"-A (missing\.module|broken|proj:nothing)\b")

#: Where the table cannot say what the process did, and why.
KNOWN_DIFFERENCES = {
    **{
        (minor, "celery -A proj list"): "click 8.2 and later print the help of such a group with exit code 2"
        for minor in ("5.3", "5.4", "5.5", "5.6", "5.7")
    },
    (
        "5.0",
        "celery -A proj worker -P foo",
    ): "5.0 looks the pool up by name and dies with a traceback, exit code 1",
    **{
        (minor, "celery -A proj inspect nothing"): "5.4 looks the command up only after the parse"
        for minor in ("5.4", "5.5", "5.6", "5.7")
    },
}


def read(line: str, version: str):
    words, env = shlex.split(line), {}
    while "=" in words[0]:
        name, _, value = words.pop(0).partition("=")
        env[name] = value
    return parse(words, version, env=env, flower=False)


@pytest.mark.parametrize("minor", sorted(OUTCOMES))
@pytest.mark.parametrize("line", [line for line in LINES if not NO_APP.search(line)])
def test_ends_as_the_real_celery_ended(line: str, minor: str) -> None:
    """Every recorded command line gets the exit code that the real Celery of that version gave."""
    seen = OUTCOMES[minor]["lines"][line]
    launch = read(line, minor)
    if (minor, line) in KNOWN_DIFFERENCES:
        assert launch.exit_code != seen["exit_code"], "no difference any more: take it out of the list"
        return
    assert launch.exit_code == seen["exit_code"], (launch.problems, seen)


@pytest.mark.parametrize("minor", sorted(OUTCOMES))
@pytest.mark.parametrize("line", [line for line in LINES if not NO_APP.search(line)])
def test_the_first_problem_is_the_one_that_celery_named(line: str, minor: str) -> None:
    """The option or command in the first line of the real error is the option of the first problem."""
    error = OUTCOMES[minor]["lines"][line]["error"]
    if not error or (minor, line) in KNOWN_DIFFERENCES:
        assert (minor, line) in KNOWN_DIFFERENCES or not read(line, minor).error
        return
    problem = read(line, minor).problems[0]
    if option := re.search(r"[Nn]o such option:? '?(-[-\w]+)", error):
        assert problem.kind in ("unknown_option", "misplaced_option")
        assert problem.option == option[1]
    elif option := re.search(r"(?:Error: |Option ')(-[-\w]+)'? (?:option )?(requires|does not)", error):
        assert (problem.kind, problem.option) == (
            "missing_value" if option[2] == "requires" else "bad_value",
            option[1],
        )
    elif "Invalid value for '-" in error:
        assert problem.kind == "bad_value"
        assert problem.option in error or problem.index is None, (
            "given by the environment: no place on the line"
        )
    elif option := re.search(r"No such command '(\w+)'", error):
        assert (problem.kind, problem.token) == ("unknown_command", option[1])
    elif "extra" in error:
        assert problem.kind == "unexpected_argument"
    else:
        assert "argument" in error or "nothing" in error
        assert problem.kind in ("missing_value", "bad_value")


@pytest.mark.parametrize("minor", sorted(OUTCOMES))
@pytest.mark.parametrize("line", [line for line in LINES if NO_APP.search(line)])
def test_what_stops_before_the_application_is_imported(line: str, minor: str) -> None:
    """With a module that is not there, Celery names the option or command only where we say that it comes
    first."""
    error = OUTCOMES[minor]["lines"][line]["error"]
    first = next(iter(read(line, minor).problems), None)
    named_the_line = "No such" in error or "no such" in error
    assert named_the_line == (first is not None and first.before_app), (error, first)


@pytest.mark.parametrize("minor", sorted(OUTCOMES))
def test_tables_hold_the_options_that_help_prints(minor: str) -> None:
    """The option names in recorded ``--help`` output are exactly those of the table."""
    for path in sorted((DATA / "help").glob(f"{minor}-*.txt")):
        command = path.stem.partition("-")[2]
        root = tables.table(minor)["root"]
        node = root if command == "celery" else root["commands"][command]
        declared = {
            name
            for param in node["params"]
            if not param.get("hidden")
            for name in (*param.get("opts", ()), *param.get("secondary_opts", ()))
        }
        printed: set[str] = set()
        for text in path.read_text(encoding="utf-8").splitlines():
            if found := re.match(r"  (-[^ ]+(?:,? ?/? ?-[^ ]+)*)", text):
                printed |= set(re.findall(r"(?<![\w-])--?[A-Za-z][\w-]*", found[1]))
        assert printed - {"--help"} == declared, path.name
        if command == "celery":
            listed = path.read_text(encoding="utf-8").partition("Commands:")[2]
            assert set(re.findall(r"^  (\w+)", listed, re.M)) == set(root["commands"])


def test_there_is_a_table_for_every_release_of_the_list() -> None:
    """The data file holds what ``extract.py`` says that it extracts, in the form in which it writes it."""
    for release in RELEASES:
        assert tables.table(release.minor, release.package)[release.package] == release.version
    text = (Path(tables.__file__).parent / "tables.json").read_text(encoding="utf-8")
    assert dump(json.loads(text)) == text


def test_all_problems_are_given_with_their_places() -> None:
    """A line with three mistakes yields three problems, each with its word, place and candidates."""
    argv = shlex.split("celery -A proj worker --queue mail --log-level=info -c four --queues x")
    launch = parse(argv, "5.7.0")
    assert [(p.kind, p.token, argv[p.index], p.candidates[:1]) for p in launch.problems] == [
        ("unknown_option", "--queue", "--queue", ("--queues",)),
        ("unknown_option", "--log-level=info", "--log-level=info", ("--loglevel",)),
        ("bad_value", "-c", "-c", ()),
    ]
    assert launch.exit_code == 2
    assert launch.options["queues"] == ["x"]


@pytest.mark.parametrize(
    ("line", "kind", "candidate"),
    [
        ("celery worker -A proj", "misplaced_option", "-A"),
        ("celery -A proj --queues=mail worker", "misplaced_option", "--queues"),
        ("celery -A proj --queue=mail worker", "misplaced_option", "--queues"),
        ("celery -A proj worker -queues mail", "unknown_option", "--queues"),
        ("celery -A proj worker --concurency=4", "unknown_option", "--concurrency"),
        ("celery -A proj worker --max_tasks_per_child=4", "unknown_option", "--max-tasks-per-child"),
        ("celery -A proj worker -L info", "unknown_option", "-l"),
        ("celery -A proj worker --brokr=x", "misplaced_option", "--broker"),
        ("celery -A proj wroker", "unknown_command", "worker"),
    ],
)
def test_the_first_candidate_is_what_was_meant(line: str, kind: str, candidate: str) -> None:
    """Common slips get the option that their author meant, on the right side of the sub-command."""
    problem = parse(shlex.split(line), "5.7").problems[0]
    assert (problem.kind, problem.candidates[0]) == (kind, candidate)


def test_a_misplaced_app_is_still_known() -> None:
    """With ``celery worker -A proj`` the module to look for is known though Celery refuses the line."""
    for line in ("celery worker -A proj", "celery worker --app=proj", "celery worker -Aproj -l info"):
        assert parse(shlex.split(line), "5.6").app == "proj"


def test_the_environment_gives_options() -> None:
    """Celery's command line reads ``CELERY_APP`` and ``CELERY_WORKER_…``, and we say from where a value
    came."""
    launch = parse(["celery", "worker"], "5.7", env={"CELERY_APP": "proj", "CELERY_WORKER_QUEUES": "a,b"})
    assert launch.app == "proj"
    assert launch.options == {"queues": ["a", "b"]}
    assert launch.from_env == {"app": "CELERY_APP", "queues": "CELERY_WORKER_QUEUES"}
    assert parse(["celery", "worker"], "5.7", env={}).app is None


def test_words_that_a_shell_expands_are_not_judged() -> None:
    """``-c $N`` is refused as a bad number only where no shell replaces it."""
    argv = ["celery", "-A", "proj", "worker", "-c", "$N"]
    assert parse(argv, "5.7", expands=True).exit_code is None
    assert parse(argv, "5.7").problems[0].kind == "bad_value"


def test_a_missing_version_is_judged_by_the_newest_and_said() -> None:
    """Without a version, or with one that has no table, the sentence names the version that was taken."""
    assert parse(["celery", "worker"], None).version_judged == versions()[-1]
    assert "not known" in parse(["celery", "worker"], None).how
    assert (
        parse(["celery", "worker"], "5.99.0").how == "judged as Celery 5.7: there is no table of Celery 5.99"
    )
    assert parse(["celery", "worker"], "5.4.0rc2").version_judged == "5.4"


def test_only_the_table_of_the_very_version_is_exact() -> None:
    """What a nearby table refuses may be an option of the version that is in the image."""
    argv = ["celery", "worker", "--queue=mail"]
    assert parse(argv, "5.6.1").exact and not parse(argv, "5.8.0").exact and not parse(argv, None).exact


def test_flower_is_a_command_only_where_it_is_installed() -> None:
    """``celery flower`` is unknown in an image without Flower, and takes everything behind it elsewhere."""
    argv = ["celery", "-A", "proj", "flower", "--port=5555", "--anything"]
    assert parse(argv, "5.7", flower=False).problems[0].kind == "unknown_command"
    assert parse(argv, "5.7", flower="2.0.1").exit_code is None
    assert parse(["celery", "flower", "-A", "proj"], "5.7").exit_code is None
    assert parse(["flower", "--port=5555"], "5.7").subcommand == "flower"


@pytest.mark.parametrize(
    ("line", "option", "meant"),
    [
        ("--port 5555", "--port", ("--port=5555",)),
        ("--address=0.0.0.0 --url-prefix ops", "--url-prefix", ("--url-prefix=ops",)),
        ("--basic_auth", "--basic_auth", ()),
        ("--port --debug", "--port", ()),
        ("--port=http", "--port", ()),
        ("-port 5555", "-port", ("-port=5555",)),
    ],
)
def test_flower_takes_a_value_only_behind_an_equals_sign(line: str, option: str, meant: tuple) -> None:
    """Flower 2.2.0 run with each: exit code 1, by Tornado's parser, whatever the version."""
    for version in ("2.2.0", "1.2.0", "9.9", None):
        launch = parse(["celery", "-A", "proj", "flower", *line.split()], "5.7", flower=version)
        (problem,) = launch.problems
        assert (problem.kind, problem.option, problem.candidates) == ("flower_value", option, meant)
        assert launch.exit_code == 1 and launch.error == problem.message


@pytest.mark.parametrize(
    ("line", "env"),
    [
        ("--port=$PORT", {}),
        ("--debug --persistent=true --port=5555", {}),
        ("--task-runtime-metric-buckets=1,2.5,inf", {}),
        ("-A proj --loglevel=info --bogus 3", {}),
        ("--port 5555 --help", {}),
        ("", {"FLOWER_PORT": "5556", "FLOWER_DEBUG": "yes", "FLOWER_UNAUTHENTICATED_API": "maybe"}),
    ],
)
def test_flower_starts_with_all_else(line: str, env: dict[str, str]) -> None:
    """What it does not know it drops; a value that a shell puts in is not judged; help is printed first."""
    argv = ["celery", "-A", "proj", "flower", *line.split()]
    assert parse(argv, "5.7", flower="2.2.0", env=env, expands=True).problems == ()


@pytest.mark.parametrize(
    "argv",
    [
        [],
        ["celery"],
        [""],
        ["celery", "--"],
        ["celery", "-"],
        ["celery", "worker", "--", "-A"],
        ["celery", "="],
        ["celery", "-A", "", "worker", "--=x", "---", "-=", "\x00"],
        ["celery", "worker"] + ["--x"] * 60,
        ["celery", "worker"] + ["-Q"] * 5000,
    ],
)
def test_odd_words_never_raise(argv: list[str]) -> None:
    """Any list of words is read without an exception, in bounded time."""
    launch = parse(argv, "5.7")
    assert launch.how
    assert len(launch.problems) <= 60


CELERY = ("celery", "-A", "a", "worker")
UNWRAPPED = json.loads((DATA / "wrappers.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("case", UNWRAPPED, ids=lambda case: shlex.join(case["argv"])[:60])
def test_wrappers_are_taken_off(case: dict) -> None:
    """Each way in which people start Celery in a container gives the command behind it, or says why not."""
    found = unwrap(case["argv"])
    assert (list(found.argv) if found.argv is not None else None) == case["command"]
    assert list(found.wrappers) == case["wrappers"]
    assert bool(found.unreadable) == (case["command"] is None)
    for name in ("assumed", "expands", "backgrounded"):
        assert bool(getattr(found, name)) == case.get(name, False), name
    for name in ("before", "others", "env"):
        assert json.loads(json.dumps(getattr(found, name))) == case.get(name, []), name


def test_a_script_alone_is_unreadable_and_named() -> None:
    """A script's content is never guessed: the sentence names the script."""
    assert "/start.sh" in (unwrap(["bash", "/start.sh"]).unreadable or "")
    assert "supervisord" in (unwrap(["supervisord", "-n"]).unreadable or "")


@pytest.mark.parametrize(
    ("argv", "none"),
    [
        (["sh", "-c", "sleep 600"], True),
        (["sh", "-c", "while true; do sleep 1; done"], True),
        (["bash"], True),
        ([], True),
        (["sh", "-c", ". /env.sh; sleep 1"], False),
        (["/start-celeryworker"], False),
        (["./bin/worker"], False),
        (["supervisord", "-n"], False),
        (["sh", "-c", "echo 'open"], False),
    ],
)
def test_a_line_that_was_read_and_holds_no_celery_is_told_from_one_that_cannot_be_read(argv, none) -> None:
    """A shell line of `sleep` alone leaves no doubt; a script, a supervisor, a sourced file do."""
    found = unwrap(argv)
    assert found.unreadable and found.no_celery is none and not found.is_celery


def test_a_text_is_read_as_a_shell_script() -> None:
    """A plain string is a script, with line continuations and comments."""
    found = unwrap("exec celery -A a worker \\\n  --loglevel=info # why\n")
    assert found.argv == ("celery", "-A", "a", "worker", "--loglevel=info")


@pytest.mark.parametrize(
    "text", ["'", '"', "`", "$(", "${", "\\", "&&", "$(((", "a" * 100_000, "(" * 5000, "> "]
)
def test_odd_scripts_never_raise(text: str) -> None:
    """A script that cannot be split is said to be unreadable."""
    found = unwrap(["sh", "-c", text])
    assert found.argv is not None or found.unreadable


ALIKE = (
    "celery -A shop worker -l info -Q a,b -n w1@%h",
    "celery --app=shop worker --queues=mail,x --hostname=w@%h -c 4",
    "celery -A a worker -Q $Q -n x",
    "celery -A a events -f 2.0",
    "celery -A a purge -f",
    "celery -Q -A shop worker",
    "celery worker -A shop -Q q",
    "celery -A a worker --queue x -n y",
    "celery -A a beat -s /tmp/x --pidfile=",
    "celery multi start w1 -A p -Q x",
    "celery -A a worker -Q q -- -Q foo",
    "celery -A x flower --port=5 -A y",
    "celery -A x flower --port 5555",
    "celery -A a worker extra -Q x",
    "celery -A a worker -Q a -Q b",
)


@pytest.mark.parametrize("line", ALIKE)
@pytest.mark.parametrize("expands", [True, False])
def test_commands_of_one_shape_are_read_once_and_as_each_by_itself(line, expands) -> None:
    """Names and queues that are put back give what reading the command itself gives, in every version, also
    where the shape was met before with other words."""
    alike, words = Alike(), line.split()
    alike.parse([word.replace("shop", "other").replace("w1", "w2") for word in words], expands=expands)
    for version in (*versions(), None):
        assert alike.parse(words, version, expands=expands) == parse(words, version, expands=expands)


def test_versions_that_read_a_command_alike_share_what_they_read() -> None:
    """Problems are told for each version by its own reading; what is right in all is kept once."""
    alike = Alike()
    told = alike.every(["celery", "-A", "a", "worker", "-Q", "q1"], ("5.0", "5.4", "5.7"))
    assert len({id(launch) for launch in told.values()}) == 1 and told["5.4"].options["queues"] == ["q1"]
    wrong = alike.every(["celery", "-A", "a", "worker", "--queue", "q1", "-n", "x"], ("5.0", "5.7"))
    assert [launch.version_judged for launch in wrong.values()] == ["5.0", "5.7"]
    assert all(launch.problems[0].option == "--queue" for launch in wrong.values())


def test_queues_that_a_shell_fills_in_are_still_a_list() -> None:
    """`sh -c "celery worker -Q $QUEUE"`: one name, not its letters."""
    assert parse("celery -A a worker -Q $QUEUE,b".split(), expands=True).options["queues"] == ["$QUEUE", "b"]


#: Texts of a `command` and the words that `docker compose config` 2.26.1 made of them; None: refused.
COMPOSE_WORDS = [
    ("celery worker && echo a", ["celery", "worker"]),
    ("a b;c d", ["a", "b"]),
    ("a | tee x", ["a"]),
    ("a > /dev/null 2>&1", ["a"]),
    ('a 2"3">b c', ["a"]),
    ("a b2>c", ["a", "b2"]),
    ('a "x;y" z', ["a", "x;y", "z"]),
    ("a 'x && y' z", ["a", "x && y", "z"]),
    ("a x\\;y z", ["a", "x;y", "z"]),
    ("a #b {c} ~ *", ["a", "#b", "{c}", "~", "*"]),
    ("a '' b", ["a", "", "b"]),
    ('a x"y z"w', ["a", "xy zw"]),
    ("a `x;y` z", ["a", "`x;y`", "z"]),
    ("a $(x; y) z", ["a", "$(x; y)", "z"]),
    ('a "b(c)" d', ["a", "b(c)", "d"]),
    ("&& a", []),
    ("a (b) c", None),
    ("a )b", None),
    ("a 'b", None),
    ("a b\\", None),
]


@pytest.mark.parametrize(("text", "words"), COMPOSE_WORDS)
def test_a_text_is_split_as_compose_splits_it(text: str, words: list[str] | None) -> None:
    """It stops at the first operator of a shell; each was given to the real Compose."""
    if words is None:
        with pytest.raises(composewords.Refused):
            composewords.split(text)
    else:
        assert composewords.split(text)[0] == words


@pytest.mark.docker
def test_compose_itself_splits_random_texts_alike(tmp_path) -> None:
    """Quotes, brackets, backslashes and operators in any order (700 others were tried once without a
    difference)."""
    signs = [*"a2'\"\\`$()  ;&|><n", "x y", "$("]
    chance = random.Random(4)
    for _ in range(60):
        text = "".join(chance.choice(signs) for _ in range(chance.randint(2, 9)))
        if not text.strip():
            continue
        file = tmp_path / "compose.yml"
        file.write_text(json.dumps({"services": {"w": {"image": "x", "command": text.replace("$", "$$")}}}))
        command = ["docker", "compose", "-f", str(file), "config", "--format", "json"]
        done = subprocess.run(command, capture_output=True, text=True)
        try:
            words = composewords.split(text)[0]
        except composewords.Refused:
            assert "invalid command line string" in done.stderr, text
        else:
            told = json.loads(done.stdout)["services"]["w"]["command"] or []
            assert [word.replace("$$", "$") for word in told] == words, text


@pytest.mark.parametrize(
    ("line", "lost", "operator"),
    [
        (["sh", "-c", "celery", "-A", "shop", "worker"], ("-A", "shop", "worker"), ""),
        (["sh", "-c", 'exec "$@"', "--", "celery", "worker"], (), ""),
        (["sh", "-c", "celery worker"], (), ""),
        (["celery", "-A", "shop", "worker", "&&", "x"], (), "&&"),
        (["./wait.sh;", "celery", "worker"], (), "./wait.sh;"),
        (["sh", "-c", "a", "&&", "celery"], ("&&", "celery"), ""),
        (["find", "/x", "-exec", "rm", "{}", ";"], (), ""),
        (["celery", "-A", "shop", "worker", "-c", "4"], (), ""),
    ],
)
def test_words_that_no_shell_reads_are_told(line: list[str], lost: tuple, operator: str) -> None:
    """Behind `sh -c word`, and operators outside of any shell."""
    read = unwrap(line)
    assert (read.lost, read.operator) == (lost, operator)


@pytest.mark.parametrize("minor", ["5.4", "5.7"])
@pytest.mark.parametrize(
    ("line", "meant"),
    [
        ("celery -A shop inspect actve", ("active",)),
        ("celery -A shop inspect -d w@x pinng", ("ping",)),
        ("celery -A shop control shutdwn", ("shutdown",)),
        ("celery -A shop inspect active", None),
        ("celery -A shop inspect our_own_request", None),
        ("celery -A shop control add_consumer mail", None),
    ],
)
def test_a_misspelt_request_is_told_and_an_applications_own_is_not(line: str, meant, minor: str) -> None:
    """Celery 5.4 to 5.7: "Command actve not recognized", exit code 2."""
    problems = parse(line.split(), minor).problems
    assert [problem.candidates for problem in problems] == ([meant] if meant else [])
