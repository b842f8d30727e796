"""`backspan demo`: a regression of a chat application, from the first call to the alarm, in one command."""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from backspan.cli import print_json
from backspan.cli._demo import cast, report, screen
from backspan.cli._demo.cast import Cast
from backspan.cli._demo.children import ChildFailed, Children
from backspan.cli._demo.story import Story, Unexpected, tell

NAME = "demo"
HELP = "show a quality regression and its alarm, end to end, on this machine"

FINE, UNINTENDED, FAULT, INTERRUPTED = 0, 1, 2, 130


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("--seed", type=int, default=7, help="another seed gives other users and answers (default 7)")
    parser.add_argument("--no-regression", action="store_true", help="keep the good prompt: nothing may alarm")
    parser.add_argument("--keep", action="store_true", help="leave everything up until Ctrl-C, and say where it is")
    parser.add_argument("--json", action="store_true", help="print the outcome as JSON")


def run(args: argparse.Namespace) -> int:
    """Run the demo. Returns 0 when it went as intended, 1 when not, 2 on a fault, 130 when interrupted."""
    needed = cast.missing()
    if needed is not None:
        print(f"backspan demo needs more packages:\n  {needed}", file=sys.stderr)
        return FAULT
    try:
        with _ended_by_signals(), tempfile.TemporaryDirectory(prefix="backspan-demo-") as folder:
            return _run(args, Path(folder))
    except KeyboardInterrupt:
        print("\nbackspan demo: interrupted; everything it started has been stopped", file=sys.stderr)
        return INTERRUPTED
    except (ChildFailed, Unexpected, RuntimeError, OSError) as error:
        print(f"\nbackspan demo: {error}", file=sys.stderr)
        return FAULT


def _run(args: argparse.Namespace, folder: Path) -> int:
    progress = screen.Progress()
    with Children(folder) as children:
        began = time.monotonic()
        progress.say("backspan demo: a support chat, its users, and a prompt that makes it worse", "bold")
        progress.say("  model and users are simulated; HTTP, spans, votes and the detector are real", "dim")
        players = cast.start(children, folder, args.seed)
        progress.say(f"  backspan up, model server and application are ready ({time.monotonic() - began:.1f} s)")
        try:
            story = tell(players, children, args.seed, not args.no_regression, progress)
        except (RuntimeError, OSError):
            children.check()  # a dead child explains a failed request better than the request does
            raise
        progress.say(f"  done in {story.seconds:.1f} s")
        _show(args, story, players)
        if args.keep:
            _hold(children)
    return FINE if report.intended(story, not args.no_regression) else UNINTENDED


def _show(args: argparse.Namespace, story: Story, players: Cast) -> None:
    regress, paint = not args.no_regression, screen.Paint(screen.wants_colour(sys.stdout))
    if args.json:
        print_json(report.as_json(story, regress, players if args.keep else None))
        sys.stdout.flush()
        return
    print(report.as_text(story, regress, screen.terminal_width(), paint))
    print(report.kept(players, paint) if args.keep else report.next_steps(paint), flush=True)


def _hold(children: Children) -> None:
    """Wait for Ctrl-C, and watch the children meanwhile."""
    try:
        while True:
            children.check()
            time.sleep(0.5)
    except KeyboardInterrupt:
        print("\nbackspan demo: stopped", file=sys.stderr)


@contextmanager
def _ended_by_signals() -> Generator[None, None, None]:
    """Let SIGTERM and SIGHUP end the demo as Ctrl-C does, so that no child is left behind."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    numbers = (signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, interrupt) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
