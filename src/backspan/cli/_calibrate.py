"""``backspan feedback calibrate``: what signals are worth, measured against votes, as a file for the worker."""

from __future__ import annotations

import argparse
import time
from dataclasses import asdict
from math import exp
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backspan import semconv
from backspan.cli import _database, _front, print_json
from backspan.cli._spc.errors import Fault
from backspan.cli._spc.times import moment
from backspan.cli._spc.words import count, table
from backspan.config import settings

if TYPE_CHECKING:
    from backspan.loop.calibrate import Labelled, Weights

HELP = "measure what implicit signals are worth against votes, and write it to a file that the worker reads"
FILE = "weights.json"
"""Name of the file in ``BACKSPAN_DATA_DIR``."""
_HEADINGS = ["signal", "up", "down", "odds if there", "if not"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``calibrate``."""
    _front.add_database(parser, "gateway.db")
    parser.add_argument("--since", default="90d", metavar="WHEN",
                        help="votes since then: 90m, 6h, 30d (ago), 2026-11-20T03:00Z, or Unix seconds (%(default)s)")
    parser.add_argument("--vote", default=semconv.USER_THUMBS, metavar="NAME", help="feedback of users (%(default)s)")
    parser.add_argument("--least", type=int, default=100, metavar="N",
                        help="judged answers that there must be (%(default)s)")
    parser.add_argument("--out", type=Path, metavar="FILE", help=f"file to write ({FILE} in BACKSPAN_DATA_DIR)")
    parser.add_argument("--dry-run", action="store_true", help="write nothing")
    parser.add_argument("--json", action="store_true", help="print the weights as JSON")


def run(args: argparse.Namespace) -> int:
    """0: written (or shown); 1: too few votes, nothing written. Raises `Fault`."""
    from backspan.feedback.signals import CatalogueError, catalogue
    from backspan.loop.calibrate import WeightsError, fit, write

    now = time.time()
    try:
        known = catalogue()
        answers = _labelled(args, moment(args.since, now, "--since"), known)
        if len(answers) < args.least:
            return _too_few(args, len(answers))
        weights = fit(answers, known, now)
        path = args.out or settings().data_dir / FILE
        if not args.dry_run:
            path.parent.mkdir(parents=True, exist_ok=True)
            write(weights, path)
    except (CatalogueError, WeightsError, OSError) as error:
        raise Fault(str(error)) from None
    print_json(asdict(weights)) if args.json else print("\n".join(_lines(weights, None if args.dry_run else path)))
    return 0


def _labelled(args: argparse.Namespace, since: float, known: Any) -> list[Labelled]:
    from backspan.loop.satisfaction import labelled

    with _database.reading(args.db or str(settings().data_dir / "gateway.db")) as conn:
        return labelled(conn, known, since, args.vote)


def _too_few(args: argparse.Namespace, number: int) -> int:
    if args.json:
        print_json({"answers": number, "least": args.least})
    else:
        print(f"{number} judged answers, and {args.least} are wanted (--least): nothing is written")
    return 1


def _lines(weights: Weights, path: Path | None) -> list[str]:
    rows = sorted(((key, one) for key, one in weights.signals.items() if one.good + one.bad),
                  key=lambda row: -abs(row[1].present))
    lines = table([_HEADINGS, *([key, count(one.good), count(one.bad), f"x {exp(one.present):.2f}",
                                 f"x {exp(one.absent):.2f}"] for key, one in rows)])
    found = weights.auc
    said = "AUC on answers left out of the fit: " + (
        f"{found.value:.3f} ({found.low:.3f} to {found.high:.3f}), n = {found.good} up, {found.bad} down"
        if found is not None else "too few to say")
    where = "nothing written" if path is None else f"written to {path}"
    return [*lines, "", said, f"weights {weights.version}: {where}"]
