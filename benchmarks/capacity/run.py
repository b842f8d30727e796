"""What a million calls and a million votes cost the back end, and what gives way first when there are more a second.

    python benchmarks/capacity/run.py [--calls 30000] [--votes 8000]    measure (about ten minutes), write both files
    python benchmarks/capacity/run.py --json                             the same, printed only
    python benchmarks/capacity/run.py --ramps                            only the ramps again; the rest is kept
    python benchmarks/capacity/run.py --page                             write the page from capacity.json
    python benchmarks/capacity/run.py --check                            exit 1 if the page is not what the file says

Starts a stack of its own on free ports of loopback, in a folder that it deletes. Needs `make stack` and the extras;
--page and --check need nothing but Python. Run it on a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
from benchmarks.capacity import page  # noqa: E402

RESULT = Path(__file__).with_name("capacity.json")
PAGE = ROOT / "docs" / "explanation" / "capacity.md"
EVALUATION = {
    "cohorts": 1000, "pager_s": 1.8, "group_s": 3.0, "rss": 380_000_000, "series": 82_748, "interval_s": 15,
    "machine": "2 cores at 2.5 GHz",
}
"""Of one learnt chart, printed by benchmarks/spc/evaluation.py: not measured again here."""
ALONE_S, WAIT_S, WAITING_VOTES = 8.0, 10.0, 3000


def measure(stack: Any, calls: int, votes: int) -> dict[str, Any]:
    """All figures of one running stack."""
    from benchmarks.capacity import measure as parts
    from benchmarks.capacity.load import Content

    content, say = Content(1), _say
    idle = say("idle", lambda: parts.Idle(parts.Meters(stack)))
    found: dict[str, Any] = {"idle_cpu": idle.rates, "others": idle.others}
    found["calls"] = say("calls", lambda: parts.calls(stack, idle, content, calls))
    found["votes"] = say("votes", lambda: parts.votes(stack, idle, content, votes))
    found["version"] = say("prompt versions", lambda: parts.versions(stack))
    found |= ramp(stack, content, votes)
    found["alone_others"] = found["ramp_others"]
    found["prometheus"] = parts.prometheus(stack, idle.rates["prometheus"])
    found["alone"] = say("each part alone", lambda: parts.alone(stack, content, ALONE_S))
    before = parts.peaks(stack)
    found["waiting_votes"] = say("votes wait", lambda: parts.waiting_votes(stack, content, WAITING_VOTES))
    found["waiting_calls"] = say("calls wait", lambda: parts.waiting_calls(stack, content, WAIT_S))
    found["peak"] = {name: max(most, before[name]) for name, most in parts.peaks(stack).items()}
    return found


def ramp(stack: Any, content: Any, voted: int) -> dict[str, Any]:
    """The steps of both ramps, after a pause. ``voted`` of the calls in ``content`` have votes already."""
    from benchmarks.capacity import measure as parts
    from benchmarks.capacity import ramps

    pause = _say("idle, with series", lambda: parts.Idle(parts.Meters(stack)))
    return {
        "counted_cpu": pause.rates, "ramp_others": pause.others,
        "ramp_votes": _say("ramp of votes", lambda: ramps.votes(stack, _rest(content, voted))),
        "ramp_calls": _say("ramp of calls", lambda: ramps.calls(stack, content)),
    }


def ramp_again(stack: Any, calls: int) -> dict[str, Any]:
    """What capacity.json says, with the ramps measured anew after so many calls."""
    from benchmarks.capacity import measure as parts
    from benchmarks.capacity.load import Content

    found, content = json.loads(RESULT.read_text(encoding="utf-8")), Content(1)
    parts.calls(stack, parts.Idle(parts.Meters(stack), 0.1), content, calls)
    return {**found, **ramp(stack, content, 0), "counted_cpu": found["counted_cpu"]}


def _rest(content: Any, used: int) -> Any:
    """Calls that nobody has voted on."""
    content.ids = content.ids[used:]
    return content


def _say(what: str, work: Callable[[], Any]) -> Any:
    print(f"{what} ...", file=sys.stderr, flush=True)
    found = work()
    print(f"  {found}" if isinstance(found, dict | list) else "  done", file=sys.stderr, flush=True)
    return found


def run(work: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
    """Start a stack, measure, end it."""
    from backspan.cli._stack.run import load

    with tempfile.TemporaryDirectory() as folder:
        os.environ["BACKSPAN_DATA_DIR"] = f"{folder}/data"
        _stack("up", "--detach", "--ports=auto", f"--dir={folder}/home")
        try:
            stack = load(Path(folder) / "home")
            assert stack is not None
            found = work(stack)
        finally:
            _stack("down", f"--dir={folder}/home")
    return {"machine": _machine(), **found, "evaluation": EVALUATION, "charts": _charts()}


def _stack(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "backspan", "stack", *arguments], check=True, timeout=300,
                   stdout=subprocess.DEVNULL)


def _machine() -> str:
    from benchmarks import run as benchmarks

    return benchmarks._machine()


def _charts() -> int:
    """Charts of the shipped spec that learn their baseline: each has a group of rules."""
    from backspan.rules.spec import default_path, load

    return sum(bool(chart.baseline.learnt) for chart in load(default_path()).charts if hasattr(chart, "baseline"))


def _rounded(value: Any) -> Any:
    """Four significant digits are more than one run is worth."""
    if isinstance(value, float):
        return float(f"{value:.4g}")
    if isinstance(value, dict):
        return {key: _rounded(one) for key, one in value.items()}
    return [_rounded(one) for one in value] if isinstance(value, list) else value


def check() -> int:
    """0 if the page is what the result says."""
    text = page.render(json.loads(RESULT.read_text(encoding="utf-8")))
    if PAGE.is_file() and PAGE.read_text(encoding="utf-8") == text:
        return 0
    print(f"{PAGE.name} is not what {RESULT.name} says; run `python benchmarks/capacity/run.py --page`")
    return 1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=30_000)
    parser.add_argument("--votes", type=int, default=8_000)
    parser.add_argument("--json", action="store_true", help="print, write nothing")
    parser.add_argument("--ramps", action="store_true", help="measure only the ramps again, and keep the rest")
    parser.add_argument("--page", action="store_true", help="measure nothing; write the page from capacity.json")
    parser.add_argument("--check", action="store_true", help="measure nothing; compare the page with capacity.json")
    args = parser.parse_args()
    if args.check:
        return check()
    if not args.page:
        all_of_it = partial(measure, calls=args.calls, votes=args.votes)
        found = run(partial(ramp_again, calls=args.calls) if args.ramps else all_of_it)
        text = json.dumps(_rounded(found), indent=1) + "\n"
        if args.json:
            print(text, end="")
            return 0
        RESULT.write_text(text, encoding="utf-8")
    PAGE.write_text(page.render(json.loads(RESULT.read_text(encoding="utf-8"))), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
