"""The application of `counting_app.py`, again and again until stdin is closed: its counters grow while it lives."""

import sys
import threading

import counting_app
import openai

import backspan


def main() -> None:
    over = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), over.set()), daemon=True).start()
    with openai.OpenAI(max_retries=0) as client:
        while not over.is_set():
            given = counting_app.answers(client)
            counting_app.failures(client)
            counting_app.judge(given)
            print("round", flush=True)
            over.wait(2)
    backspan.flush()


if __name__ == "__main__":
    main()
