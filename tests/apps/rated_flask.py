"""A Flask application with every kind of answer, and another one mounted in it."""

import openai
from flask import Flask, Response, stream_with_context
from werkzeug.middleware.dispatcher import DispatcherMiddleware

client = openai.OpenAI()
app, sub = Flask("rated"), Flask("sub")


def ask(question: str) -> str:
    told = [{"role": "user", "content": question}]
    return client.chat.completions.create(model="gpt-test", messages=told).choices[0].message.content or ""


@app.get("/ask")
@sub.get("/ask")
def plain() -> dict[str, str]:
    return {"answer": ask("Hi")}


@app.get("/await")
async def awaited() -> dict[str, str]:
    async with openai.AsyncOpenAI() as patient:
        done = await patient.chat.completions.create(model="gpt-test", messages=[{"role": "user", "content": "Hi"}])
    return {"answer": done.choices[0].message.content or ""}


@app.get("/twice")
def twice() -> dict[str, list[str]]:
    return {"answers": [ask("one"), ask("two")]}


def _parts(form: str):
    told = [{"role": "user", "content": "Hi"}]
    for chunk in client.chat.completions.create(model="gpt-test", messages=told, stream=True):
        if chunk.choices:
            yield form.format(chunk.choices[0].delta.content or "")


@app.get("/stream")
def streamed() -> Response:
    return Response(_parts("{}"), mimetype="text/plain")


@app.get("/events")
def events() -> Response:
    return Response(stream_with_context(_parts("data: {}\n\n")), mimetype="text/event-stream")


@app.get("/none")
def none() -> str:
    return "no model here"


@app.get("/export")
def export() -> Response:
    return Response(iter(["a,b\n", "1,2\n"]), mimetype="text/csv")


@app.get("/cached")
def cached() -> tuple[dict[str, str], dict[str, str]]:
    return {"answer": ask("Hi")}, {"Cache-Control": "public, max-age=60"}


@app.get("/refused")
def refused() -> tuple[dict[str, str], int]:
    return {"answer": ask("Hi")}, 403


@app.get("/broken")
def broken() -> None:
    ask("Hi")
    raise RuntimeError("broken on purpose")


app.wsgi_app = DispatcherMiddleware(app.wsgi_app, {"/sub": sub})
