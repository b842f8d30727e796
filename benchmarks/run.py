"""Measure every number that we promise, and write `docs/benchmarks.md`.

    python benchmarks/run.py            measure all, write the page, exit 1 on a miss
    python benchmarks/run.py --only boot,votes
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


def _votes(found: Any, command: str) -> Iterator[Row]:
    yield Row(VOTES, 3000, found["per_second"], "/s", command, "least")
    yield Row(P99, 50, found["p99_ms"], "ms", command)
    yield Row(KEPT, 0, 0 if found["good"] else 1, "(0 is none)", command)


BENCHMARKS = {
    "boot": Benchmark(("benchmarks/boot.py", "--json"), _boot, (PTH, BOOT)),
    "overhead": Benchmark(
        ("benchmarks/overhead/run.py", "--json"),
        _overhead,
        tuple(_what(call, content) for content in CONTENTS for call in CALLS),
    ),
    "votes": Benchmark(("benchmarks/gateway/votes.py", "--json"), _votes, (VOTES, P99, KEPT)),
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
    return f"| {row.what} | {limit} | {measured} | `{row.command}` |"


def page(rows: list[Row]) -> str:
    """The page as Markdown."""
    lines = [
        "# Benchmarks",
        "",
        "Written by `make bench`, which exits 1 if a limit is missed.",
        "",
        f"Machine: {_machine()}. Commit: {_commit()}.",
        "",
        "| what | limit | measured | command |",
        "| --- | --- | --- | --- |",
        *(_line(row) for row in rows),
    ]
    return "\n".join(lines) + "\n"


def missing() -> list[str]:
    """Rows that should be on the page and are not."""
    text = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
    return [what for benchmark in BENCHMARKS.values() for what in benchmark.whats if f"| {what} |" not in text]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(BENCHMARKS), help="names, parted by commas; nothing is written")
    parser.add_argument("--check", action="store_true", help="only look whether every row is on the page")
    args = parser.parse_args()
    if args.check:
        for what in missing():
            print(f"{PAGE.name} lacks: {what}; run `make bench`")
        return int(bool(missing()))
    names = args.only.split(",")
    rows = [row for name in names for row in measure(name)]
    print(page(rows))
    if names == list(BENCHMARKS):
        PAGE.write_text(page(rows), encoding="utf-8")
    return int(not all(row.kept for row in rows))


if __name__ == "__main__":
    raise SystemExit(main())
