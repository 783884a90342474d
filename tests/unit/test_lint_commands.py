"""What starts Celery in Compose files: wrappers taken off, scripts unread; the versions an image can hold."""

from __future__ import annotations

import json

import pytest
from linted import HEALTHY, found, judged

WRAPPED = [
    "sh -c '{}'",
    'bash -lc "{}"',
    'bash -c "cd /app && exec {}"',
    "sh -c 'python manage.py migrate; {}'",
    "sh -c 'sleep 5 && {}'",
    "wait-for-it redis:6379 -- {}",
    "./wait-for-it.sh redis:6379 -t 30 -- {}",
    "wait-for-it redis:6379 db:5432 -- {}",
    "./wait-for-it.sh redis:6379 -t 30 db:${{PORT}} -- {}",
    "sh -c 'if [ -n \"$X\" ]; then exec {}; fi'",
    "dockerize -wait tcp://redis:6379 -timeout 30s {}",
    "watchmedo auto-restart -d . -p '*.py' -R -- {}",
    'watchfiles --filter python "{}"',
    "hupper -m {}",
    "poetry run {}",
    "uv run --no-dev {}",
    "pipenv run {}",
    "pdm run {}",
    "python -m {}",
    "gosu app {}",
    "su-exec app:app {}",
    "tini -- {}",
    "nice -n 10 {}",
    "timeout 3600 {}",
    "env PYTHONPATH=/app {}",
    "sh -c 'PYTHONPATH=/app C_FORCE_ROOT=1 {}'",
    "/usr/bin/env {}",
    "tini -s -- gosu app poetry run {}",
]


def starts(command: str) -> str:
    quoted = json.dumps(command)  # YAML reads JSON's text
    return HEALTHY.replace("celery -A shop worker -l info -c 4", quoted)


@pytest.mark.parametrize("wrapper", WRAPPED)
def test_the_command_behind_a_wrapper_is_judged_with_its_line(tmp_path, wrapper):
    """A misspelt option is found behind it, and the right one is quiet."""
    told = judged(tmp_path / "wrong", starts(wrapper.format("celery -A shop worker --concurency=2")))
    assert found(told) == {"CMD001": "critical"} and told.diagnosis.findings[0].proof[0].line == 7
    assert not found(
        judged(tmp_path / "right", starts(wrapper.format("celery -A shop worker --concurrency=2")))
    )


@pytest.mark.parametrize(
    "command",
    [
        "/app/start.sh",
        "bash ./celery.sh",
        "/start-celeryworker",
        "./bin/worker",
        "python -c 'import celery'",
        "supervisord -n",
        "sh -c 'celery -A shop worker --loglevel \"info'",
    ],
)
def test_what_cannot_be_read_is_said_to_be_unknown_and_not_judged(tmp_path, command):
    """A script, code on the command line, a supervisor, an open quote: a note with the codes left open."""
    told = judged(tmp_path, starts(command).replace("worker:", "celery_worker:"))
    assert not found(told) and told.celery == ()
    ((about, _, open_codes),) = [note for note in told.notes if "CMD001" in note[2]]
    assert about == "celery_worker" and "CMD002" in open_codes
    outcomes = {one.code: one.outcome for one in told.diagnosis.outcomes}
    assert outcomes["CMD001"] == "unknown"


def test_list_and_block_commands_and_entrypoints_are_read(tmp_path):
    """`command` as a list, as a folded block, and the whole of it in `entrypoint`."""
    wrong = "celery -A shop worker --concurency=2"
    lists = HEALTHY.replace("celery -A shop worker -l info -c 4", json.dumps(wrong.split()))
    folded = HEALTHY.replace(
        "celery -A shop worker -l info -c 4", ">\n      celery -A shop worker\n      --concurency=2"
    )
    entry = HEALTHY.replace("command: celery -A shop worker -l info -c 4", f"entrypoint: {wrong}")
    for number, text in enumerate((lists, folded, entry)):
        told = judged(tmp_path / str(number), text)
        assert found(told) == {"CMD001": "critical"}, text
        assert "--concurency" in told.diagnosis.findings[0].proof[0].text


BUILT = HEALTHY.replace("image: shop", "build: .").replace("-A shop worker", "worker -A shop")
POETRY = '[[package]]\nname = "celery"\nversion = "5.3.6"\n'
PIPFILE = json.dumps({"default": {"celery": {"version": "==5.3.6"}, "redis": {"version": "==5.0"}}})


