"""A FastAPI application with every kind of answer, and one of Starlette mounted in it."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import openai
from fastapi import BackgroundTasks, FastAPI
from fastapi.responses import JSONResponse, PlainTextResponse, StreamingResponse
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.routing import Mount, Route

client, patient = openai.OpenAI(), openai.AsyncOpenAI()
app = FastAPI()


def ask(question: str) -> str:
    told = [{"role": "user", "content": question}]
    return client.chat.completions.create(model="gpt-test", messages=told).choices[0].message.content or ""


async def patiently(question: str) -> str:
    told = [{"role": "user", "content": question}]
    done = await patient.chat.completions.create(model="gpt-test", messages=told)
    return done.choices[0].message.content or ""


@app.get("/ask")
def plain(question: str = "Hi") -> dict[str, str]:
    return {"answer": ask(question)}


@app.get("/await")
async def awaited(question: str = "Hi") -> dict[str, str]:
    return {"answer": await patiently(question)}


@app.get("/twice")
async def twice() -> dict[str, list[str]]:
    return {"answers": await asyncio.gather(patiently("one"), patiently("two"), asyncio.to_thread(ask, "three"))}


@app.get("/stream")
def streamed() -> StreamingResponse:
    def parts() -> Iterator[str]:
        told = [{"role": "user", "content": "Hi"}]
        for chunk in client.chat.completions.create(model="gpt-test", messages=told, stream=True):
            if chunk.choices:
                yield chunk.choices[0].delta.content or ""

    return StreamingResponse(parts(), media_type="text/plain")


@app.get("/events")
async def events() -> StreamingResponse:
    told = [{"role": "user", "content": "Hi"}]
    chunks = await patient.chat.completions.create(model="gpt-test", messages=told, stream=True)

    async def parts() -> AsyncIterator[str]:
        async for chunk in chunks:
            if chunk.choices:
                yield f"data: {chunk.choices[0].delta.content or ''}\n\n"

    return StreamingResponse(parts(), media_type="text/event-stream")


@app.get("/none")
def none() -> PlainTextResponse:
    return PlainTextResponse("no model here")


@app.get("/export")
def export() -> StreamingResponse:
    return StreamingResponse(iter(["a,b\n", "1,2\n"]), media_type="text/csv")


@app.get("/cached")
def cached() -> JSONResponse:
    return JSONResponse({"answer": ask("Hi")}, headers={"Cache-Control": "public, max-age=60"})


@app.get("/refused")
def refused() -> JSONResponse:
    return JSONResponse({"answer": ask("Hi")}, 403)


@app.get("/later")
def later(tasks: BackgroundTasks) -> dict[str, str]:
    tasks.add_task(ask, "later")
    return {"answer": ask("now")}


@app.get("/broken")
def broken() -> None:
    ask("Hi")
    raise RuntimeError("broken on purpose")


async def inner(_request: Request) -> JSONResponse:
    return JSONResponse({"answer": await patiently("inner")})


app.mount("/sub", Starlette(routes=[Mount("/deep", Starlette(routes=[Route("/ask", inner)]))]))
