"""Programs that run the command behind their own options, as data.

Sources: the usage text of each program (coreutils 9, util-linux 2.38, tini 0.19, dumb-init 1.2, gosu 1.17,
su-exec 0.2, vishnubob/wait-for-it, eficode/wait-for, dockerize 0.7, watchdog 6 ``watchmedo auto-restart``,
watchfiles 1.0, hupper 1.12, poetry 2, uv 0.9, pipenv 2024, pdm 2, conda 24).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Prefix:
    """``sub``: the wrapper's own sub-commands that run something. ``values``: options that take the next
    word. ``operands``: words of its own before the command. ``separator``: the command stands behind ``--``
    (``may`` or ``required``). ``scripts``: options whose value is a shell script. ``text``: the command may
    be one word that holds a whole command line. ``inner``: its options are too many to list, so the first
    Celery word behind it counts."""

    sub: tuple[str, ...] = ()
    values: frozenset[str] = frozenset()
    operands: int = 0
    separator: str = ""
    scripts: frozenset[str] = frozenset()
    text: bool = False
    optional_sub: bool = False
    inner: bool = False


def _values(*names: str) -> frozenset[str]:
    return frozenset(names)


_WAIT_FOR_IT = Prefix(
    separator="may", operands=1, values=_values("-h", "-p", "-t", "--host", "--port", "--timeout")
)
_UV = _values(
    "--with",
    "--with-requirements",
    "--with-editable",
    "--extra",
    "--group",
    "--only-group",
    "--no-group",
    "--env-file",
    "--python",
    "-p",
    "--directory",
    "--project",
    "--package",
    "--index",
    "--cache-dir",
    "--color",
    "--config-file",
    "--no-extra",
    "--link-mode",
    "-i",
    "--index-url",
    "-w",
)
_CONDA = Prefix(sub=("run",), values=_values("-n", "--name", "-p", "--prefix", "--cwd", "-e", "-a"))

PREFIXES: dict[str, Prefix] = {
    # the shell's and the system's
    "exec": Prefix(values=_values("-a")),
    "command": Prefix(),
    "nohup": Prefix(),
    "setsid": Prefix(),
    "env": Prefix(
        values=_values("-u", "--unset", "-C", "--chdir", "-S"), scripts=_values("-S", "--split-string")
    ),
    "nice": Prefix(values=_values("-n", "--adjustment")),
    "ionice": Prefix(values=_values("-c", "-n", "--class", "--classdata")),
    "chrt": Prefix(operands=1),
    "taskset": Prefix(operands=1),
    "timeout": Prefix(operands=1, values=_values("-s", "--signal", "-k", "--kill-after")),
    "stdbuf": Prefix(values=_values("-i", "-o", "-e", "--input", "--output", "--error")),
    "unbuffer": Prefix(),
    "time": Prefix(values=_values("-f", "-o")),
    "prlimit": Prefix(values=_values("-p")),
    "flock": Prefix(operands=1, values=_values("-w", "--timeout", "-E"), scripts=_values("-c", "--command")),
    "sudo": Prefix(values=_values("-u", "-g", "-h", "-p", "-C", "-D", "--user", "--group")),
    "doas": Prefix(values=_values("-u", "-C")),
    "su": Prefix(operands=1, values=_values("-s", "-g", "--shell"), scripts=_values("-c", "--command")),
    "runuser": Prefix(
        values=_values("-u", "-g", "--user", "--group", "-s"), scripts=_values("-c", "--command")
    ),
    "setpriv": Prefix(
        values=_values("--reuid", "--regid", "--groups", "--bounding-set", "--inh-caps", "--ambient-caps")
    ),
    "chpst": Prefix(values=_values("-u", "-U", "-e", "-b", "-n", "-m")),
    "s6-setuidgid": Prefix(operands=1),
    "setuidgid": Prefix(operands=1),
    "with-contenv": Prefix(),
    "gosu": Prefix(operands=1),
    "su-exec": Prefix(operands=1),
    # init programs
    "tini": Prefix(values=_values("-p", "-e")),
    "tini-static": Prefix(values=_values("-p", "-e")),
    "docker-init": Prefix(values=_values("-p", "-e")),
    "dumb-init": Prefix(values=_values("-r", "--rewrite")),
    "catatonit": Prefix(),
    "pid1": Prefix(),
    # waiters
    "wait-for-it": _WAIT_FOR_IT,
    "wait-for-it.sh": _WAIT_FOR_IT,
    "wait_for_it.sh": _WAIT_FOR_IT,
    "wait-for": _WAIT_FOR_IT,
    "wait-for.sh": _WAIT_FOR_IT,
    "wait4x": Prefix(separator="required"),
    "waitforit": Prefix(separator="required"),
    "dockerize": Prefix(
        separator="may",
        values=_values(
            "-wait",
            "-timeout",
            "-template",
            "-stdout",
            "-stderr",
            "-wait-retry-interval",
            "-delims",
            "-env",
            "-wait-http-header",
            "-poll",
            "-env-section",
            "-env-header",
            "-multiline",
        ),
    ),
    # reloaders
    "watchmedo": Prefix(
        sub=("auto-restart",),
        separator="may",
        values=_values(
            "-d",
            "--directory",
            "-p",
            "--pattern",
            "--patterns",
            "-i",
            "--ignore-pattern",
            "--ignore-patterns",
            "--signal",
            "--kill-after",
            "--interval",
            "--timeout",
            "--debounce-interval",
        ),
    ),
    "watchfiles": Prefix(
        text=True,
        values=_values(
            "--filter",
            "--ignore-paths",
            "--target-type",
            "--args",
            "--verbosity",
            "--sigint-timeout",
            "--sigkill-timeout",
            "--grace-period",
        ),
    ),
    "nodemon": Prefix(
        scripts=_values("-x", "--exec"), values=_values("-x", "--exec", "-w", "--watch", "-e", "--ext")
    ),
    "hupper": Prefix(inner=True),
    "reflex": Prefix(separator="may", values=_values("-r", "-g", "-R", "-G", "-t")),
    # environments
    "poetry": Prefix(sub=("run",), values=_values("-C", "--directory", "-P", "--project")),
    "uv": Prefix(sub=("run",), values=_UV),
    "pipenv": Prefix(sub=("run",)),
    "pdm": Prefix(sub=("run",), values=_values("-p", "--project", "-c", "--config", "--venv")),
    "hatch": Prefix(sub=("run",), values=_values("-e", "--env", "-p", "--project")),
    "rye": Prefix(sub=("run",)),
    "pixi": Prefix(sub=("run",), values=_values("-e", "--environment", "--manifest-path")),
    "conda": _CONDA,
    "mamba": _CONDA,
    "micromamba": _CONDA,
    # secrets and settings put into the environment
    "dotenv": Prefix(sub=("run",), values=_values("-f", "--file", "-q", "--quote", "-e", "--export")),
    "doppler": Prefix(sub=("run",), separator="required"),
    "infisical": Prefix(sub=("run",), separator="required"),
    "op": Prefix(sub=("run",), separator="required"),
    "chamber": Prefix(separator="required"),
    "aws-vault": Prefix(separator="required"),
    "envconsul": Prefix(separator="may", values=_values("-config", "-prefix", "-secret")),
    # tracers
    "ddtrace-run": Prefix(),
    "opentelemetry-instrument": Prefix(
        values=_values(
            "--traces_exporter",
            "--metrics_exporter",
            "--logs_exporter",
            "--service_name",
            "--exporter_otlp_endpoint",
        )
    ),
    "newrelic-admin": Prefix(sub=("run-program",)),
    "scout-apm": Prefix(),
    "strace": Prefix(values=_values("-e", "-o", "-p", "-s", "-u")),
    "catchsegv": Prefix(),
    "coverage": Prefix(sub=("run",), inner=True),
}

#: Options of the Python interpreter that take the next word.
PYTHON_VALUES = _values("-W", "-X", "--check-hash-based-pycs")