@pytest.mark.parametrize(
    ("name", "text", "version"),
    [
        ("requirements.txt", "celery[redis]==5.3.6  # why\n", "5.3"),
        ("requirements/base.txt", "redis\ncelery[redis]>=5.3,<5.4\n", "5.3"),
        ("pyproject.toml", '[project]\nname = "a"\ndependencies = ["celery[redis]~=5.3.0"]\n', "5.3"),
        (
            "pyproject.toml",
            '[tool.poetry.dependencies]\ncelery = {version = "~5.3", extras = ["redis"]}\n',
            "5.3",
        ),
        ("poetry.lock", POETRY + '[[package]]\nname = "redis"\nversion = "5.0.0"\n', "5.3"),
        ("uv.lock", POETRY, "5.3"),
        ("pdm.lock", POETRY, "5.3"),
        ("Pipfile.lock", PIPFILE, "5.3"),
        ("Pipfile", '[packages]\ncelery = "~=5.3.0"\n', "5.3"),
    ],
)
def test_lists_and_locks_beside_the_dockerfile_say_the_version(tmp_path, name, text, version):
    """The order of Celery 4 is critical where the list allows 5.3 alone, and the finding says by what."""
    files = {"docker-compose.yml": BUILT, "Dockerfile": "FROM python:3.12\nCOPY . .\n", name: text}
    told = judged(tmp_path, files)
    assert found(told)["CMD001"] == "critical", found(told)
    assert f"Celery {version}, the version here" in told.diagnosis.findings[0].title
    assert name.rsplit("/", 1)[-1] in told.how[0]


def test_the_dockerfile_itself_may_say_version_command_and_environment(tmp_path):
    """`RUN pip install celery==…`, `CMD` and `ENV` of the stage that is built; what is known of that version
    upstream is a notice."""
    compose = (
        "services:\n  worker: {build: {context: ., target: run}, restart: always}\n  redis: {image: redis}\n"
    )
    docker = (
        "FROM python:3.12 AS base\nRUN pip install 'celery[redis]==5.4.0' \\\n    requests\n"
        "FROM base AS run\nENV CELERY_BROKER_URL=redis://redsi:6379/0\n"
        'CMD ["celery", "-A", "shop", "worker", "--concurency=2"]\nFROM base AS web\nCMD ["gunicorn", "x"]\n'
    )
    told = judged(tmp_path, {"docker-compose.yml": compose, "Dockerfile": docker})
    assert found(told) == {"CMD001": "critical", "URL003": "notice", "PKG020": "notice"}, found(told)
    assert "celery==5.4.0 in Dockerfile" in told.how[0]


def test_a_list_that_allows_all_or_is_not_there_leaves_the_version_open(tmp_path):
    """`celery` without a version, and no list at all: judged against all versions, and the finding names
    those for which it is wrong."""
    for number, files in enumerate(({"requirements.txt": "celery\n"}, {})):
        told = judged(
            tmp_path / str(number), {"docker-compose.yml": BUILT, "Dockerfile": "FROM x\n", **files}
        )
        assert (
            found(told)["CMD001"] == "warning"
            and "wrong for Celery 5.0 to 5.7" in told.diagnosis.findings[0].title
        )
        assert told.how == ()


@pytest.mark.parametrize(
    "command",
    ["./bin/worker", "./start-worker.sh", "./manage.py celeryd", "frobnicate celery -A shop worker"],
)
def test_what_looks_like_a_worker_and_cannot_be_read_is_named(tmp_path, command):
    """A script called worker, and a program that nobody knows with celery behind it: unknown, not quiet."""
    told = judged(tmp_path, starts(command).replace("worker:", "jobs:"))
    assert not found(told) and [about for about, _, codes in told.notes if "CMD001" in codes] == ["jobs"]


@pytest.mark.parametrize(
    "words",
    ["-l ${B:+debug}", "${B:+-l} info", "${OPTIONS} info", "${OPTIONS:+x} --loglevel info", "-c ${N}"],
)
def test_a_variable_that_may_hold_an_option_leaves_the_words_behind_it_open(tmp_path, words):
    """It is not set here, and the environment of whoever starts the stack may have it."""
    assert not found(judged(tmp_path, HEALTHY.replace("-l info -c 4", words)))


