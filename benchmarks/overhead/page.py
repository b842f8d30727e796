"""The page on overhead, from what `peers.py` measured."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

_HEAD = """# What instrumentation costs

Written by `python benchmarks/overhead/peers.py`; `make check` looks that it is what
`benchmarks/overhead/peers.json` says. Machine: {machine}. Versions: {versions}.

Microseconds of CPU, of all threads, that each adds to a call: the median over {rounds} rounds of its difference to
the same call without instrumentation beside it. The model answers inside the process, so nothing waits. The floor
is a yardstick: the least work that leaves one span with twenty attributes and two metrics. *First chunk* is a
stream that is closed after its first chunk; a stream has 200 chunks. Logfire and Langfuse have no switch for
content. **Bold** is the least of a row, the floor aside. What is less than about two hundredths of the call itself is
noise, and may be negative: for streams that is several hundred microseconds. {note}
"""
_SENT = {"dropped": "spans dropped", "sent": "spans sent by OTLP/HTTP"}


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> list[str]:
    head = [*head]
    return [f"| {' | '.join(head)} |", f"| --- |{' ---: |' * (len(head) - 1)}",
            *(f"| {' | '.join(row)} |" for row in rows)]


def _cells(values: Mapping[str, float], names: Iterable[str]) -> list[str]:
    rivals = {name: value for name, value in values.items() if name not in ("none", "floor")}
    least = min(rivals, key=lambda name: rivals[name])
    texts = {name: f"{value:,.0f}" if abs(value) >= 20 else f"{value:.1f}" for name, value in values.items()}
    return [f"**{texts[name]}**" if name == least else texts[name] for name in names]


def _per_chunk(added: Mapping[str, Mapping[str, float]], chunks: int = 200) -> dict[str, float]:
    return {name: (stream - added["chat short"][name]) / chunks for name, stream in added["chat stream"].items()}


def _mode(mode: Mapping[str, Any]) -> list[str]:
    added: dict[str, dict[str, float]] = dict(mode["added"])
    names = [name for name in added["chat short"] if name != "none"]
    rows = [[f"{call} ({mode['base'][call]:,.0f} without)", *_cells(values, names)] for call, values in added.items()]
    rows.append(["per chunk", *_cells(_per_chunk(added), names)])
    if mode["bytes"]:
        rows.append(["bytes sent, chat short", *_cells({n: b for n, b in mode["bytes"].items() if n != "none"}, names)])
    return ["", f"## Content {mode['content']}, {_SENT[mode['export']]}", "", *_table(["", *names], rows)]


def _processes(found: Mapping[str, Mapping[str, float]]) -> list[str]:
    names = [name for name in found if name != "none"]
    rows = [[title, *_cells({name: found[name][key] for name in names}, names)] for title, key in (
        ("start-up, ms of CPU more", "start_ms"), ("memory after 2,000 calls, MB more", "rss_mb"))]
    return ["", "## A process", "", *_table(["", *names], rows)]


def _instructions(found: Mapping[str, Mapping[str, Mapping[str, float]]]) -> list[str]:
    if not found:
        return []
    rows = [[f"{call}, content {content}", f"{floor:,.0f}", f"{ours:,.0f}", f"{ours / floor:.2f}"]
            for content, spent in found.items()
            for call, floor, ours in ((call, spent["floor"][call], spent["backspan"][call]) for call in spent["floor"])]
    said = ("Counted by valgrind's callgrind, which no other work on the machine disturbs; spans dropped. *Per chunk* "
            "is all that a stream costs more than a short call, its begin and end too, by its chunks.")
    return ["", "## Instructions added", "", said, "", *_table(["", "floor", "backspan", "ratio"], rows)]


def text(found: Mapping[str, Any]) -> str:
    """The page as Markdown."""
    versions = ", ".join(f"{name} {version}" for name, version in found["versions"].items())
    lines = [_HEAD.format(machine=found["machine"], versions=versions, rounds=found["rounds"],
                          note=found.get("note", "")).rstrip()]
    for mode in found["modes"]:
        lines += _mode(mode)
    return "\n".join([*lines, *_processes(found["processes"]), *_instructions(found["instructions"])]) + "\n"
