"""``backspan feedback documents``: the documents whose answers are voted down, as a table or JSON."""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from typing import Any

from backspan import semconv
from backspan.cli import _database, print_json
from backspan.cli._spc.errors import Fault
from backspan.cli._spc.http import Api
from backspan.cli._spc.times import iso, moment
from backspan.cli._spc.words import count, table

HELP = "show the votes by the document that the judged answers rest on, worst first"
_HEADINGS = ["document", "index", "negative", "positive", "n", "bad", "95 % from", "to", "lift", "from", "to"]
_CENTRED, _LAST = ["votes", "centred"], ["shown", "rank"]
_WIDEST = 40


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``documents``, beside those that say where the votes are."""
    parser.add_argument("--since", default="7d", metavar="WHEN",
                        help="90m, 6h, 30d (ago), 2026-11-20T03:00Z, or Unix seconds (%(default)s)")
    parser.add_argument("--until", metavar="WHEN", help="the same (default: now)")
    parser.add_argument("--order", choices=("negative", "excess"), default="negative",
                        help="most negative votes first, or most bad answers beyond what the share of the others "
                        "predicts (%(default)s)")
    parser.add_argument("--source", choices=(*semconv.SOURCES, "any"), default=semconv.END_USER,
                        help="who judged (%(default)s)")
    parser.add_argument("--index", metavar="NAME", help="only documents of this index")
    parser.add_argument("--index-version", metavar="VERSION", help="only those of this version of an index")
    parser.add_argument("--document", metavar="ID", help="only this one")
    parser.add_argument("--limit", type=int, default=20, metavar="N", help="rows, 100 at most (%(default)s)")
    parser.add_argument("--centred", action="store_true", help="also the share of negative votes without the habits of "
                        "those who voted")


def run(args: argparse.Namespace, gateway: Api | None) -> int:
    """1: a document stands out, that is, its lift is above 1 for certain; 0: none does. Raises `Fault`.

    ``gateway`` is asked, or where it is None the file ``args.db``.
    """
    if not 1 <= args.limit <= 100:
        raise Fault("--limit: 1 to 100")
    now = time.time()
    since = moment(args.since, now, "--since")
    until = None if args.until is None else moment(args.until, now, "--until")
    found = _over_http(args, gateway, since, until) if gateway is not None else _in_database(args, since, until)
    if args.json:
        print_json(found)
    else:
        print("\n".join(_lines(found, args)))
    return 1 if any(_stands_out(one) for one in found["documents"]) else 0


def _over_http(args: argparse.Namespace, gateway: Api, since: float, until: float | None) -> dict[str, Any]:
    return gateway.get("/api/documents", since=since, until=until, source=args.source, index=args.index,
                       version=args.index_version, document=args.document, order=args.order, limit=args.limit,
                       centred="true" if args.centred else None)


def _in_database(args: argparse.Namespace, since: float, until: float | None) -> dict[str, Any]:
    from backspan.store.documents import Asked, page

    asked = Asked(since, until, args.source, args.index, args.index_version, args.document, args.order)
    with _database.reading(args.db) as conn:
        return page(conn, asked, args.limit, centred=args.centred)


# --- words ----------------------------------------------------------------------------------------------------------
def _lines(found: Mapping[str, Any], args: argparse.Namespace) -> list[str]:
    rows = found["documents"]
    since, read = found["since"], found["votes_since"]
    span = f"since {iso(since)}" + (f" until {iso(found['until'])}" if found["until"] is not None else "")
    if not rows:
        return [f"no votes on answers that rest on a document, {span}"]
    headings = [*_HEADINGS, *(_CENTRED if args.centred else ()), *_LAST]
    lines = table([headings, *([*_named(one), *_counted(one)] for one in rows)])
    who = "everybody" if args.source == "any" else args.source
    said = [f"Judgements by {who} {span}. A vote counts for every document of the answer.",
            "bad: share of the n judged answers. lift: that share by the one of the answers of the same index version",
            "without the document; its bounds hold for all documents at once: * marks what chance does not explain."]
    if args.centred:
        said.append("votes: share of its votes that are negative. centred: the same without the habits of those who "
                    "voted.")
    if read > since:
        said.append(f"There are too many votes: only those since {iso(read)} were read.")
    if found["answers_since"] > since:
        said.append(f"There are too many answers: shown counts those since {iso(found['answers_since'])}.")
    if found["cursor"]:
        said.append("There are more documents: --limit.")
    return [*lines, "", *said]


def _named(one: Mapping[str, Any]) -> list[str]:
    index = "@".join(part for part in (one["index_name"], one["index_version"]) if part)
    return [("* " if _stands_out(one) else "  ") + _printable(one["document"]), _printable(index)]


def _counted(one: Mapping[str, Any]) -> list[str]:
    votes, share, lift = one["votes"], one["share"], one["lift"]
    parts = [_percent(share[name]) for name in semconv.STATS]
    times = ["-"] * 3 if lift is None else [_times(lift[name]) for name in semconv.STATS]
    beside: list[str] = []
    if "centring" in one:
        beside = ["-"] * 2 if one["centring"] is None else [
            _percent(one["centring"][kind]["value"]) for kind in ("raw", "centred")]
    return [count(votes[semconv.NEGATIVE]), count(votes[semconv.POSITIVE]), count(one["judged"]), *parts, *times,
            *beside, count(one["shown"]), f"{one['position']:.1f}"]


def _stands_out(one: Mapping[str, Any]) -> bool:
    return one["lift"] is not None and one["lift"]["low"] > 1


def _percent(value: float) -> str:
    return f"{100 * value:.1f} %"


def _times(value: float | None) -> str:
    return "any" if value is None else f"{value:.2f}"


def _printable(text: str) -> str:
    """On one line, without what a terminal would obey."""
    plain = "".join(sign if sign.isprintable() else "?" for sign in text)
    return plain if len(plain) <= _WIDEST else f"{plain[:_WIDEST - 1]}…"
