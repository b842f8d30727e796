"""``backspan feedback compare``: votes side by side, raw and without the habits of those who cast them."""

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

HELP = "set votes on variants, prompt versions, models, ... side by side: as they were cast, and centred per rater"
_SIDES = ("variant", "prompt_name", "prompt_version", "model", "segment", "index_version")
_HEADINGS = ["votes", "raters", "raw", "95 % from", "to", "centred", "from", "to", "apart", "from", "to"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``compare``, beside those that say where the votes are."""
    parser.add_argument("--by", choices=_SIDES, default="variant", help="what tells the sides apart (%(default)s)")
    parser.add_argument("--control", metavar="SIDE", help="what the others are set against (default: the one with the "
                        "most votes)")
    parser.add_argument("--name", default=semconv.USER_THUMBS, metavar="NAME", help="feedback of users (%(default)s)")
    parser.add_argument("--measure", choices=("negative", "value"), default="negative",
                        help="the share of negative votes, or their mean value (%(default)s)")
    parser.add_argument("--prompt", metavar="NAME", help="only answers of this prompt")
    parser.add_argument("--since", default="7d", metavar="WHEN",
                        help="90m, 6h, 30d (ago), 2026-11-20T03:00Z, or Unix seconds (%(default)s)")
    parser.add_argument("--until", metavar="WHEN", help="the same (default: now)")


def run(args: argparse.Namespace, gateway: Api | None) -> int:
    """1: a side is worse or better than the control for certain, centred; 0: none is. Raises `Fault`.

    ``gateway`` is asked, or where it is None the database ``args.db``.
    """
    now = time.time()
    since = moment(args.since, now, "--since")
    until = None if args.until is None else moment(args.until, now, "--until")
    if gateway is not None:
        found = gateway.get("/api/comparison", since=since, until=until, by=args.by, control=args.control,
                            name=args.name, measure=args.measure, prompt=args.prompt)
    else:
        found = _in_database(args, since, until)
    if args.json:
        print_json(found)
    else:
        print("\n".join(_lines(found)))
    return 1 if any(_apart(one) for one in found["sides"]) else 0


def _in_database(args: argparse.Namespace, since: float, until: float | None) -> dict[str, Any]:
    from backspan.store.comparison import Wanted, sides

    wanted = Wanted(since, until, args.name, args.by, args.control, args.measure, args.prompt)
    with _database.reading(args.db) as conn:
        return sides(conn, wanted)


# --- words ----------------------------------------------------------------------------------------------------------
def _lines(found: Mapping[str, Any]) -> list[str]:
    span = f"since {iso(found['since'])}" + (f" until {iso(found['until'])}" if found["until"] is not None else "")
    if not found["sides"]:
        return [f"no votes {found['name']} on answers with a {found['by']}, {span}"]
    share = found["measure"] == "negative"
    lines = table([[found["by"], *_HEADINGS], *(_row(one, share) for one in found["sides"])])
    what = "share of negative votes" if share else "mean value"
    said = [f"{found['name']}, {what}, {span}. centred: without the habits of those who voted, as far as their votes "
            "show them.",
            f"apart: centred, from {found['control']}; its bounds hold for all sides at once: * marks what chance does "
            "not explain."]
    if found["votes_since"] > found["since"]:
        said.append(f"There are too many votes: only those since {iso(found['votes_since'])} were read.")
    if found["left_out"]:
        said.append(f"{count(found['left_out'])} sides with fewer votes are left out.")
    return [*lines, "", *said]


def _row(one: Mapping[str, Any], share: bool) -> list[str]:
    apart = ["-"] * 3 if one["difference"] is None else [
        _number(one["difference"]["centred"][stat], share, "+") for stat in semconv.STATS]
    means = [_number(one[kind][stat], share) for kind in ("raw", "centred") for stat in semconv.STATS]
    return [("* " if _apart(one) else "  ") + one["side"], count(one["n"]), count(one["raters"]), *means, *apart]


def _number(value: float, share: bool, sign: str = "") -> str:
    return f"{100 * value:{sign}.1f} %" if share else f"{value:{sign}.2f}"


def _apart(one: Mapping[str, Any]) -> bool:
    difference = one["difference"]
    return difference is not None and (difference["centred"]["low"] > 0 or difference["centred"]["high"] < 0)
