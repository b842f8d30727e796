"""How long a vote takes to where people look: seconds from the gateway's 201 to Prometheus, and to Tempo by its id.

    python benchmarks/gateway/arrival.py [--votes 30] [--json]

Runs `backspan stack up` with the shipped configuration and posts one vote after the other, at moments that have
nothing to do with the programs' clocks. Half of the votes are the first of their kind: their series is shown as 0 in
two scrapes before it counts them, so that Prometheus sees it grow (docs/explanation/feedback.md).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

PATIENCE_S = 60.0
LOOK_S = 0.05
_OPEN = urllib.request.build_opener(urllib.request.ProxyHandler({}))
_CHANCE = random.Random(1)


@contextmanager
def stack() -> Generator[dict[str, int]]:
    """The ports of a stack that runs for the block."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["BACKSPAN_DATA_DIR"] = folder
        command = [sys.executable, "-m", "backspan", "stack"]
        up = subprocess.run([*command, "up", "--detach", "--json", "--ports=auto"], stdout=subprocess.PIPE, check=True)
        try:
            yield json.loads(up.stdout)["ports"]
        finally:
            subprocess.run([*command, "down"], check=True, capture_output=True)


def fetch(url: str, body: object = None) -> Any:
    """JSON of an answer; None for what is not there."""
    sent = None if body is None else json.dumps(body).encode()
    try:
        with _OPEN.open(urllib.request.Request(url, sent, {"Content-Type": "application/json"}), timeout=10) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        if error.code == 404:
            return None
        raise


def token(cohort: str) -> str:
    """A token for one more answer of a cohort."""
    from backspan import semconv
    from backspan.context import Target
    from backspan.feedback.token import mint

    dims = {semconv.SERVICE_NAME: "bench", semconv.PROMPT_NAME: "bench", semconv.PROMPT_VERSION: cohort}
    target = Target(f"{_CHANCE.getrandbits(128):032x}", f"{_CHANCE.getrandbits(64):016x}", 1, dims=dims, at=time.time())
    made = mint(target, rater=f"{_CHANCE.getrandbits(64):016x}")
    assert made is not None
    return made


def seen(looks: dict[str, Callable[[], bool]]) -> dict[str, float]:
    """Seconds from now until each look is true."""
    began, found = time.monotonic(), dict[str, float]()
    while len(found) < len(looks):
        for name, look in looks.items():
            if name not in found and look():
                found[name] = time.monotonic() - began
        if time.monotonic() - began > PATIENCE_S:
            raise SystemExit(f"not within {PATIENCE_S:.0f} s: {sorted(set(looks) - set(found))}")
        time.sleep(LOOK_S)
    return found


def vote(ports: dict[str, int], cohort: str, number: int) -> dict[str, float]:
    """Cast the ``number``-th vote of a cohort and wait until Prometheus and Tempo show it."""
    receipt = fetch(f"http://127.0.0.1:{ports['gateway']}/v1/feedback", {"token": token(cohort), "thumbs": True})
    trace_id = hashlib.sha256(f"{receipt['id']}:{receipt['version']}".encode()).hexdigest()[:32]
    first_thumbs_up = f'name="user_thumbs",op="add",polarity="positive",gen_ai_prompt_version="{cohort}"'
    query = urllib.parse.urlencode({"query": f"sum(backspan_feedback_total{{{first_thumbs_up}}}) == {number}"})

    def in_prometheus() -> bool:
        return bool(fetch(f"http://127.0.0.1:{ports['prometheus']}/api/v1/query?{query}")["data"]["result"])

    def in_tempo() -> bool:
        found = fetch(f"http://127.0.0.1:{ports['tempo']}/api/v2/traces/{trace_id}") or {}
        return bool(found.get("trace", {}).get("resourceSpans"))

    return seen({"prometheus": in_prometheus, "tempo": in_tempo})


def measure(votes: int) -> dict[str, Any]:
    with stack() as ports:
        first, later = list[dict[str, float]](), list[dict[str, float]]()
        for number in range(votes):
            cohort = f"v{number}"
            for found, count in ((first, 1), (later, 2)):
                time.sleep(_CHANCE.uniform(0, 2))
                found.append(vote(ports, cohort, count))
    tempo = [one["tempo"] for one in first + later]
    return {"votes": votes, "prometheus_s": _spread([one["prometheus"] for one in later]),
            "new_series_s": _spread([one["prometheus"] for one in first]), "tempo_s": _spread(tempo)}


def _spread(seconds: list[float]) -> dict[str, float]:
    return {"median": round(statistics.median(seconds), 2), "most": round(max(seconds), 2)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--votes", type=int, default=30, help="of each kind (%(default)s)")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    found = measure(args.votes)
    if args.json:
        print(json.dumps(found))
        return 0
    print(f"{args.votes} votes of each kind")
    for said, name in (("prometheus_s", "Prometheus"), ("new_series_s", "  a new series"), ("tempo_s", "Tempo, by id")):
        print(f"{name:<24} median {found[said]['median']:5.2f} s   longest {found[said]['most']:5.2f} s")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
