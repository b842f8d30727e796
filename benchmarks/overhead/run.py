"""What a call costs with backspan, against `floor`, both over no instrumentation, in one interleaved run.

    python benchmarks/overhead/run.py [--quick] [--json]

CPU time of the calling thread, as the machine's other work and the exporter's thread are not ours to count. The model
is a transport inside the process, so nothing waits. Every round runs each variant once, in turn; the figure of a
variant is the median over the rounds of its difference to the bare run beside it. Exit 1 if a ratio is over its limit
(not with ``--quick``, whose few rounds only show that it runs).
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

LIMIT = 1.5
ROUNDS, QUICK_ROUNDS = 60, 3

sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parents[2])]
os.environ["BACKSPAN_RAISE"] = "1"


@dataclass(frozen=True)
class Row:
    """One line of the result, in microseconds of CPU added per call (or per chunk)."""

    what: str
    content: str
    floor: float
    ours: float

    @property
    def ratio(self) -> float:
        """Ours over the floor."""
        return self.ours / self.floor if self.floor > 0 else float("nan")


# --- measuring ------------------------------------------------------------------------------------------------------
def _timed(call: Callable[[], Any], times: int) -> float:
    """Microseconds of this thread's CPU per call; the collector runs before, not during, so that it hits nobody."""
    gc.collect()
    gc.disable()
    start = time.thread_time()
    for _ in range(times):
        call()
    spent = time.thread_time() - start
    gc.enable()
    return spent / times * 1e6


def _added(call: Callable[[], Any], times: int, rounds: int, variants: list[Any]) -> list[float]:
    """The median over ``rounds`` of what each of ``variants`` adds to the bare call, in microseconds."""
    differences: list[list[float]] = [[] for _ in variants]
    for number in range(rounds + 1):
        bare = _timed(call, times)
        for index, variant in enumerate(variants):
            variant.install()
            spent = _timed(call, times)
            variant.uninstall()
            if number:  # the first round fills caches
                differences[index].append(spent - bare)
    return [statistics.median(values) for values in differences]


class Ours:
    """The patch that is measured."""

    def install(self) -> None:
        """As the import hook does."""
        import openai

        import backspan.instrument

        backspan.instrument.imported(openai)

    def uninstall(self) -> None:
        """Take it back."""
        import backspan.instrument

        backspan.instrument.uninstrument()


def measure(content: bool, rounds: int) -> list[Row]:
    """All rows for one setting of content."""
    from floor import Floor
    from model import CHUNKS, FIRST, TIMES, calls, client

    from backspan import config

    os.environ["BACKSPAN"] = "content" if content else "1"
    config.reload()
    said = "on" if content else "off"
    rows: list[Row] = []
    work = {what: call for what, call in calls(client()).items() if what != FIRST}
    for what, call in work.items():
        floor, ours = _added(call, TIMES[what], rounds, [Floor(content), Ours()])
        rows.append(Row(what, said, floor, ours))
    short, stream = rows[0], rows[2]
    rows.append(Row("per chunk", said, (stream.floor - short.floor) / CHUNKS, (stream.ours - short.ours) / CHUNKS))
    return rows


def main() -> int:
    """Measure, print, judge."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few rounds, no judgement")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--rounds", type=int, default=None)
    asked = parser.parse_args()
    from sides import provided

    provided(None)
    rounds = asked.rounds or (QUICK_ROUNDS if asked.quick else ROUNDS)
    rows = measure(False, rounds) + measure(True, rounds)
    if asked.json:
        print(json.dumps([{**asdict(row), "ratio": row.ratio, "limit": LIMIT} for row in rows]))
    else:
        for row in rows:
            print(f"{row.what:16} content {row.content:3}  floor {row.floor:8.2f} us  "
                  f"ours {row.ours:8.2f} us  ratio {row.ratio:5.2f}  limit {LIMIT}")
    missed = [row for row in rows if not row.ratio <= LIMIT]
    return 1 if missed and not asked.quick else 0


if __name__ == "__main__":
    raise SystemExit(main())
