"""A WSGI application for gunicorn. It calls the model while it is loaded, which with `--preload` is before the fork."""

import json
import os
from urllib.parse import parse_qs

import openai

with openai.OpenAI() as first:  # closed before the fork: two processes must not write into one connection
    first.embeddings.create(model="embed-test", input="warm up")
client = openai.OpenAI()


def app(environ, start_response):
    question = parse_qs(environ["QUERY_STRING"])["question"][0]
    done = client.chat.completions.create(model="gpt-test", messages=[{"role": "user", "content": question}])
    body = json.dumps({"answer": done.choices[0].message.content, "pid": os.getpid()}).encode()
    start_response("200 OK", [("content-type", "application/json"), ("content-length", str(len(body)))])
    return [body]
