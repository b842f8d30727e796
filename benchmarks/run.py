"""Measure every number that we promise, and write `docs/benchmarks.md`.

    python benchmarks/run.py            measure all, write the page, exit 1 on a miss
    python benchmarks/run.py --only boot,votes     the same for some of them; the other rows stay as they are
    python benchmarks/run.py --check    measure nothing; exit 1 if the page lacks a row

Each benchmark is a program of its own and runs alone; run this on a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "benchmarks.md"
sys.path.insert(0, str(ROOT))
from benchmarks.rows import Row  # noqa: E402


@dataclass(frozen=True)
class Benchmark:
    """A program that prints JSON, and how its JSON reads as rows; ``whats`` are the rows that must be on the page."""

    command: tuple[str, ...]
    rows: Callable[[Any, str], Iterator[Row]]
    whats: tuple[str, ...]

    @property
    def line(self) -> str:
        """The command as a person would type it."""
        return " ".join(("python", *self.command))


PTH, BOOT = "one read of the `.pth`, variable unset", "the whole boot, variable set"
VOTES, P99, KEPT = "votes accepted durably, SQLite", "votes: p99 latency", "votes lost or doubled"
SHARE = "votes accepted, against a bare prototype with group commit right after it"
POSTGRES, POSTGRES_P99 = "votes accepted durably, PostgreSQL on the same two cores", "votes, PostgreSQL: p99 latency"
POSTGRES_KEPT = "votes lost or doubled, PostgreSQL"
IN_TEMPO = "a vote in Tempo by id, longest"
IN_PROMETHEUS = "a vote in Prometheus, longest"
NEW_SERIES = "the first vote of a series in Prometheus (two scrapes more), longest"
EVALUATED = "1,000 cohorts × 4 series: one evaluation of the pager's rules"
SHIFTS = {"0.12": 21.0, "0.15": 5.3, "0.20": 2.1}
CALLS = ("chat short", "chat long", "chat stream", "responses short", "embeddings 100")
CONTENTS = ("off", "on")


def _boot(found: Any, command: str) -> Iterator[Row]:
    yield Row(PTH, 60, found["unset_us"], "µs", command)
    yield Row(BOOT, 1000, found["set_us"], "µs", command)


def _what(call: str, content: str) -> str:
    return f"CPU added, {call}, content {content}"


def _overhead(found: Any, command: str) -> Iterator[Row]:
    for row in found:
        yield Row(_what(row["what"], row["content"]), 1.5, row["ratio"], "× floor", command)


def _accepted(found: Any, command: str, least: float, rate: str, p99: str, kept: str) -> Iterator[Row]:
    yield Row(rate, least, found["per_second"], "/s", command, "least")
    yield Row(p99, 50, found["p99_ms"], "ms", command)
    yield Row(kept, 0, 0 if found["good"] else 1, "(0 is none)", command)


def _votes(found: Any, command: str) -> Iterator[Row]:
    yield from _accepted(found, command, 3000, VOTES, P99, KEPT)
    yield Row(SHARE, 0.34, found["share"], "× prototype", command, "least")


def _postgres(found: Any, command: str) -> Iterator[Row]:
    yield from _accepted(found, command, 1500, POSTGRES, POSTGRES_P99, POSTGRES_KEPT)


def _arrival(found: Any, command: str) -> Iterator[Row]:
    yield Row(IN_TEMPO, 5, found["tempo_s"]["most"], "s", command)
    yield Row(IN_PROMETHEUS, 5, found["prometheus_s"]["most"], "s", command)
    yield Row(NEW_SERIES, 9, found["new_series_s"]["most"], "s", command)


def _evaluation(found: Any, command: str) -> Iterator[Row]:
    yield Row(EVALUATED, 0.6, found["pager_s"], "s", command)


LOSSES = {
    "full_speed": "spans lost, 20,000 calls at full speed on one core",
    "refusing_15s": "spans lost, Collector answers 503 for 15 s, 100 calls/s",
    "away_60s": "spans lost, Collector away for 60 s, 100 calls/s",
}
GROWN = "memory more after these 60 s, queue sent"
EXPORT_CPU = "CPU per span exported, against the SDK's batch processor"
HELD = "CPU of a span held by keep and promote, against a sampled one"
HELD_MB = "memory more with 32 MiB of held spans, ten times as many made"


def _export(found: Any, command: str) -> Iterator[Row]:
    for name, what in LOSSES.items():
        yield Row(what, 0, found[name]["missing"] + found[name]["stripped"], "(0 is none)", command)
    yield Row(GROWN, 33.6, found["away_60s"]["megabytes_after"], "MB", command)
    yield Row(EXPORT_CPU, 1.3, found["cpu"]["ratio"], "× SDK", command)


def _keep(found: Any, command: str) -> Iterator[Row]:
    yield Row(HELD, 1.2, found["ratio"], "× sampled", command)
    yield Row(HELD_MB, 48, found["more_mb"], "MB", command)


def _found_in(after: str) -> str:
    return f"10 → {float(after):.0%} at 100 ratings/h, a false alarm in 1,000 h: mean delay"


def _delays(found: Any, command: str) -> Iterator[Row]:
    for after, hours in SHIFTS.items():
        yield Row(_found_in(after), hours, found["delay_h"][after], "h", command)


BENCHMARKS = {
    "boot": Benchmark(("benchmarks/boot.py", "--json"), _boot, (PTH, BOOT)),
    "overhead": Benchmark(
        ("benchmarks/overhead/run.py", "--json"),
        _overhead,
        tuple(_what(call, content) for content in CONTENTS for call in CALLS),
    ),
    "export": Benchmark(
        ("benchmarks/export/run.py", "--json"), _export, (*LOSSES.values(), GROWN, EXPORT_CPU)
    ),
    "keep": Benchmark(("benchmarks/keep.py", "--json"), _keep, (HELD, HELD_MB)),
    "votes": Benchmark(("benchmarks/gateway/votes.py", "--json"), _votes, (VOTES, SHARE, P99, KEPT)),
    "postgres": Benchmark(("benchmarks/gateway/votes.py", "--postgres", "--json"), _postgres,
                          (POSTGRES, POSTGRES_P99, POSTGRES_KEPT)),
    "arrival": Benchmark(
        ("benchmarks/gateway/arrival.py", "--json"), _arrival, (IN_TEMPO, IN_PROMETHEUS, NEW_SERIES)
    ),
    "delays": Benchmark(("benchmarks/spc/delays.py", "--json"), _delays, tuple(map(_found_in, SHIFTS))),
    "evaluation": Benchmark(("benchmarks/spc/evaluation.py", "--json"), _evaluation, (EVALUATED,)),
}


def measure(name: str) -> list[Row]:
    """Run one benchmark.

    Raises:
        RuntimeError: if it prints no JSON.
    """
    benchmark = BENCHMARKS[name]
    print(f"measuring {name}: {benchmark.line}", file=sys.stderr)
    done = subprocess.run([sys.executable, *benchmark.command], cwd=ROOT, capture_output=True, text=True)
    try:
        found = json.loads(done.stdout)
    except json.JSONDecodeError:
        raise RuntimeError(f"{benchmark.line} printed no JSON:\n{done.stdout}\n{done.stderr}") from None
    return list(benchmark.rows(found, benchmark.line))


def _commit() -> str:
    done = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True)
    return done.stdout.strip() or "unknown"


def _machine() -> str:
    models = [line for line in _cpuinfo().splitlines() if line.startswith("model name")]
    name = models[0].partition(":")[2].strip() if models else platform.machine()
    return f"{name}, {os.cpu_count()} cores, {platform.system()}, CPython {platform.python_version()}"


def _cpuinfo() -> str:
    path = Path("/proc/cpuinfo")
    return path.read_text(encoding="utf-8") if path.exists() else ""


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.2f}"


def _line(row: Row) -> str:
    sign = "≤" if row.sense == "most" else "≥"
    verdict = "" if row.kept else " **missed**"
    limit, measured = f"{sign} {_number(row.limit)} {row.unit}", f"{_number(row.measured)} {row.unit}{verdict}"
    return f"| {row.what} | {limit} | {measured} | {_commit()} | `{row.command}` |"


def page(rows: list[Row], before: str = "") -> str:
    """The page as Markdown; rows of the page ``before`` that were not measured again stay."""
    made = {row.what: _line(row) for row in rows}
    old = {line.split(" | ")[0].removeprefix("| "): line for line in before.splitlines() if line.startswith("| ")}
    kept = [made.pop(what, line) for what, line in old.items() if what not in ("what", "---")]
    lines = [
        "# Benchmarks",
        "",
        "Written by `make bench`, which exits 1 if a limit is missed. Each row says at which commit it was measured.",
        "",
        f"Machine: {_machine()}.",
        "",
        "| what | limit | measured | commit | command |",
        "| --- | --- | --- | --- | --- |",
        *kept, *made.values(),
    ]
    return "\n".join(lines) + "\n"


def missing() -> list[str]:
    """Rows that should be on the page and are not."""
    text = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
    return [what for benchmark in BENCHMARKS.values() for what in benchmark.whats if f"| {what} |" not in text]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(BENCHMARKS), help="names, parted by commas")
    parser.add_argument("--check", action="store_true", help="only look whether every row is on the page")
    args = parser.parse_args()
    if args.check:
        for what in missing():
            print(f"{PAGE.name} lacks: {what}; run `make bench`")
        return int(bool(missing()))
    names = args.only.split(",")
    rows = [row for name in names for row in measure(name)]
    PAGE.write_text(page(rows, PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""), encoding="utf-8")
    print(page(rows))
    return int(not all(row.kept for row in rows))


if __name__ == "__main__":
    raise SystemExit(main())
