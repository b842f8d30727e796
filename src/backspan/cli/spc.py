"""``backspan spc``: fit baselines, replay history, simulate run lengths, explain an alert, draw a chart."""

from __future__ import annotations

import argparse
import sys
from importlib import import_module

from backspan.cli._spc.errors import Fault

NAME = "spc"
HELP = "fit, backtest, simulate, explain and show the control charts, against Prometheus or `backspan up`"
ACTIONS = ("fit", "backtest", "simulate", "explain", "show")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """One subcommand for each of `ACTIONS`, a module of `backspan.cli._spc`."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="|".join(ACTIONS))
    for name in ACTIONS:
        module = import_module(f"backspan.cli._spc.{name}")
        sub = actions.add_parser(name, help=module.HELP, description=module.HELP)
        module.add_arguments(sub)
        sub.set_defaults(call=module.run)


def run(args: argparse.Namespace) -> int:
    """0: fine; 1: findings (see each subcommand); 2: usage, or something that does not answer."""
    try:
        return int(args.call(args))
    except Fault as fault:
        print(f"backspan spc {args.action}: {fault}", file=sys.stderr)
        return 2