@pytest.mark.parametrize(
    ("words", "title", "fix"),
    [
        ("worker --conc 4", "no option --conc (", "instead of --conc: --concurrency"),
        ("worker --host=x", "no option --host (", "instead of --host: --hostname"),
        ("worker -loglevel=info", "no option -loglevel (", "Write --loglevel instead of -loglevel."),
        ("worker -loglevel info", "no option -loglevel (", "Write --loglevel instead of -loglevel."),
        ("worker —concurrency=4", "—concurrency=4", "Write --concurrency=4, with hyphens"),
        ("worker –c 4", "–c", "Write -c, with hyphens"),
        ("worker,beat", "no command worker,beat", "worker and beat"),
    ],
)
def test_a_word_that_no_celery_5_takes_is_critical_with_what_was_meant(tmp_path, words, title, fix):
    """Shortened names, one dash for two, dashes of a word processor, two sub-commands in one."""
    told = judged(tmp_path, HEALTHY.replace("worker -l info -c 4", words, 1))
    one = told.diagnosis.findings[0]
    assert one.severity == "critical" and title in one.title and fix in one.remedy.summary
    assert sum(other.code.startswith("CMD") for other in told.diagnosis.findings) == 1


@pytest.mark.parametrize(
    ("words", "fix"),
    [
        ("celery -l info -A shop worker", "Write -l behind worker"),
        ("celery worker --app=shop", "Write --app before worker"),
        ("celery -A shop worker --broker-url=redis://redis", "Write --broker before worker"),
        ("celery -A shop worker -c=4", "Write -c 4: behind a single dash stands no equals sign."),
        ("celery -A shop worker --disable-prefetch", "only Celery 5.6 to 5.7 has it"),
    ],
)
def test_the_fix_says_where_a_word_belongs(tmp_path, words, fix):
    """Before or behind the sub-command, which versions have it, and how a value is written."""
    told = judged(tmp_path, HEALTHY.replace("celery -A shop worker -l info -c 4", words))
    (one,) = [one for one in told.diagnosis.findings if one.code == "CMD001"]
    assert fix in one.remedy.summary


def test_an_image_that_only_is_called_celery_says_no_version(tmp_path):
    """The tag of a private image may mean anything; only the official image's is Celery's version."""
    for image, severity in (("registry.example/billing/celery:5.2", "warning"), ("celery:5.2", "critical")):
        text = HEALTHY.replace("image: shop", f"image: {image}").replace("-A shop worker", "worker -A shop")
        assert found(judged(tmp_path / severity, text))["CMD001"] == severity


@pytest.mark.parametrize(
    ("docker", "told"),
    [
        ("RUN pip install celery==5.5.0rc3\n", "Celery 5.5, the version here"),
        (
            "ARG CELERY_VERSION=5.2.7\nRUN pip install celery==${CELERY_VERSION}\n",
            "Celery 5.2, the version here",
        ),
        ("RUN pip install \\\n  # celery==5.3.0\n  celery==5.4.0\n", "Celery 5.4, the version here"),
    ],
)
def test_the_dockerfiles_pin_is_read_as_it_is_meant(tmp_path, docker, told):
    """Pre-releases, arguments with a default, comments between continued lines."""
    files = {"docker-compose.yml": BUILT, "Dockerfile": f"FROM python:3.12\n{docker}"}
    assert told in judged(tmp_path, files).diagnosis.findings[0].title


def test_lists_that_a_list_names_are_followed(tmp_path):
    """`-c` says which version, `-r` leads into another folder, and circles end."""
    for number, lists in enumerate(
        (
            {"requirements.txt": "celery\n-c limits.pip\n", "limits.pip": "celery==5.3.6\nflask==3\n"},
            {"requirements.txt": "-r deploy/prod.pip\n", "deploy/prod.pip": "celery==5.3.6\n-r prod.pip\n"},
        )
    ):
        files = {"docker-compose.yml": BUILT, "Dockerfile": "FROM python:3.12\n", **lists}
        told = judged(tmp_path / str(number), files)
        assert "Celery 5.3, the version here" in told.diagnosis.findings[0].title


def test_a_version_without_a_table_is_not_judged_and_said(tmp_path):
    """Celery 3 and what is to come."""
    files = {"docker-compose.yml": BUILT, "Dockerfile": "FROM x\n", "requirements.txt": "celery==3.1.25\n"}
    told = judged(tmp_path, files)
    assert "CMD001" not in found(told)
    assert any("no table of the options of celery==3.1.25" in why for _, why, _ in told.notes)


