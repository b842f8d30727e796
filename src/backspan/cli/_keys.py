"""``backspan gateway keys``: keys for servers, each with what it may do. They are kept in the gateway's database."""

from __future__ import annotations

import argparse
import sys
import time
from datetime import datetime, timezone

from backspan.cli import _front, print_json
from backspan.store import keys


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="keys", metavar="ACTION", required=True)
    add = actions.add_parser("add", help="make a key; it is printed once, and nobody can print it again")
    add.add_argument("--scopes", required=True, help="comma-separated: read, feedback:write, outcomes:write, "
                     "signals:write, otlp:write; or admin, which is everything")
    add.add_argument("--label", default="", help="what it is for")
    revoke = actions.add_parser("revoke", help="take a key back: within seconds it opens nothing")
    revoke.add_argument("id", help="the id that `list` shows")
    every = [add, actions.add_parser("list", help="show every key, without its secret"), revoke]
    for one in every:
        _front.add_database(one, "gateway.db", default=argparse.SUPPRESS)
        one.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace, url: str) -> int:
    """Exit code 1: there is no such key."""
    from backspan.store.engines import connect

    writer, reader = connect(url)
    try:
        with writer.begin() as conn:
            if args.keys == "add":
                return _add(*keys.add(conn, _scopes(args.scopes), args.label, time.time()), as_json=args.json)
            if args.keys == "revoke":
                return _revoke(args, keys.revoke(conn, args.id, time.time()))
            return _list(keys.all_of(conn), as_json=args.json)
    finally:
        writer.dispose()
        reader.dispose()


def _scopes(said: str) -> set[str]:
    from backspan.cli._refused import Refused
    from backspan.server.keys import SCOPES

    scopes = {word.strip() for word in said.split(",") if word.strip()}
    if not scopes or not scopes <= set(SCOPES):
        raise Refused(f"--scopes: must be among {', '.join(SCOPES)}")
    return scopes


def _add(key: keys.ApiKey, text: str, *, as_json: bool) -> int:
    if as_json:
        print_json({"id": key.id, "key": text, "label": key.label, "scopes": sorted(key.scopes)})
    else:
        print(f"key {key.id} may: {', '.join(sorted(key.scopes))}. It is shown this once:", file=sys.stderr)
        print(text)
    return 0


def _revoke(args: argparse.Namespace, done: bool) -> int:
    if args.json:
        print_json({"id": args.id, "revoked": done})
    else:
        print(f"key {args.id} is revoked" if done else f"there is no key {args.id} that still opens anything",
              file=sys.stderr)
    return 0 if done else 1


def _list(found: list[keys.ApiKey], *, as_json: bool) -> int:
    if as_json:
        print_json([{"id": key.id, "label": key.label, "scopes": sorted(key.scopes), "created": key.created,
                     "revoked": key.revoked} for key in found])
        return 0
    for key in found:
        state = "live" if key.revoked is None else f"revoked {_when(key.revoked)}"
        print(f"{key.id}  {_when(key.created)}  {state:<8}  {','.join(sorted(key.scopes))}  {key.label}".rstrip())
    return 0


def _when(moment: float) -> str:
    return datetime.fromtimestamp(moment, timezone.utc).strftime("%Y-%m-%dT%H:%MZ")
