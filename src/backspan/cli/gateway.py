"""``backspan gateway``: the feedback API, the metrics and the turns behind a real back end; and its keys."""

from __future__ import annotations

import argparse
import os
import sys

from backspan.cli import _front, _keys

NAME = "gateway"
HELP = "serve the feedback API, the metrics and the turns behind them"
_ENDPOINT = "http://127.0.0.1:4318"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default %(default)s)")
    parser.add_argument("--port", type=int, default=8318, help="port, 0 for any free one (default %(default)s)")
    _front.add_database(parser, "gateway.db")
    parser.add_argument("--forward", metavar="URL", help="OTLP/HTTP endpoint for feedback spans (default: "
                        f"OTEL_EXPORTER_OTLP_ENDPOINT, else {_ENDPOINT})")
    _front.add_arguments(parser)
    actions = parser.add_subparsers(dest="action", metavar="ACTION")
    _keys.add_arguments(actions.add_parser("keys", help="make, list and revoke the keys of servers"))


def run(args: argparse.Namespace) -> int:
    from backspan.cli._refused import Refused
    from backspan.store import StoreError

    try:
        url, shown = _front.database(args.db, "gateway.db")
        return _keys.run(args, url) if args.action == "keys" else _serve(args, url, shown)
    except (Refused, StoreError, OSError) as error:
        print(f"backspan gateway: {error}", file=sys.stderr)
        return 2


def _serve(args: argparse.Namespace, url: str, shown: str) -> int:
    from backspan.cli._serve import check_exposure, serve_forever
    from backspan.server.config import GATEWAY_KEEP, ServerConfig

    endpoint = args.forward or os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT", "").strip() or _ENDPOINT
    check_exposure(args.host)
    config = ServerConfig(url=url, gateway=True, emit_to=endpoint, keep=GATEWAY_KEEP, **_front.front(args))
    return serve_forever(config, args.host, args.port, shown, f"feedback spans go to {endpoint}")
