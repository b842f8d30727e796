"""Asks once, says that it is ready, and waits until somebody ends it; the argument says how it looks at SIGTERM."""

import os
import signal
import sys
import threading

import openai

# A pipe, not an event: a handler that runs while `Event.wait` holds the event's lock could not set it. And the pipe is
# told of signals by C, at once: Python's handler would wait for a read that began just after the signal came.
stopped, stop = os.pipe()
os.set_blocking(stop, False)
signal.set_wakeup_fd(stop)


def ask() -> None:
    with openai.OpenAI() as client:
        client.chat.completions.create(model="gpt-test", messages=[{"role": "user", "content": "Are you there?"}])


def leave(*_signal: object) -> None:
    print("handled", flush=True)
    os.write(stop, b".")


def chain(number: int, frame: object) -> None:
    leave()
    if callable(before):
        before(number, frame)


def in_a_child() -> None:
    child = os.fork()
    if child == 0:
        ask()
        print("ready", flush=True)
        os.read(stopped, 1)
    os.kill(child, signal.SIGTERM) if sys.stdin.readline() else None
    print("child:", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


how = sys.argv[1]
if how == "before":
    signal.signal(signal.SIGTERM, leave)
if how == "thread":
    thread = threading.Thread(target=ask)
    thread.start()
    thread.join()
else:
    ask()
before = signal.getsignal(signal.SIGTERM)
if how == "after":
    signal.signal(signal.SIGTERM, leave)
if how == "chain":
    signal.signal(signal.SIGTERM, chain)
if how == "ignore":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
if how == "fork":
    in_a_child()
    sys.exit(5)
print("ready", flush=True)
if how == "ignore":
    sys.stdin.readline()
    os.write(stop, b".")
os.read(stopped, 1)
sys.exit(4)
