"""``backspan run -- CMD``: start a program with instrumentation on, in place of this one."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from backspan import _boot

NAME = "run"
HELP = (
    "Start a program with BACKSPAN=1, as `backspan run -- gunicorn app:app`. It works as well where .pth files are not "
    "read (`pip install --target`), since it puts a sitecustomize folder of ours on PYTHONPATH. The exit code is the "
    "program's own; 2 if it cannot be started."
)
_SITE = Path(__file__).resolve().parent.parent / "_site"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``run``; everything after them is the program."""
    parser.add_argument("--content", action="store_true", help="record redacted prompts, documents and answers too")
    parser.add_argument("command", nargs=argparse.REMAINDER, metavar="-- CMD", help="the program and its arguments")


def environment(environ: Mapping[str, str], content: bool) -> dict[str, str]:
    """The environment for the program: ``environ`` with the variable set and our folder first on the path.

    A variable that says off (``BACKSPAN=0``) stays as it is: that is an operator's switch.
    """
    made = dict(environ)
    made.setdefault("BACKSPAN", "1")
    if content and made["BACKSPAN"].strip().lower() in _boot.ON:
        made["BACKSPAN"] = "content"
    paths = [path for path in made.get("PYTHONPATH", "").split(os.pathsep) if path and path != str(_SITE)]
    made["PYTHONPATH"] = os.pathsep.join([str(_SITE), *paths])
    return made


def run(args: argparse.Namespace) -> int:
    """Replace this process by the program; return 2 if that cannot be done."""
    command: list[str] = args.command[1:] if args.command[:1] == ["--"] else args.command
    if not command:
        print("backspan run: which program? As in `backspan run -- python app.py`", file=sys.stderr)
        return 2
    made = environment(os.environ, args.content)
    if not _boot.is_on(made):
        print("backspan run: BACKSPAN or OTEL_SDK_DISABLED says off, so nothing is traced", file=sys.stderr)
    try:
        os.execvpe(command[0], command, made)
    except OSError as error:
        print(f"backspan run: cannot start {command[0]!r}: {error.strerror}", file=sys.stderr)
    return 2