def test_what_only_an_old_version_refuses_is_a_notice_where_no_version_is_known(tmp_path):
    """The newest is meant where nothing says which; Celery 5.0 takes any pool, whatever its help says."""
    assert found(judged(tmp_path / "a", HEALTHY.replace("-c 4", "--disable-prefetch"))) == {
        "CMD001": "notice"
    }
    assert not found(judged(tmp_path / "b", HEALTHY.replace("-c 4", "--pool=threads")))
    files = {"docker-compose.yml": HEALTHY.replace("image: shop", "build: .").replace("-c 4", "-P threads")}
    files |= {"Dockerfile": "FROM x\n", "requirements.txt": "celery[redis]==5.0.5\n"}
    assert "CMD001" not in found(judged(tmp_path / "c", files))


def test_every_celery_of_a_shell_line_is_judged(tmp_path):
    """Also the one in the background, which is not the one that stays."""
    line = "sh -c 'celery -A shop worker --concurency 2 & celery -A shop beat'"
    told = judged(tmp_path, HEALTHY.replace("celery -A shop worker -l info -c 4", line))
    assert "--concurency" in told.diagnosis.findings[0].title


def test_a_script_before_the_command_makes_no_finding_critical(tmp_path):
    """What it makes of the words is not known, and that is said."""
    text = HEALTHY.replace("-c 4", "--concurency 4").replace(
        "image: shop", "image: shop\n    entrypoint: [/entry.sh]"
    )
    one = judged(tmp_path, text).diagnosis.findings[0]
    assert one.severity == "warning" and 'assumed to end in exec "$@"' in one.detail


@pytest.mark.parametrize("option", ["--requirepass", "--token", "--password"])
def test_the_tools_own_words_behind_an_option_are_no_secret(tmp_path, option):
    """`--requirepass is no option` once lost its verb to the masking."""
    told = judged(tmp_path, HEALTHY.replace("-c 4", f"{option} geheim99"))
    (one,) = [one for one in told.diagnosis.findings if one.code == "CMD001"]
    assert f"{option} is no option" in one.title and "***" not in one.title + one.remedy.summary


def test_help_is_no_worker_without_an_application(tmp_path):
    """It prints and ends."""
    assert not found(judged(tmp_path, HEALTHY.replace("-A shop worker -l info -c 4", "worker --help")))


def test_only_what_comes_back_for_ever_without_a_sub_command_is_a_warning(tmp_path):
    """`celery -A shop` prints its help: with a restart policy for ever, else it may be meant so."""
    bare = HEALTHY.replace("celery -A shop worker -l info -c 4", "celery -A shop")
    assert found(judged(tmp_path / "again", bare))["CMD002"] == "warning"
    once = bare.replace("restart: always", "restart: 'no'")
    assert found(judged(tmp_path / "once", once))["CMD002"] == "notice"


def test_a_shell_line_without_a_shell_is_told_once(tmp_path):
    """In a list one finding for all the words that are nonsense behind the operator."""
    for number, words in enumerate(('"&&", echo, a, b', '"|", tee, /x', '"2>&1"')):
        command = f"[celery, -A, shop, worker, {words}]"
        told = judged(tmp_path / str(number), HEALTHY.replace("celery -A shop worker -l info -c 4", command))
        assert found(told) == {"CMD010": "critical"}, words
        assert "sh -c 'celery -A shop worker" in told.diagnosis.findings[0].remedy.summary


def test_what_compose_drops_of_a_text_is_told_and_the_rest_judged(tmp_path):
    """A worker behind the operator never starts; a log that goes nowhere is a notice."""
    words = "python manage.py migrate && celery -A shop worker"
    told = judged(tmp_path / "a", HEALTHY.replace("celery -A shop worker -l info -c 4", words))
    assert found(told) == {"CMD010": "critical"}
    one = told.diagnosis.findings[0]
    assert "drops && celery -A shop worker; it runs only python manage.py migrate" in one.title
    assert f"sh -c '{words}'" in one.remedy.summary
    told = judged(tmp_path / "b", HEALTHY.replace("-c 4", "--concurency 4 > /log"))
    assert found(told) == {"CMD001": "critical", "CMD010": "notice"}
