"""A process with one side installed; measures what it is told to, a line of JSON each way.

    {"run": "chat short", "times": 40, "flush": true}  ->  {"process": us, "thread": us} of CPU for each call
    {"collect": true}                                  ->  {}: the garbage is collected, which "run" does not
    {"rss": true}                                      ->  {"rss": bytes}
"""

from __future__ import annotations

import gc
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).resolve().parent)]


def _exporter(endpoint: str) -> Any:
    if not endpoint:
        return None
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    return OTLPSpanExporter(endpoint=f"{endpoint}/v1/traces")


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text("ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _measured(call: Any, times: int, flush: Any) -> dict[str, float]:
    """CPU of the whole process (its exporting thread too) and of this thread; the garbage collector does not run."""
    gc.disable()
    process, thread = time.process_time(), time.thread_time()
    for _ in range(times):
        call()
    thread = time.thread_time() - thread
    if flush is not None:
        flush()
    process = time.process_time() - process
    gc.enable()
    return {"process": process / times * 1e6, "thread": thread / times * 1e6}


def main() -> None:
    """Install, say ready, serve until the end of input."""
    from sides import SIDES

    name, endpoint = sys.argv[1:]
    import openai  # noqa: F401 -- start-up is what a side adds to an application of openai's

    flush = SIDES[name].install(_exporter(endpoint))
    started = time.process_time()  # since the process began: some sides work before the first line of an application
    from model import calls, client

    work = calls(client())
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # a side that prints must not end up in our answers
    print(json.dumps({"pid": os.getpid(), "start": started * 1e6}), file=out, flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        if "run" in asked:
            answer = _measured(work[asked["run"]], asked["times"], flush if asked.get("flush") else None)
        elif "collect" in asked:
            gc.collect()
            answer = {}
        else:
            answer = {"rss": _resident()}
        print(json.dumps(answer), file=out, flush=True)


if __name__ == "__main__":
    main()
