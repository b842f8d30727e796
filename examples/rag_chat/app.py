"""A chat application that answers from a small knowledge base: FastAPI, qdrant and the openai client.

    OPENAI_BASE_URL=http://127.0.0.1:9100/v1 OPENAI_API_KEY=any BACKSPAN=content python app.py --port 8000

Nothing here switches the instrumentation on: the variable `BACKSPAN` does, and every call to the model and the
retriever becomes a span. Four lines add what no instrumentation can know: what the user sees as one answer (`turn`),
whose conversation it is (`session`), which prompt is in use (`prompt`), and a token with which the user can judge
exactly this answer (`feedback_token`).
"""

import argparse
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

import uvicorn
from fastapi import FastAPI, Response
from fastapi.responses import StreamingResponse
from openai import AsyncOpenAI, AsyncStream
from openai.types.chat import ChatCompletion, ChatCompletionChunk, ChatCompletionMessageParam
from pydantic import BaseModel, Field
from qdrant_client import AsyncQdrantClient
from qdrant_client.models import Distance, PointStruct, VectorParams

import backspan

HERE = Path(__file__).parent
CHAT_MODEL = os.environ.get("RAG_CHAT_MODEL", "sim-small-1")
EMBEDDING_MODEL = os.environ.get("RAG_CHAT_EMBEDDING_MODEL", "sim-embed-1")
LIVE_PROMPT = Path(os.environ.get("RAG_CHAT_LIVE_PROMPT", HERE / "prompts" / "live"))
INDEX = "fjordline"
TOP_K = 3


class Message(BaseModel):
    role: Literal["user", "assistant"]
    content: Annotated[str, Field(max_length=4000)]


class Question(BaseModel):
    question: Annotated[str, Field(min_length=1, max_length=2000)]
    session: Annotated[str, Field(min_length=1, max_length=100)]
    user: Annotated[str, Field(max_length=100)] | None = None
    segment: Literal["free", "member"] | None = None
    history: Annotated[list[Message], Field(max_length=10)] = []
    stream: bool = False


class Reply(BaseModel):
    answer: str
    documents: list[str]
    prompt_version: str
    turn: dict[str, str | None]
    feedback_token: str | None


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    app.state.model = AsyncOpenAI()
    app.state.index = AsyncQdrantClient(":memory:")
    await build_index(app.state.index, app.state.model)
    yield
    await app.state.index.close()
    await app.state.model.close()


app = FastAPI(title="Fjordline support chat", lifespan=lifespan)


async def build_index(index: AsyncQdrantClient, model: AsyncOpenAI) -> None:
    documents: list[dict[str, Any]] = json.loads((HERE / "documents.json").read_text(encoding="utf-8"))
    texts = [f"{document['title']}. {document['text']}" for document in documents]
    vectors = [item.embedding for item in (await model.embeddings.create(model=EMBEDDING_MODEL, input=texts)).data]
    size = VectorParams(size=len(vectors[0]), distance=Distance.COSINE)
    await index.create_collection(INDEX, vectors_config=size)
    points = [PointStruct(id=i, vector=v, payload=d) for i, (v, d) in enumerate(zip(vectors, documents, strict=True))]
    await index.upsert(INDEX, points)


def live_prompt() -> tuple[str, str]:
    """Version and text of the prompt in use. It is read for every request: writing the file releases a version."""
    version = LIVE_PROMPT.read_text(encoding="utf-8").strip()
    return version, (HERE / "prompts" / f"{version}.txt").read_text(encoding="utf-8").strip()


async def find_documents(question: str) -> list[dict[str, Any]]:
    embedded = await app.state.model.embeddings.create(model=EMBEDDING_MODEL, input=question)
    found = await app.state.index.query_points(INDEX, query=embedded.data[0].embedding, limit=TOP_K)
    return [point.payload for point in found.points]


def build_messages(asked: Question, prompt: str, documents: list[dict[str, Any]]) -> list[ChatCompletionMessageParam]:
    context = "\n".join(f"[{document['id']}] {document['text']}" for document in documents)
    history: list[Any] = [message.model_dump() for message in asked.history]
    question = f"Documents:\n{context}\n\nQuestion: {asked.question}"
    return [{"role": "system", "content": prompt}, *history, {"role": "user", "content": question}]


async def ask_model(messages: list[ChatCompletionMessageParam]) -> str:
    completion: ChatCompletion = await app.state.model.chat.completions.create(model=CHAT_MODEL, messages=messages)
    return completion.choices[0].message.content or ""


async def stream_model(messages: list[ChatCompletionMessageParam]) -> AsyncIterator[str]:
    chunks: AsyncStream[ChatCompletionChunk] = await app.state.model.chat.completions.create(
        model=CHAT_MODEL, messages=messages, stream=True, stream_options={"include_usage": True}
    )
    async with chunks:
        async for chunk in chunks:
            if chunk.choices and chunk.choices[0].delta.content:
                yield chunk.choices[0].delta.content


def reply(answer: str, version: str, documents: list[dict[str, Any]]) -> Reply:
    """The answer with the handle of the turn in force; to be called inside of it, when the model has answered."""
    target = backspan.current_turn()
    names = ("turn_id", "trace_id", "span_id", "response_id")
    return Reply(
        answer=answer,
        documents=[document["id"] for document in documents],
        prompt_version=version,
        turn={name: getattr(target, name, None) for name in names},
        feedback_token=backspan.feedback_token(target) if target else None,
    )


@app.post("/chat", response_model=Reply)
async def chat(asked: Question, response: Response) -> Reply | StreamingResponse:
    """Answer a question. With `stream` as server-sent events: pieces of the answer, then the reply as a whole."""
    if asked.stream:
        return StreamingResponse(stream_chat(asked), media_type="text/event-stream")
    version, prompt = live_prompt()
    with (
        backspan.session(asked.session, user=asked.user, segment=asked.segment),
        backspan.prompt("support", version=version),
        backspan.turn("chat"),
    ):
        documents = await find_documents(asked.question)
        answer = await ask_model(build_messages(asked, prompt, documents))
        result = reply(answer, version, documents)
    if result.feedback_token:
        response.headers["Backspan-Token"] = result.feedback_token
    return result


async def stream_chat(asked: Question) -> AsyncIterator[str]:
    """The token comes last, when the answer is known; a header would have to be sent before it."""
    version, prompt = live_prompt()
    with (
        backspan.session(asked.session, user=asked.user, segment=asked.segment),
        backspan.prompt("support", version=version),
        backspan.turn("chat"),
    ):
        documents = await find_documents(asked.question)
        answer = ""
        async for piece in stream_model(build_messages(asked, prompt, documents)):
            answer += piece
            yield f"event: piece\ndata: {json.dumps(piece)}\n\n"
        result = reply(answer, version, documents)
    yield f"event: reply\ndata: {result.model_dump_json()}\n\n"


@app.get("/healthz")
async def healthz() -> dict[str, str]:
    return {"status": "ok", "prompt_version": live_prompt()[0]}


def main() -> None:
    parser = argparse.ArgumentParser(description="A support chat over a small knowledge base.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    args = parser.parse_args()
    uvicorn.run(app, host=args.host, port=args.port, log_level="warning")


if __name__ == "__main__":
    main()
