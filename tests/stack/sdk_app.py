"""An application that judges its own answers: asks, votes when a line comes in on stdin, and asks again."""

import sys

import openai

import backspan


def ask(client: openai.OpenAI) -> object:
    return client.chat.completions.create(model="gpt-test", messages=[{"role": "user", "content": "Hello?"}])


with openai.OpenAI() as client:
    answer = ask(client)
    print(answer.id, flush=True)
    sys.stdin.readline()
    print(backspan.record_feedback(answer, thumbs="down", rater="one").status, flush=True)
    ask(client)
    sys.stdin.readline()
