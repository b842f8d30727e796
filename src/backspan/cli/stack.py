"""``backspan stack``: the real back end (Collector, Tempo, Prometheus, Alertmanager, gateway) without Docker."""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path
from typing import Any

from backspan._assets import asset
from backspan.cli import _front, print_json
from backspan.cli._refused import Refused
from backspan.cli._stack import build, profiles
from backspan.cli._stack import run as stacks
from backspan.cli._stack.plan import Plan, Ports, parse_ports
from backspan.cli._stack.process import ProgramFailed, stop
from backspan.cli._stack.render import RenderFailed
from backspan.config import settings

NAME = "stack"
HELP = "build and run Collector, Tempo, Prometheus and Alertmanager, with the gateway, on loopback and without Docker"
_ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
"""What ends a stack in the foreground; the last one when its terminal is closed."""
_SHOWN = {"ready": "", "starting": "not ready: ", "stopped": "last words: "}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """``stack build|up|down|status``; ``--dir`` tells stacks apart."""
    parser.add_argument("action", choices=("build", "up", "down", "status"),
                        help="build the programs (needs Go); run them; end a stack; say what runs")
    parser.add_argument("--dir", type=Path, metavar="DIR",
                        help="folder of data, logs and rendered files (default: stack in BACKSPAN_DATA_DIR)")
    parser.add_argument("--ports", type=_ports, default=Ports(), metavar="default|auto|N[,NAME=PORT]",
                        help="up: the usual ports, free ones, or the usual ones plus N; some may be given by name, as "
                        "in auto,gateway=8318")
    parser.add_argument("--detach", action="store_true", help="up: return when all is ready, and leave it running")
    parser.add_argument("--timeout", type=float, default=90.0, metavar="S",
                        help="up: seconds that each program has to become ready (%(default)s)")
    parser.add_argument("--rules", type=Path, metavar="DIR", help="up: Prometheus rules (default: the shipped ones)")
    parser.add_argument("--profile", action="append", default=[], metavar="NAME|FILE",
                        help="up: merge a profile over the Collector's file, one of collector/profiles by name "
                        "(tail-sampling, tls, logs-file, logs-loki) or a file of yours; may be repeated")
    _front.add_origin(parser)
    parser.add_argument("--pager", metavar="URL", help="up: webhook that pages go to (default: nobody is called)")
    parser.add_argument("--group-wait", type=int, default=15, metavar="S",
                        help="up: seconds for which the pager collects the cohorts of one incident (%(default)s)")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def run(args: argparse.Namespace) -> int:
    """0: done; 1: ``status`` found a program that is not ready; 2: something failed."""
    actions = {"build": _build, "up": _up, "down": _down, "status": _status}
    try:
        return actions[args.action](args)
    except (build.BuildFailed, ProgramFailed, RenderFailed, profiles.WrongProfile, Refused, OSError) as error:
        print(f"backspan stack: {error}", file=sys.stderr)
        return 2


def _build(args: argparse.Namespace) -> int:
    built = build.build(_say)
    sizes = [(path, path.stat().st_size, one.seconds) for one in built for path in one.binaries]
    if args.json:
        print_json([{"name": path.name, "path": str(path), "bytes": size, "seconds": s} for path, size, s in sizes])
        return 0
    for path, size, _ in sizes:
        print(f"{path.name:<17} {size / 1e6:6.1f} MB  {path}")
    return 0


def _up(args: argparse.Namespace) -> int:
    chosen, origins = profiles.find(args.profile), _front.origins(args)
    if stale := build.stale():
        raise build.BuildFailed(f"not built, or not from these files: {', '.join(stale)}; run `backspan stack build`")
    rules = (args.rules or asset("collector/rules")).absolute()
    if not rules.is_dir():
        raise ProgramFailed(f"there is no folder {rules}; `backspan rules generate --out {rules}` makes one")
    plan = Plan(_folder(args), args.ports, rules, args.pager, args.group_wait, chosen, profiles.secrets(chosen),
                origins)
    before = {number: signal.signal(number, _interrupt) for number in _ENDING}
    try:
        return _foreground(args, stacks.up(plan, _say, args.timeout))
    except KeyboardInterrupt:
        return 0
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _foreground(args: argparse.Namespace, stack: stacks.Stack) -> int:
    try:
        _show(args, stack)
        if not args.detach:
            stacks.watch(stack)
    except BaseException:
        _say("stopping ...")
        _say_killed(stacks.down(stack))
        raise
    return 0


def _down(args: argparse.Namespace) -> int:
    stack = stacks.load(_folder(args))
    if stack is None:
        _say(f"nothing runs in {_folder(args)}")
        killed: list[str] = []
    else:
        if stack.keeper is not None:  # the command that waits in the foreground ends its programs itself
            stop([stack.keeper], 3 * stacks.PATIENCE_S)
        killed = stacks.down(stack)
    if args.json:
        print_json({"killed": killed})
    _say_killed(killed)
    return 0


def _status(args: argparse.Namespace) -> int:
    stack = stacks.load(_folder(args))
    if stack is None:
        _say(f"nothing runs in {_folder(args)}")
        if args.json:
            print_json([])
        return 1
    rows = _show(args, stack)
    if not stack.alive:
        _say("nothing runs: it was not ended by `down` (a crash, or this machine was started anew); `backspan stack "
             "up` starts it again with its data")
    return 0 if all(row["state"] == "ready" for row in rows) else 1


def _show(args: argparse.Namespace, stack: stacks.Stack) -> list[dict[str, Any]]:
    rows, plan = stack.status(), stack.plan
    endpoint = plan.endpoint
    if args.json:
        print_json({"dir": str(plan.folder), "logs": str(plan.logs), "data": str(plan.data), "endpoint": endpoint,
                    "ports": vars(plan.ports), "programs": rows})
    else:
        for row in rows:
            print(f"{row['name']:<13} {row['state']:<9} {row['url']:<24} {row['log']}")
            if row["detail"]:
                print(f"{'':<13} {_SHOWN[row['state']]}{row['detail'][:200]}")
        if stack.alive:
            _say(f"applications: BACKSPAN=1 OTEL_EXPORTER_OTLP_ENDPOINT={endpoint}{_credentials(plan)}")
    sys.stdout.flush()
    return rows


def _credentials(plan: Plan) -> str:
    if not plan.secrets:
        return ""
    certificate = plan.secrets["COLLECTOR_CERT_FILE"]
    return (f" OTEL_EXPORTER_OTLP_CERTIFICATE={certificate} "
            "'OTEL_EXPORTER_OTLP_HEADERS=authorization=Bearer%20TOKEN'")


def _folder(args: argparse.Namespace) -> Path:
    given: Path = args.dir or settings().data_dir / "stack"
    return given.expanduser().absolute()


def _ports(text: str) -> Ports:
    try:
        return parse_ports(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _interrupt(number: int, frame: object) -> None:
    for other in _ENDING:
        signal.signal(other, signal.SIG_IGN)  # an impatient second Ctrl-C must not strand a program
    raise KeyboardInterrupt


def _say_killed(names: list[str]) -> None:
    if names:
        _say(f"did not end when asked and was killed: {', '.join(names)}")


def _say(message: str) -> None:
    print(f"backspan stack: {message}", file=sys.stderr, flush=True)
