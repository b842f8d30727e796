"""``backspan feedback quarantine``, ``erase`` and ``audit``: what a person decides about votes, and who did."""

from __future__ import annotations

import argparse
import getpass
import json
import time
from collections.abc import Callable
from typing import Any

from backspan.cli import _database, print_json
from backspan.cli._spc.http import Api
from backspan.cli._spc.times import iso
from backspan.cli._spc.words import table
from backspan.context import pseudonym

QUARANTINE = "show the votes that are held as suspect, hold votes, or let them go"
ERASE = "erase what one person said, with all revisions, and the texts of her turns"
AUDIT = "show who held, let go and erased what, and when"


def add_quarantine(parser: argparse.ArgumentParser, add_place: Callable[[argparse.ArgumentParser], None]) -> None:
    """``list``, ``hold ID …`` and ``release ID …``."""
    acts = parser.add_subparsers(dest="act", required=True, metavar="ACT")
    for name, doc in (("list", "the votes that are held, newest first"), ("hold", "hold votes: they leave the net"),
                      ("release", "let votes go: they count again, and no rule holds them any more")):
        act = acts.add_parser(name, help=doc, description=doc)
        if name == "list":
            act.add_argument("--released", action="store_true", help="those that were let go instead")
            act.add_argument("--limit", type=int, default=100, metavar="N", help="rows, 500 at most (%(default)s)")
        else:
            act.add_argument("ids", nargs="+", metavar="ID", help="of a vote")
        add_place(act)
        act.add_argument("--json", action="store_true", help="print the result as JSON")


def add_erase(parser: argparse.ArgumentParser) -> None:
    """Whom to erase."""
    who = parser.add_mutually_exclusive_group(required=True)
    who.add_argument("--rater", metavar="PSEUDONYM", help="as it is on spans and votes")
    who.add_argument("--user", metavar="ID", help="as the application knows her; takes the application's "
                     "BACKSPAN_TOKEN_KEYS")


def add_audit(parser: argparse.ArgumentParser) -> None:
    """How much of it."""
    parser.add_argument("--limit", type=int, default=100, metavar="N", help="rows, 500 at most (%(default)s)")


def quarantine(args: argparse.Namespace, gateway: Api | None) -> int:
    """0: done. Raises `Fault`."""
    if args.act == "list":
        return _list(args, gateway)
    if gateway is not None:
        done = int(gateway.put("/api/quarantine", {"action": args.act, "ids": args.ids})["done"])
    else:
        from backspan.server.quarantine_routes import act

        with _database.writing(args.db) as conn:
            done = act(conn, args.act, args.ids, me())
    if args.json:
        print_json({"action": args.act, "done": done})
    else:
        print(f"{done} of {len(args.ids)} votes {'held' if args.act == 'hold' else 'let go'}")
    return 0


def _list(args: argparse.Namespace, gateway: Api | None) -> int:
    state = "released" if args.released else "held"
    if gateway is not None:
        rows: list[dict[str, Any]] = gateway.get(f"/api/quarantine?state={state}&limit={args.limit}")["votes"]
    else:
        from backspan.store import guards

        with _database.reading(args.db) as conn:
            rows = guards.quarantine(conn, state, args.limit)
    if args.json:
        print_json({"votes": rows})
        return 0
    shown = [[row["id"], row["rule"], row["name"], row["polarity"], row["trust"], row["rater"] or "-",
              iso(row["since"])] for row in rows]
    heading = ["vote", "rule", "name", "polarity", "trust", "rater", "since"]
    print("\n".join(table([heading, *shown])) if rows else f"no votes are {state}")
    return 0


def erase(args: argparse.Namespace, gateway: Api | None) -> int:
    """0: erased. Raises `Fault`."""
    from backspan.store import erasure

    rater: str = args.rater or pseudonym(args.user)
    if gateway is not None:
        gone: dict[str, int] = gateway.put("/api/erasures", {"rater": rater, "who": me()})["erased"]
    else:
        with _database.writing(args.db) as conn:
            gone = erasure.erase(conn, rater, erasure.votes_of(conn, rater), me(), time.time())
    command = erasure.tempo_command(rater)
    if args.json:
        print_json({"rater": rater, "erased": gone, "tempo": command})
        return 0
    print(f"{rater}: erased " + ", ".join(f"{number} {name}" for name, number in gone.items()))
    print("Spans that Tempo holds (3.1 or newer; address of its backend scheduler; first with --dry-run; again when "
          "what is in memory now has been written):")
    print(f"  {command}")
    return 0


def audit(args: argparse.Namespace, gateway: Api | None) -> int:
    """0: printed, the newest first. Raises `Fault`."""
    if gateway is not None:
        rows: list[dict[str, Any]] = gateway.get("/api/audit", limit=args.limit)["entries"]
    else:
        from backspan.store import audit as log

        with _database.reading(args.db) as conn:
            rows = log.entries(conn, args.limit)
    if args.json:
        print_json({"entries": rows})
        return 0
    shown = [[iso(row["time"]), row["who"], row["what"], json.dumps(row["details"])] for row in rows]
    print("\n".join(table([["time", "who", "what", "details"], *shown])) if rows else "nobody did anything yet")
    return 0


def me() -> str:
    """Who is at the keyboard, for the audit log."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "cli"

