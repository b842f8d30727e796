"""The whole example in one command: model server, chat application and users, and prompts that come and go.

    python simulate.py --visits 300                                       # against `backspan up`
    python simulate.py --visits 300 --feedback http://127.0.0.1:8318      # against `backspan stack up`

The prompt v1 is good; v2 is tried on a fifth of the sessions, then released to all, and is bad; v3 repairs it. That
is one cycle, spread over `--visits`; with `--forever` the next one begins where the last one ended. The same seed and
number of visits give the same questions, answers and votes. Everything ends with this command.
"""

import argparse
import contextlib
import itertools
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path

import users

HERE = Path(__file__).parent
STORY = ((0.45, "v1"), (0.15, "v1 v2 20"), (0.2, "v2"), (0.2, "v3"))  # share of the visits, content of the live file
ROUND = 25  # visits between two looks at the clock
START_S, STOP_S = 120, 10
NO_PROXY = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def releases(count: int) -> Iterator[tuple[int, int, str]]:
    """(first visit, number of visits, content of the live file) of each stretch of one cycle."""
    first = 0
    for share, live in STORY:
        last = count if live == STORY[-1][1] else first + round(share * count)
        yield first, last - first, live
        first = last


def rounds(count: int, forever: bool) -> Iterator[tuple[int, int, str]]:
    """The stretches of one cycle, or of endless ones, in pieces of at most `ROUND` visits."""
    for cycle in itertools.count() if forever else range(1):
        for first, length, live in releases(count):
            for done in range(0, length, ROUND):
                yield cycle * count + first + done, min(ROUND, length - done), live


def release(live: Path, said: str) -> None:
    """Put a prompt into use; the application reads the file for every request."""
    draft = live.with_suffix(".new")
    draft.write_text(said + "\n", encoding="utf-8")
    draft.replace(live)


def environment(args: argparse.Namespace, model: str, live: Path) -> dict[str, str]:
    """What the application is told. What is set already, such as a service name, stays."""
    here = {"no_proxy": "127.0.0.1", "NO_PROXY": "127.0.0.1"}
    defaults = {
        "BACKSPAN": "content",
        "OTEL_SERVICE_NAME": "rag-chat",
        "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=example",
        "OTEL_METRIC_EXPORT_INTERVAL": "5000",
        "RAG_CHAT_MEMBER_MODEL": "sim-large-1",
        "RAG_CHAT_INDEXES": "fjordline-v1,fjordline-v1,fjordline-v1,fjordline-v2",  # the second finds less
        "RAG_CHAT_MIN_SCORE": "0.15",
        "RAG_CHAT_EVALUATE": "1",
        "RAG_CHAT_FEEDBACK": args.feedback,
    }
    decided = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": args.otlp,
        "OPENAI_BASE_URL": f"{model}/v1",
        "OPENAI_API_KEY": "none-needed",
        "RAG_CHAT_LIVE_PROMPT": str(live),
    }
    return {**defaults, **here, **os.environ, **decided}


@contextlib.contextmanager
def running(name: str, url: str, command: Sequence[str], env: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """A process for the block, ready when it answers at /healthz; it writes to our stderr."""
    process = subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL, stdout=sys.stderr, start_new_session=True)
    try:
        wait_ready(name, url, process)
        yield process
    finally:
        process.terminate()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_ready(name: str, url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            sys.exit(f"simulate.py: the {name} ended with {process.returncode} while starting")
        try:
            with NO_PROXY.open(f"{url}/healthz", timeout=2):
                return
        except OSError:
            time.sleep(0.1)
    sys.exit(f"simulate.py: the {name} did not answer at {url} within {START_S} s")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def play(args: argparse.Namespace, app: str, live: Path) -> users.Tally:
    """Let the users come. `--rate` bounds how many a second; a server that is away for a while is waited for."""
    tally, said, began, done = users.Tally(), "", time.monotonic(), 0
    for first, count, wanted in rounds(args.visits, args.forever):
        if wanted != said:
            release(live, wanted)
            said = wanted
            print(f"visit {first}: the prompt in use is now {said}", file=sys.stderr, flush=True)
        visit(args, app, first, count, tally)
        done += count
        if args.rate:
            time.sleep(max(0.0, began + done / args.rate - time.monotonic()))
    return tally


def visit(args: argparse.Namespace, app: str, first: int, count: int, tally: users.Tally) -> None:
    try:
        for answered in users.run(app, args.feedback, first, count, args.seed, args.workers, expressive=True):
            tally.add(answered)
    except (OSError, RuntimeError) as error:
        if not args.forever:
            raise
        print(f"visits {first} to {first + count - 1} were cut short: {error}", file=sys.stderr, flush=True)
        time.sleep(2)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="The example application with simulated users and no other model.")
    parser.add_argument("--otlp", default="http://127.0.0.1:4318", help="where spans and metrics go (%(default)s)")
    parser.add_argument("--feedback", help="where votes go: `up` or the gateway (default: as --otlp)")
    parser.add_argument("--visits", type=int, default=600, help="visits of one cycle (%(default)s)")
    parser.add_argument("--forever", action="store_true", help="begin again after each cycle, until stopped")
    parser.add_argument("--rate", type=float, default=0.0, help="visits a second (default: as many as can be)")
    parser.add_argument("--workers", type=int, default=6, help="users at a time (%(default)s)")
    parser.add_argument("--pace", type=float, default=0.0, help="seconds that half of the answers take (%(default)s)")
    parser.add_argument("--failures", type=float, default=0.01, help="share of answers that fail (%(default)s)")
    parser.add_argument("--seed", type=int, default=7, help="another seed gives other users and answers (%(default)s)")
    parser.add_argument("--host", default="127.0.0.1", help="address of the application (%(default)s)")
    parser.add_argument("--port", type=int, default=0, help="port of the application (default: any free one)")
    args = parser.parse_args()
    args.feedback = args.feedback or args.otlp
    return args


def tell(args: argparse.Namespace, folder: Path) -> users.Tally:
    live, ports = folder / "live", (free_port(), args.port or free_port())
    release(live, STORY[0][1])
    model, app = (f"http://127.0.0.1:{port}" for port in ports)
    env = environment(args, model, live)
    served = [sys.executable, str(HERE / "model_server.py"), f"--port={ports[0]}", f"--seed={args.seed}",
              f"--pace={args.pace}", f"--failures={args.failures}"]  # fmt: skip
    chat = [sys.executable, str(HERE / "app.py"), f"--port={ports[1]}", f"--host={args.host}"]
    with running("model server", model, served, {**env, "BACKSPAN": "0"}), running("application", app, chat, env):
        print(f"the application is at {app}", file=sys.stderr, flush=True)
        return play(args, app, live)


def main() -> None:
    args = arguments()
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(0))  # unwinds, so that no process is left behind
    with contextlib.suppress(KeyboardInterrupt), tempfile.TemporaryDirectory(prefix="rag-chat-") as folder:
        tally = tell(args, Path(folder))
        share = 100 * tally.down / tally.ratings if tally.ratings else 0
        print(f"{tally.answers} answers, {tally.ratings} rated, {share:.1f} % thumbs down, "
              f"prompts {', '.join(sorted(tally.versions))}")  # fmt: skip


if __name__ == "__main__":
    main()
