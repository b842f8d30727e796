"""``backspan up``: the whole receiving side in one process, for a machine without Docker."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from backspan.cli import _front

NAME = "up"
HELP = "receive traces and feedback on this machine, with no other program"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default %(default)s)")
    parser.add_argument("--port", type=int, default=4318, help="port, 0 for any free one (default %(default)s)")
    _front.add_database(parser, "up.db")
    parser.add_argument("--forward", metavar="URL", help="pass OTLP and accepted votes on to this OTLP/HTTP endpoint")
    parser.add_argument("--spec", type=Path, help="charts to evaluate (default: the shipped spc.yaml)")
    _front.add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    from backspan.cli._refused import Refused
    from backspan.cli._serve import check_exposure, serve_forever
    from backspan.server.config import ServerConfig
    from backspan.store import StoreError

    try:
        url, shown = _front.database(args.db, "up.db")
        check_exposure(args.host)
        config = ServerConfig(
            url=url, emit_to=args.forward, forward=args.forward is not None, spec=args.spec, **_front.front(args))
        return serve_forever(config, args.host, args.port, shown, "start your app with BACKSPAN=1")
    except (Refused, StoreError, OSError) as error:
        print(f"backspan up: {error}", file=sys.stderr)
        return 2
