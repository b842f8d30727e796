"""``backspan feedback withdraw``: a person takes back what she had agreed to."""

from __future__ import annotations

import argparse
import time

from backspan.cli import _database, print_json
from backspan.cli._spc.http import Api
from backspan.cli._upkeep import me
from backspan.context import pseudonym

HELP = ("take the content out of one person's turns, and what rules found in them: she agrees to it no longer; her "
        "votes stay (`erase` takes them too)")


def run(args: argparse.Namespace, gateway: Api | None) -> int:
    """0: done. Raises `Fault`."""
    rater: str = args.rater or pseudonym(args.user)
    if gateway is not None:
        done: dict[str, int] = gateway.put("/api/withdrawals", {"rater": rater, "who": me()})["withdrawn"]
    else:
        done = _in_database(args.db, rater)
    if args.json:
        print_json({"rater": rater, "withdrawn": done})
    else:
        print(f"{rater}: taken back: " + ", ".join(f"{number} {name}" for name, number in done.items()))
    return 0


def _in_database(where: str, rater: str) -> dict[str, int]:
    from backspan.store import Policy, signals, withdrawal
    from backspan.store.batch import Batch

    with _database.writing(where) as conn:
        batch = Batch(conn, time.time(), Policy(count_spans=False, emit=signals.emits(conn)))
        done = withdrawal.carry_out(batch, rater, me())
        batch.write()
        return done
