"""``backspan feedback outcomes``: votes against what became of the work, and work with a model against work without."""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from typing import Any

from backspan import semconv
from backspan.cli import _database, print_json
from backspan.cli._spc.http import Api
from backspan.cli._spc.times import iso, moment
from backspan.cli._spc.words import count, table

HELP = "set votes against outcomes, and work with a model against work without"
_HEADINGS = ["", "good", "bad", "share", "95 % from", "to"]
_VERDICTS = {
    "too_few": "too few to say", "no_difference": "no difference shown", "better": "the first row ends better",
    "worse": "the first row ends worse",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``outcomes``, beside those that say where the votes are."""
    parser.add_argument("--since", default="30d", metavar="WHEN",
                        help="outcomes since then: 90m, 6h, 30d (ago), 2026-11-20T03:00Z, or Unix seconds "
                        "(%(default)s)")
    parser.add_argument("--until", metavar="WHEN", help="the same (default: now)")
    parser.add_argument("--vote", default=semconv.USER_THUMBS, metavar="NAME", help="feedback of users (%(default)s)")
    parser.add_argument("--name", metavar="NAME", help="only this outcome")


def run(args: argparse.Namespace, gateway: Api | None) -> int:
    """0: printed. Raises `Fault`. ``gateway`` is asked, or where it is None the database ``args.db``."""
    now = time.time()
    since = moment(args.since, now, "--since")
    until = None if args.until is None else moment(args.until, now, "--until")
    name = args.name and semconv.OUTCOME_PREFIX + args.name.removeprefix(semconv.OUTCOME_PREFIX)
    if gateway is not None:
        found = gateway.get("/api/outcomes", since=since, until=until, vote=args.vote, name=name)
    else:
        found = _in_database(args.db, since, until, args.vote, name)
    if args.json:
        print_json(found)
    else:
        print("\n".join(_lines(found)))
    return 0


def _in_database(where: str, since: float, until: float | None, vote: str, name: str | None) -> dict[str, Any]:
    from backspan.store.outcomes_report import report

    with _database.reading(where) as conn:
        return report(conn, since, until, vote=vote, name=name)


# --- words ----------------------------------------------------------------------------------------------------------
def _lines(found: Mapping[str, Any]) -> list[str]:
    if not found["outcomes"]:
        return [f"no outcomes since {iso(found['since'])}"]
    lines: list[str] = []
    for one in found["outcomes"]:
        lines += ["", one["name"]] if lines else [one["name"]]
        lines += _part(one["votes"], (("up", f"{found['vote']} up"), ("down", f"{found['vote']} down")))
        lines += ["", *_part(one["assistance"], (("assisted", "with a model"), ("unassisted", "without")))]
        if one["waiting"]:
            lines.append(f"  {count(one['waiting'])} more wait for the turn of their join key")
    return [*lines, "", f"A row of fewer than {found['enough']} says nothing. These are observations: nobody drew "
            "lots."]


def _part(compared: Mapping[str, Any], rows: tuple[tuple[str, str], ...]) -> list[str]:
    lines = table([_HEADINGS, *(_row(words, compared[key]) for key, words in rows)])
    return [f"  {line}" for line in [*lines, _said(compared)]]


def _row(words: str, row: Mapping[str, Any]) -> list[str]:
    return [words, count(row["good"]), count(row["bad"]), *(_percent(row[key]) for key in ("share", "low", "high"))]


def _said(compared: Mapping[str, Any]) -> str:
    difference, odds, phi = compared["difference"], compared["odds_ratio"], compared["phi"]
    if difference is None:
        return f"n = {count(compared['n'])}: {_VERDICTS[compared['verdict']]}"
    points = " to ".join(f"{100 * difference[key]:+.1f}" for key in ("low", "high"))
    parts = [f"n = {count(compared['n'])}: {_VERDICTS[compared['verdict']]}",
             f"difference {100 * difference['value']:+.1f} points ({points})",
             f"odds ratio {odds['value']:.2f} ({odds['low']:.2f} to {odds['high']:.2f})"]
    return "; ".join([*parts, *([f"phi {phi:+.2f}"] if phi is not None else [])])


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f} %"
