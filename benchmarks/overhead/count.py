"""Instructions that a call costs, counted by ``valgrind --tool=callgrind``: they do not vary with the machine's mood.

    python benchmarks/overhead/count.py

The process starts without counting, warms up, and counts only while it makes calls.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parents[2])]
COUNTED = ("none", "floor", "backspan")
_TIMES = {"chat short": 60, "chat stream": 6}
_TOTAL = re.compile(r"^(?:summary|totals): (\d+)", re.MULTILINE)


def _control(pid: int, *arguments: str) -> None:
    subprocess.run(["callgrind_control", *arguments, str(pid)], check=True, capture_output=True, text=True)


def _instructions(name: str, content: str, folder: Path) -> dict[str, float]:
    from peers import worker

    grind = ("valgrind", "--tool=callgrind", "--instr-atstart=no", "--dump-instr=no", "-q",
             f"--callgrind-out-file={folder / 'out'}")
    found: dict[str, float] = {}
    with worker(name, content, before=grind) as one:
        for call, times in _TIMES.items():
            one.ask(run=call, times=times)
            one.ask(collect=True)  # not while it counts: a collection costs by the size of all that was imported
            _control(one.pid, "--instr=on")
            _control(one.pid, "--zero")
            one.ask(run=call, times=times)
            _control(one.pid, "--dump")
            _control(one.pid, "--instr=off")
            newest = max(folder.iterdir(), key=lambda path: (path.stat().st_mtime_ns, path.name))
            found[call] = int(_TOTAL.findall(newest.read_text(encoding="utf-8"))[-1]) / times
    return found


def counted() -> dict[str, dict[str, dict[str, float]]]:
    """Instructions added to a call (and, by difference, to a chunk) by content and side; empty without valgrind."""
    from model import CHUNKS
    from peers import OFF, ON

    if shutil.which("valgrind") is None:
        return {}
    found: dict[str, dict[str, dict[str, float]]] = {}
    for content in (OFF, ON):
        with tempfile.TemporaryDirectory() as folder:
            spent = {name: _instructions(name, content, _fresh(Path(folder), name)) for name in COUNTED}
        found[content] = {}
        for name in COUNTED[1:]:
            short, stream = (spent[name][call] - spent["none"][call] for call in _TIMES)
            found[content][name] = {"chat short": short, "per chunk": (stream - short) / CHUNKS}
    return found


def _fresh(folder: Path, name: str) -> Path:
    (folder / name).mkdir()
    return folder / name


if __name__ == "__main__":
    print(json.dumps(counted(), indent=1))
