"""Describe the command line of the Celery (or Flower) that is importable here, as JSON on stdout.

Run by ``extract.py`` with the interpreter and the packages of one released version, never imported by the
tool. It must run on every Python that such a version needs (3.6 on), so it has no annotations and no newer
syntax."""

import json
import sys


def describe_type(param):
    """The value type of a click parameter as plain data; ``name`` is the class that celery or click gives
    it."""
    kind = type(param.type).__name__
    described = {"name": kind}
    choices = getattr(param.type, "choices", None)
    if choices is not None:
        described["choices"] = [str(choice) for choice in choices]
        described["case_sensitive"] = bool(getattr(param.type, "case_sensitive", True))
    for name in ("min", "max", "min_open", "max_open"):
        value = getattr(param.type, name, None)
        if value is not None and value is not False and isinstance(value, (int, float)):
            described[name] = value
    callback = getattr(param, "callback", None)
    name = getattr(callback, "__name__", "")
    if callback is not None and name not in ("<lambda>", "daemon_setting", "callback"):
        described["callback"] = name  # such a callback may refuse a value (celery 5.7: --concurrency)
    return described


def describe_param(param):
    """One option or argument of a click command as plain data."""
    described = {"kind": param.param_type_name, "name": param.name, "type": describe_type(param)}
    if param.nargs != 1:
        described["nargs"] = param.nargs
    if param.required:
        described["required"] = True
    if param.envvar:
        described["envvar"] = param.envvar if isinstance(param.envvar, str) else list(param.envvar)
    if getattr(param, "deprecated", False):
        described["deprecated"] = param.deprecated
    if param.param_type_name == "option":
        described["opts"] = list(param.opts)
        if param.secondary_opts:
            described["secondary_opts"] = list(param.secondary_opts)
        for name in ("is_flag", "count", "multiple", "hidden", "is_eager"):
            if getattr(param, name, False):
                described[name] = True
        if getattr(param, "_flag_needs_value", False):
            described["value_optional"] = True
    return described


def describe_click(command):
    """A click command, with its sub-commands where it is a group, as plain data."""
    params = []
    for param in command.params:
        described = describe_param(param)
        if described not in params:  # 5.0 to 5.2 declare --uid twice
            params.append(described)
    described = {"params": params}
    settings = dict(getattr(command, "context_settings", None) or {})
    context = {}
    for name in ("allow_extra_args", "ignore_unknown_options", "allow_interspersed_args"):
        value = settings.get(name, getattr(command, name, None))
        if value is not None:
            context[name] = bool(value)
    if getattr(command, "no_args_is_help", False):
        context["no_args_is_help"] = True
    if getattr(command, "invoke_without_command", False):
        context["invoke_without_command"] = True
    described["context"] = context
    if getattr(command, "deprecated", False):
        described["deprecated"] = True
    if getattr(command, "commands", None) is not None:
        described["commands"] = {name: describe_click(sub) for name, sub in sorted(command.commands.items())}
    return described


def version_of(package):
    """The installed version of a distribution, None if it cannot be told."""
    try:
        from importlib.metadata import version
    except ImportError:
        from importlib_metadata import version
    try:
        return version(package)
    except Exception:
        return None


def describe_celery():
    """The ``celery`` group of Celery 5; of Celery 4 what ``describe_celery_4`` says."""
    if version_of("celery").startswith("4."):
        return describe_celery_4()
    from celery.bin.celery import celery

    described = {
        "parser": "click",
        "celery": version_of("celery"),
        "click": version_of("click"),
        "python": ".".join(map(str, sys.version_info[:2])),
        "root": describe_click(celery),
    }
    described["root"]["commands"].pop("flower", None)  # a plug-in: it has its own table
    return described


def describe_action(action):
    """One argument of an argparse parser, in the form that ``describe_param`` gives a click parameter."""
    kinds = {int: "IntParamType", float: "FloatParamType"}
    described = {
        "kind": "option" if action.option_strings else "argument",
        "name": action.dest,
        "type": {"name": kinds.get(action.type, "StringParamType")},
    }
    if action.choices:
        described["type"]["choices"] = [str(choice) for choice in action.choices]
    if action.option_strings:
        described["opts"] = list(action.option_strings)
        if action.nargs == 0:
            described["is_flag"] = True
        if type(action).__name__ == "_VersionAction":
            described["is_eager"] = True
    else:
        described["nargs"] = -1 if action.nargs == "*" else action.nargs or 1
    return described


