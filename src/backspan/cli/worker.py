"""``backspan worker``: what has to be done with a gateway's database again and again, apart from the gateway."""

from __future__ import annotations

import argparse
import json
import logging
import signal
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from backspan.cli import _front, print_json
from backspan.config import settings

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from backspan.loop.worker import Report
    from backspan.store import Retention

NAME = "worker"
HELP = ("forget what a gateway has kept for long enough, find implicit signals, estimate satisfaction; of several "
        "workers on one database one is at work")
_KEPT = ("turns", "votes", "alerts")
_FOREVER = "forever"
_DAY = 86400.0
_LEAST_EVERY = 1.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """``worker [--keep-days …] [--max-bytes N] [--every S] [--once | --check] [--json]``."""
    _front.add_database(parser, "gateway.db")
    parser.add_argument("--keep-days", type=_keep_days, default={}, metavar="TABLE=DAYS,…",
                        help="days to keep `turns` (with their calls; 30 if not given), `votes` (400) and `alerts` "
                        "that have ended (forever); `forever` instead of a number keeps all")
    parser.add_argument("--max-bytes", type=_bytes, metavar="N",
                        help="past this size of the file the oldest turns go (default: no bound)")
    parser.add_argument("--every", type=_seconds, default=60.0, metavar="S",
                        help="seconds from one round to the next (%(default)s)")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--once", action="store_true", help="do one round, then end; exits 1 if another worker is at work")
    how.add_argument("--check", action="store_true", help="do nothing; exits 0 if a worker is at work, else 1")
    parser.add_argument("--json", action="store_true", help="print what was forgotten as JSON; one line a round "
                        "without --once")


def run(args: argparse.Namespace) -> int:
    """0: done, told to stop, or at work (``--check``); 1: see there; 2: the database cannot be used."""
    from backspan.feedback.signals import CatalogueError
    from backspan.store import StoreError
    from backspan.store.engines import connect

    try:
        if args.check:
            return _check(args)
        url, path = _front.database(args.db, "gateway.db")
        writer, reader = connect(url)
    except (StoreError, OSError) as error:
        print(f"backspan worker: {error}", file=sys.stderr)
        return 2
    try:
        return _work(args, writer, path)
    except CatalogueError as error:
        print(f"backspan worker: {error}", file=sys.stderr)
        return 2
    finally:
        reader.dispose()
        writer.dispose()


def _work(args: argparse.Namespace, writer: Engine, path: str) -> int:
    from backspan.loop.worker import Forget, Worker

    keep = _keep(args)
    worker = Worker(writer, [Forget(keep, args.every), *_signals(args.every)])
    before = {number: signal.signal(number, _stopper(worker.stop)) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        if args.once:
            return _once(args, worker)
        print(f"backspan worker: {path}, keeps {_said(keep)}; every {args.every:g} s", file=sys.stderr, flush=True)
        worker.run(_Teller(args.json))
        return 0
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _signals(every: float) -> list[Any]:
    from backspan.loop.implicit import Implicit
    from backspan.loop.satisfaction import Satisfaction

    return [Implicit(every), Satisfaction(settings().data_dir / "weights.json", every)]


def _stopper(stop: Any) -> Any:
    def handle(_number: int, _frame: FrameType | None) -> None:
        stop()

    return handle


# --- what is done -----------------------------------------------------------------------------------------------------
def _once(args: argparse.Namespace, worker: Any) -> int:
    reports: list[Report] = worker.pulse()
    worker.release()
    if args.json:
        print_json([_shown(report) for report in reports])
    else:
        for report in reports:
            print(f"backspan worker: {report.job}: {_outcome(report)}", file=sys.stderr)
    if any(report.error for report in reports):
        return 2
    return 1 if any(report.holder for report in reports) else 0


class _Teller:
    """Says what a worker that goes on has done: each round that did something, and each change of what hinders it."""

    def __init__(self, as_json: bool) -> None:
        self._as_json = as_json
        self._hindered: dict[str, str | None] = {}

    def __call__(self, report: Report) -> None:
        hindered = report.error or report.holder
        changed = self._hindered.get(report.job) != hindered
        self._hindered[report.job] = hindered
        if self._as_json and (report.done or changed):
            print(json.dumps({"time": time.time(), **_shown(report)}), flush=True)
        elif changed or report.done:
            print(f"backspan worker: {report.job}: {_outcome(report)}", file=sys.stderr, flush=True)


def _shown(report: Report) -> dict[str, Any]:
    return {"job": report.job, "done": dict(report.done), "steps": report.steps, "holder": report.holder,
            "error": report.error}


def _outcome(report: Report) -> str:
    if report.error:
        return f"the database could not be written ({report.error}); tried again"
    if report.holder:
        return f"{report.holder} does it; this worker stands by"
    return ", ".join(f"{number} {name}" for name, number in report.done.items()) or "nothing to do"


def _check(args: argparse.Namespace) -> int:
    from sqlalchemy.exc import SQLAlchemyError

    from backspan.store import leases, retention
    from backspan.store.engines import reader

    holder, path = None, str(args.db or settings().data_dir / "gateway.db")
    if "://" in path or Path(path).is_file():
        url, path = _front.database(path, "")
        engine = reader(url)
        logging.getLogger("sqlalchemy").setLevel(logging.CRITICAL)
        try:
            with engine.begin() as conn:
                holder = leases.holder_of(conn, retention.LEASE, time.time())
        except SQLAlchemyError as error:
            print(f"backspan worker: {path} cannot be read ({type(error).__name__})", file=sys.stderr)
        finally:
            engine.dispose()
    if args.json:
        print_json({"at_work": holder is not None, "holder": holder})
    else:
        print(f"backspan worker: {holder or 'nobody'} is at work on {path}", file=sys.stderr)
    return 0 if holder is not None else 1


# --- what is asked ----------------------------------------------------------------------------------------------------
def _keep(args: argparse.Namespace) -> Retention:
    from backspan.server.config import GATEWAY_KEEP

    given = {table: None if days is None else days * _DAY for table, days in args.keep_days.items()}
    return replace(GATEWAY_KEEP, size=args.max_bytes, **given)


def _said(keep: Retention) -> str:
    kept = asdict(keep)
    ages = [f"{table} {_FOREVER if kept[table] is None else f'{kept[table] / _DAY:g} days'}" for table in _KEPT]
    return ", ".join([*ages, *([f"{keep.size} bytes"] if keep.size is not None else [])])


def _keep_days(text: str) -> dict[str, float | None]:
    found: dict[str, float | None] = {}
    for part in text.split(","):
        table, _, days = (piece.strip() for piece in part.partition("="))
        if table not in _KEPT or table in found:
            raise argparse.ArgumentTypeError(f"{part.strip()!r}: each of {', '.join(_KEPT)} at most once, as turns=30")
        found[table] = None if days == _FOREVER else _positive(days, "days")
    return found


def _seconds(text: str) -> float:
    return max(_LEAST_EVERY, _positive(text, "seconds"))


def _bytes(text: str) -> int:
    return int(_positive(text, "bytes"))


def _positive(text: str, unit: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < 1e15:
        raise argparse.ArgumentTypeError(f"{text!r} is no positive number of {unit}")
    return number
