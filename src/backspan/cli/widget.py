"""``backspan widget``: the line of HTML that loads ``<backspan-feedback>``."""

from __future__ import annotations

import argparse
from urllib.parse import urlsplit

from backspan.cli import print_json

NAME = "widget"
HELP = "print the HTML that loads the feedback widget of this version, with its integrity"
_LOCAL = "http://127.0.0.1:8318"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """``widget [URL] [--json]``."""
    parser.add_argument("url", nargs="?", default=_LOCAL, type=_url, metavar="URL",
                        help="where browsers reach the gateway, with the path of its mount (default %(default)s)")
    parser.add_argument("--json", action="store_true", help="print address and integrity as JSON")


def run(args: argparse.Namespace) -> int:
    """Print it; return 0."""
    from backspan.server import widget

    if args.json:
        print_json({"src": args.url.rstrip("/") + widget.path(), "integrity": widget.script().integrity})
    else:
        print(widget.element(args.url))
    return 0


def _url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname or '"' in text or "<" in text:
        raise argparse.ArgumentTypeError("must be an http or https address")
    return text
