"""``backspan feedback``: work on the feedback that a gateway keeps."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from typing import Any

from backspan.cli import (
    _calibrate,
    _compare,
    _database,
    _documents,
    _outcomes,
    _taxonomy,
    _upkeep,
    _withdraw,
    print_json,
)
from backspan.cli._spc.errors import Fault
from backspan.cli._spc.http import Api
from backspan.cli._spc.times import iso, moment
from backspan.config import settings

NAME = "feedback"
HELP = "compare votes; show them by document and against outcomes; hold, erase and weigh; send them again"
_GATEWAY = "http://127.0.0.1:8318"
_POLL_S = 0.2
_REEMIT = ("send the feedback spans again that the back end took since a moment, with the same ids: what it still has "
           "stays as it is, what it lost comes back")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Every action with its options."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    for name, help_, add in _ACTIONS:
        action = actions.add_parser(name, help=help_, description=help_)
        add(action)
        if name not in _ELSEWHERE:
            _add_place(action)
            action.add_argument("--json", action="store_true", help="print the result as JSON")
    quarantine = actions.add_parser("quarantine", help=_upkeep.QUARANTINE, description=_upkeep.QUARANTINE)
    _upkeep.add_quarantine(quarantine, _add_place)


def _add_reemit(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--since", required=True, metavar="WHEN",
                        help="90m, 6h, 30d (ago), 2026-11-20T03:00Z, or Unix seconds; by the gateway's clock")
    parser.add_argument("--wait", type=float, default=30.0, metavar="S",
                        help="seconds to wait until the back end has taken all; 0: do not wait (%(default)s)")


_ACTIONS: tuple[tuple[str, str, Callable[[argparse.ArgumentParser], None]], ...] = (
    ("documents", _documents.HELP, _documents.add_arguments), ("compare", _compare.HELP, _compare.add_arguments),
    ("reemit", _REEMIT, _add_reemit), ("taxonomy", _taxonomy.HELP, _taxonomy.add_arguments),
    ("outcomes", _outcomes.HELP, _outcomes.add_arguments), ("calibrate", _calibrate.HELP, _calibrate.add_arguments),
    ("erase", _upkeep.ERASE, _upkeep.add_erase), ("withdraw", _withdraw.HELP, _upkeep.add_erase),
    ("audit", _upkeep.AUDIT, _upkeep.add_audit),
)
_ELSEWHERE = ("taxonomy", "calibrate")
"""Actions that say themselves where they look."""


def _add_place(parser: argparse.ArgumentParser) -> None:
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--gateway", metavar="URL",
                       help=f"the gateway, or `backspan up` (default: BACKSPAN_GATEWAY_URL, else {_GATEWAY}); from "
                       "another machine it wants BACKSPAN_API_KEY")
    where.add_argument("--db", "--database", metavar="WHERE",
                       help="its SQLite file or postgresql://user@host/database instead; what is to be sent is sent "
                       "by the gateway that runs on it, or by the next")


def run(args: argparse.Namespace) -> int:
    """Run the action.

    2: usage or fault. ``documents`` and ``compare``: 1 if one stands out, else 0. ``reemit``: 1 if some still wait, 0
    if all were sent (or left to a gateway, with ``--wait 0`` or ``--db``).
    """
    try:
        alone = {"taxonomy": _taxonomy.run, "calibrate": _calibrate.run, "reemit": _reemit}
        if args.action in alone:
            return alone[args.action](args)
        return _ASKING[args.action](args, None if args.db is not None else _gateway(args))
    except Fault as error:
        print(f"backspan feedback: {error}", file=sys.stderr)
        return 2


_ASKING: dict[str, Callable[[argparse.Namespace, Api | None], int]] = {
    "quarantine": _upkeep.quarantine, "erase": _upkeep.erase, "audit": _upkeep.audit, "outcomes": _outcomes.run,
    "documents": _documents.run, "compare": _compare.run, "withdraw": _withdraw.run,
}
"""Actions that ask a gateway, or read a database where there is none to ask."""


def _gateway(args: argparse.Namespace) -> Api:
    key = settings().api_key
    base: str = args.gateway or settings().gateway_url or _GATEWAY
    return Api(base, {"Authorization": f"Bearer {key}"} if key else {})


# --- reemit ---------------------------------------------------------------------------------------------------------
def _reemit(args: argparse.Namespace) -> int:
    since = moment(args.since, time.time(), "--since")
    if args.db is not None:
        return _tell(args, {"since": since, "again": _in_database(args.db, since), "waiting": None})
    return _tell(args, _over_http(args, since))


def _over_http(args: argparse.Namespace, since: float) -> dict[str, Any]:
    gateway = _gateway(args)
    done: dict[str, Any] = gateway.put("/api/outbox", {"since": since})
    deadline = time.monotonic() + args.wait
    waiting = _waiting(gateway)
    while waiting and time.monotonic() < deadline:
        time.sleep(_POLL_S)
        waiting = _waiting(gateway)
    return {**done, "waiting": waiting}


def _waiting(gateway: Api) -> int:
    return int(gateway.get("/api/outbox")["waiting"])


def _in_database(where: str, since: float) -> int:
    from backspan.store import outbox

    before, count, step = time.time(), 0, 1
    with _database.opened(where) as (writer, _):
        while step:
            with writer.begin() as conn:
                step = outbox.again(conn, since, before)
            count += step
    return count


def _tell(args: argparse.Namespace, done: dict[str, Any]) -> int:
    waiting = done["waiting"]
    if args.json:
        print_json({**done, "since": iso(done["since"])})
    else:
        print(f"{done['again']} feedback spans since {iso(done['since'])} are sent again{_outcome(done, args.wait)}")
    return 1 if waiting and args.wait else 0


def _outcome(done: dict[str, Any], wait: float) -> str:
    if done["waiting"] is None:
        return " by the gateway of that database"
    if not wait:
        return f" to {done['endpoint']}"
    left = done["waiting"]
    return f"; {left} still wait for {done['endpoint']}" if left else f"; {done['endpoint']} has taken all"