def describe_parser(parser):
    """The arguments of an argparse parser without its help, and whether it takes shortened names."""
    params = [describe_action(action) for action in parser._actions if action.dest != "help"]
    # argparse of 2.7 and 3.4 always takes them; ``allow_abbrev`` came with 3.5 and is True unless refused.
    return {"params": params, "context": {"allow_abbrev": bool(getattr(parser, "allow_abbrev", True))}}


def describe_celery_4():
    """The ``celery`` command of Celery 4, whose commands each make an argparse parser.

    ``keeps_preload``: whether the commands see ``-A`` and its like a second time; ``removed_flags``: what the
    worker drops in silence; ``least_args``: a command with fewer words behind it ends with exit code 64."""
    from celery import Celery
    from celery.bin.celery import CeleryCommand
    from celery.utils.log import LOG_LEVELS

    try:
        from inspect import getfullargspec
    except ImportError:
        from inspect import getargspec as getfullargspec

    app = Celery("tables", broker="memory://", backend="cache+memory://")
    top = CeleryCommand(app=app)
    before = top.Parser()
    top.add_compat_options(before, [top.add_preload_arguments])
    root = describe_parser(before)
    root["commands"] = {}
    for name, made in sorted(CeleryCommand.commands.items()):
        command = made(app=app)
        if name in ("multi", "flower"):  # they read their own words, no parser has them
            root["commands"][name] = {"params": [], "context": {"allow_extra_args": True}}
            continue
        described = describe_parser(command.create_parser("celery", name))
        for param in described["params"]:
            if param["name"] == "loglevel" and name in ("worker", "beat"):
                levels = sorted(level for level in LOG_LEVELS if not isinstance(level, int))
                param["type"] = {"name": "LogLevel", "choices": levels}
        spec = getfullargspec(command.run)
        needed = len(spec.args) - 1 - len(spec.defaults or ())
        if name in ("inspect", "control"):
            needed = 1  # ``run`` raises its own UsageError without one
        if needed > 0:
            described["context"]["least_args"] = needed
        root["commands"][name] = described
    root["commands"].pop("flower", None)
    return {
        "parser": "argparse",
        "celery": version_of("celery"),
        "click": None,
        "python": ".".join(map(str, sys.version_info[:2])),
        "keeps_preload": not isinstance(top.parse_preload_options(["celery", "worker"]), tuple),
        "removed_flags": sorted(getattr(CeleryCommand.commands["worker"], "removed_flags", ())),
        "root": root,
    }


def describe_flower():
    """Flower hands its options to tornado; click only declares the command and lets unknown options
    through."""
    import flower.options
    import tornado.options

    try:
        from flower.command import flower
    except ImportError:  # 0.9 is a command of Celery 4, which knows no click
        flower = None

    described = {
        "parser": "click+tornado",
        "flower": version_of("flower"),
        "celery": version_of("celery"),
        "click": version_of("click"),
        "tornado": version_of("tornado"),
        "python": ".".join(map(str, sys.version_info[:2])),
    }
    described["command"] = describe_click(flower) if hasattr(flower, "params") else None
    options = tornado.options.options._options
    described["options"] = {
        name.replace("_", "-"): describe_tornado(name, option) for name, option in sorted(options.items())
    }
    described["refuses"] = describe_refusals()
    return described


def describe_tornado(name, option):
    """One option of Tornado's parser; the secret that Flower makes anew at each start has no default."""
    described = {"type": option.type.__name__, "multiple": bool(option.multiple)}
    default = list(option.default) if isinstance(option.default, tuple) else option.default
    if name.replace("-", "_") != "cookie_secret" and default not in (None, "", []):
        described["default"] = [str(one) for one in default] if isinstance(default, list) else default
    return described


def describe_refusals():
    """What this Flower looks at before it starts, by what its command module holds: a pattern of ``auth``
    (1.2), ``broker-api`` that is no HTTP address, one of ``certfile`` and ``keyfile`` alone (2.2), a variable
    for a bool that is no truth value (2.0)."""
    import inspect

    from flower import command

    source = inspect.getsource(command.extract_settings) if hasattr(command, "extract_settings") else ""
    found = [("auth", hasattr(command, "validate_auth_option"))]
    found.append(("broker-api", hasattr(command, "validate_broker_api")))
    found.append(("certfile", "are required to enable SSL" in source))
    found.append(("truth", hasattr(command, "strtobool")))
    return [name for name, there in found if there]


if __name__ == "__main__":
    sys.path.pop(0)  # this folder, whose flower.py is not Flower
    json.dump({"celery": describe_celery, "flower": describe_flower}[sys.argv[1]](), sys.stdout)
