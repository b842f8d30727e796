"""``backspan store``: keys for the texts of a database (`backspan.store.sealing`), and erasures for a restored one."""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from backspan.cli import _database, _front, print_json
from backspan.cli._spc.errors import Fault
from backspan.cli._upkeep import me
from backspan.config import settings

if TYPE_CHECKING:
    from sqlalchemy import Engine

NAME = "store"
HELP = "seal the texts of a database; say who was erased, and erase them in a restored one"
_KEY = "print a fresh key for BACKSPAN_FIELD_KEYS"
_ENCRYPT = ("seal with the first of BACKSPAN_FIELD_KEYS what is not: texts of before, and texts under another key; a "
            "server may be at work meanwhile")
_ERASURES = ("print who was erased or took her consent back (pseudonyms and times, JSON lines): keep it with the "
             "backups, newer than they are")
_REPLAY = ("erase in a restored database whom the lines of `store erasures` name, and take back what they say; before "
           "a gateway is started on it")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """``store key``, ``store encrypt [--dry-run]``, ``store erasures`` and ``store replay FILE [--dry-run]``."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    actions.add_parser("key", help=_KEY, description=_KEY)
    encrypt = actions.add_parser("encrypt", help=_ENCRYPT, description=_ENCRYPT)
    _front.add_database(encrypt, "gateway.db")
    encrypt.add_argument("--dry-run", action="store_true", help="count what would be sealed, and change nothing; exits "
                         "1 if there is any")
    encrypt.add_argument("--json", action="store_true", help="print the result as JSON")
    _front.add_database(actions.add_parser("erasures", help=_ERASURES, description=_ERASURES), "gateway.db")
    replay = actions.add_parser("replay", help=_REPLAY, description=_REPLAY)
    replay.add_argument("file", metavar="FILE", help="the lines; - reads them from standard input")
    _front.add_database(replay, "gateway.db")
    replay.add_argument("--dry-run", action="store_true", help="count what would be done, and change nothing; exits 1 "
                        "if there is any")
    replay.add_argument("--json", action="store_true", help="print the result as JSON")


def run(args: argparse.Namespace) -> int:
    """0: done; 1: something is left to do (``--dry-run``), or opens with no key; 2: no key, or the database or the file
    cannot be used."""
    from backspan.store import replay, sealing

    if args.action == "key":
        print(sealing.new_key())
        return 0
    act = {"encrypt": _encrypt, "erasures": _erasures, "replay": _replay}[args.action]
    try:
        with _database.opened(args.db or str(settings().data_dir / "gateway.db")) as (writer, _):
            return act(args, writer)
    except (Fault, sealing.KeyFault, replay.WrongLine, UnicodeDecodeError, OSError) as error:
        print(f"backspan store: {error}", file=sys.stderr)
        return 2


def _encrypt(args: argparse.Namespace, writer: Engine) -> int:
    from backspan.store import rekey

    done = rekey.seal_all(writer, dry_run=args.dry_run)
    if args.json:
        print_json({"dry_run": args.dry_run, "tables": {name: asdict(one) for name, one in done.items()}})
    else:
        for name, one in done.items():
            damaged = f", {one.damaged} open with no key" if one.damaged else ""
            print(f"{name}: {one.rows} rows, {one.sealed} texts {'to seal' if args.dry_run else 'sealed'}{damaged}")
    left = sum(one.damaged + (one.sealed if args.dry_run else 0) for one in done.values())
    return 1 if left else 0


def _erasures(args: argparse.Namespace, writer: Engine) -> int:
    from backspan.store import replay

    with writer.begin() as conn:
        for one in replay.known(conn):
            print(one.line)
    return 0


def _replay(args: argparse.Namespace, writer: Engine) -> int:
    from backspan.store import replay

    text = sys.stdin.read() if args.file == "-" else Path(args.file).read_text("utf-8")
    wishes = replay.read(text.splitlines())
    with writer.begin() as conn:
        new = replay.missing(conn, wishes)
    for one in [] if args.dry_run else new:
        with writer.begin() as conn:
            replay.carry_out(conn, one, me())
    said = {what: sum(one.what == what for one in new) for what in (replay.ERASE, replay.WITHDRAW)}
    if args.json:
        print_json({"dry_run": args.dry_run, "known": len(wishes) - len(new), **said})
    else:
        verb = "to do" if args.dry_run else "done"
        print(f"{verb}: {said[replay.ERASE]} erasures, {said[replay.WITHDRAW]} withdrawals; "
              f"{len(wishes) - len(new)} known already")
    return 1 if args.dry_run and new else 0
