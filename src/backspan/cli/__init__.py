"""The command line. Each command is a module of this package, imported only when it is called.

A command module has ``NAME``, ``HELP``, ``add_arguments(parser)`` and ``run(args) -> int``. Data goes to stdout,
messages and progress to stderr. Exit codes: 0 fine, 1 findings, 2 usage or fault; ``run`` has its command's own.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any

from backspan._guard import exit_code

COMMANDS = {
    "run": "start a program with instrumentation on",
    "up": "receive traces and feedback on this machine, with no other program",
    "demo": "show the whole loop in a minute: traces, votes, a bad release, the alarm",
    "gateway": "serve the feedback API, the metrics and the turns behind them",
    "worker": "forget what a gateway has kept for long enough, find signals in it",
    "store": "seal the texts of a database with a key of yours, or with another one",
    "widget": "print the HTML that loads the feedback widget of this version",
    "stack": "build and run Collector, Tempo, Prometheus and Alertmanager without Docker",
    "rules": "generate or check the Prometheus rules of the control charts",
    "spc": "fit baselines, replay history, simulate, explain an alert, draw a chart",
    "feedback": "compare votes, by document and against outcomes; hold, erase, weigh, send again",
    "dashboards": "generate or check the Grafana dashboards",
    "doctor": "find out why nothing arrives",
    "config": "show every setting, its value and where it came from",
}
"""Command -> one line for ``backspan --help``."""

_EXTRAS = {
    "alembic": "server",
    "cryptography": "server",
    "fastapi": "server",
    "grafana_foundation_sdk": "rules",
    "limits": "server",
    "plotext": "server",
    "psycopg": "postgres",
    "rapidfuzz": "server",
    "sqlalchemy": "server",
    "starlette": "server",
    "uvicorn": "server",
    "yaml": "rules",
}
"""Package that a command may miss -> the extra that brings it."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line ``argv`` (default: that of the process); return the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        return exit_code(lambda: _forgiving(arguments))
    except KeyboardInterrupt:
        return 130
    finally:
        _close_stdout()


def _forgiving(arguments: list[str]) -> int:
    try:
        return _main(arguments)
    except BrokenPipeError:  # the reader (`| head`) has what it wanted
        _discard_stdout()
        return 0


def _main(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_overview())
        return 0 if arguments else 2
    if arguments[0] == "--version":
        from importlib.metadata import version

        print(f"backspan {version('backspan')}")
        return 0
    if arguments[0] not in COMMANDS:
        _usage_error(arguments[0])
        return 2
    return _call(arguments[0], arguments[1:])


def _call(name: str, arguments: list[str]) -> int:
    try:
        command = import_module(f"backspan.cli.{name}")
        parser = argparse.ArgumentParser(f"backspan {name}", description=command.HELP)
        command.add_arguments(parser)
        return int(command.run(parser.parse_args(arguments)) or 0)
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if not package or package == "backspan":
            raise
        print(f"backspan {name} needs {package}: {_pip_line(package)}", file=sys.stderr)
        return 2


def _pip_line(package: str) -> str:
    extra = _EXTRAS.get(package)
    return f"pip install 'backspan[{extra}]'" if extra else f"pip install {package.replace('_', '-')}"


def _overview() -> str:
    width = max(map(len, COMMANDS))
    rows = [f"  {name:<{width}}  {summary}" for name, summary in COMMANDS.items()]
    return "\n".join(
        ["usage: backspan <command> [options]", "", *rows, "", "`backspan <command> --help` tells more; --version"]
    )


def _usage_error(name: str) -> None:
    from difflib import get_close_matches

    near = get_close_matches(name, COMMANDS, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else "; see `backspan --help`"
    print(f"backspan: no command {name!r}{hint}", file=sys.stderr)


def _close_stdout() -> None:
    """Flush while a reader that has gone (``| head``) can still be forgiven."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _discard_stdout()


def _discard_stdout() -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def print_json(data: Any) -> None:
    """Print ``data`` as JSON on stdout, in the order given."""
    import json

    print(json.dumps(data, indent=2, default=str, ensure_ascii=False))
