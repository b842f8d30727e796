"""``backspan gateway``: the feedback API, the metrics and the turns behind a real back end."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from backspan.config import settings

NAME = "gateway"
HELP = "serve the feedback API, the metrics and the turns behind them"
_ENDPOINT = "http://127.0.0.1:4318"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default %(default)s)")
    parser.add_argument("--port", type=int, default=8318, help="port, 0 for any free one (default %(default)s)")
    parser.add_argument("--db", type=Path, help="SQLite file (default: gateway.db in BACKSPAN_DATA_DIR)")
    parser.add_argument("--forward", metavar="URL", help="OTLP/HTTP endpoint for feedback spans (default: "
                        f"OTEL_EXPORTER_OTLP_ENDPOINT, else {_ENDPOINT})")


def run(args: argparse.Namespace) -> int:
    from backspan.cli._serve import Refused, serve_forever
    from backspan.server.config import GATEWAY_KEEP, ServerConfig
    from backspan.store import sqlite_url

    path: Path = args.db or settings().data_dir / "gateway.db"
    endpoint = args.forward or os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT", "").strip() or _ENDPOINT
    try:
        _check_exposure(args.host)
        config = ServerConfig(url=sqlite_url(path), gateway=True, api_key=settings().api_key, emit_to=endpoint,
                              keep=GATEWAY_KEEP)
        return serve_forever(config, args.host, args.port, str(path), f"feedback spans go to {endpoint}")
    except (Refused, OSError) as error:
        print(f"backspan gateway: {error}", file=sys.stderr)
        return 2


def _check_exposure(host: str) -> None:
    from backspan.cli._serve import Refused
    from backspan.server.trust import loopback

    if not loopback(host) and not settings().token_keys and not settings().api_key:
        raise Refused(f"will not listen on {host}, where others can reach it, with neither BACKSPAN_TOKEN_KEYS nor "
                      "BACKSPAN_API_KEY set: without them nobody could judge an answer but this machine")
