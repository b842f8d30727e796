"""A chat application that answers from a small knowledge base: FastAPI, qdrant and the openai client.

    OPENAI_BASE_URL=http://127.0.0.1:9100/v1 OPENAI_API_KEY=any BACKSPAN=content python app.py --port 8000

Nothing here switches the instrumentation on: the variable `BACKSPAN` does, and every call to the model and the
retriever becomes a span. A few lines add what no instrumentation can know: what the user sees as one answer (`turn`),
whose conversation it is (`session`), which prompt is in use (`prompt`), on which side of an experiment it stands
(`variant`), what a check of our own thinks of the answer (`record_feedback`), and a token with which the user can judge
exactly this answer (`feedback_token`).
"""

import argparse
import asyncio
import hashlib
import json
import os
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass
from html import escape
from pathlib import Path
from string import Template
from typing import Annotated, Any, Literal

import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse, StreamingResponse
from openai import AsyncOpenAI, AsyncStream, OpenAIError
from openai.types.chat import ChatCompletion, ChatCompletionChunk, ChatCompletionMessageParam
from pydantic import BaseModel, Field
from qdrant_client import AsyncQdrantClient
from qdrant_client.models import Distance, PointStruct, VectorParams

import backspan

HERE = Path(__file__).parent
CHAT_MODEL = os.environ.get("RAG_CHAT_MODEL", "sim-small-1")
MEMBER_MODEL = os.environ.get("RAG_CHAT_MEMBER_MODEL", CHAT_MODEL)
EMBEDDING_MODEL = os.environ.get("RAG_CHAT_EMBEDDING_MODEL", "sim-embed-1")
LIVE_PROMPT = Path(os.environ.get("RAG_CHAT_LIVE_PROMPT", HERE / "prompts" / "live"))
INDEXES = os.environ.get("RAG_CHAT_INDEXES", "fjordline").split(",")  # named twice: twice the share
MIN_SCORE = float(os.environ["RAG_CHAT_MIN_SCORE"]) if "RAG_CHAT_MIN_SCORE" in os.environ else None
FEEDBACK = os.environ.get("RAG_CHAT_FEEDBACK", "http://127.0.0.1:4318").rstrip("/")
EVALUATE = os.environ.get("RAG_CHAT_EVALUATE") == "1"
TOP_K = 3
EXPERIMENT = "support-prompt"


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


@dataclass(frozen=True)
class Prompt:
    """The prompt of one request. `variant` says on which side of a running experiment the session is."""

    version: str
    text: str
    variant: str | None

    def scope(self) -> AbstractContextManager[Any]:
        return backspan.variant(EXPERIMENT, self.variant) if self.variant else nullcontext()


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    app.state.model = AsyncOpenAI()
    app.state.index = AsyncQdrantClient(":memory:")
    for name in dict.fromkeys(INDEXES):
        await build_index(name, app.state.index, app.state.model)
    yield
    await app.state.index.close()
    await app.state.model.close()
    await asyncio.to_thread(backspan.flush)  # uvicorn ends by a signal that runs no exit handler


app = FastAPI(title="Fjordline support chat", lifespan=lifespan)


@app.exception_handler(OpenAIError)
async def no_answer(request: Request, error: Exception) -> Response:
    """The model failed, not we: the user is told to try again."""
    return JSONResponse({"detail": "no answer just now, please ask again"}, status_code=502)


async def build_index(name: str, index: AsyncQdrantClient, model: AsyncOpenAI) -> None:
    """Embed the documents: titles and texts, or for a second index the titles only, which finds less."""
    documents: list[dict[str, Any]] = json.loads((HERE / "documents.json").read_text(encoding="utf-8"))
    whole = name == INDEXES[0]
    texts = [f"{document['title']}. {document['text']}" if whole else document["title"] for document in documents]
    vectors = [item.embedding for item in (await model.embeddings.create(model=EMBEDDING_MODEL, input=texts)).data]
    size = VectorParams(size=len(vectors[0]), distance=Distance.COSINE)
    await index.create_collection(name, vectors_config=size)
    points = [PointStruct(id=i, vector=v, payload=d) for i, (v, d) in enumerate(zip(vectors, documents, strict=True))]
    await index.upsert(name, points)


def bucket(session: str, purpose: str) -> int:
    """A number below 100 that belongs to a session: the same one for every question that it asks."""
    return int.from_bytes(hashlib.blake2b(f"{purpose}:{session}".encode(), digest_size=4).digest(), "big") % 100


def live_prompt(session: str = "") -> Prompt:
    """The prompt in use. The file is read for every request: writing it releases a version.

    It holds a version, `v1`, or an experiment: `v1 v2 20` shows v2 to 20 % of the sessions.
    """
    version, *canary = LIVE_PROMPT.read_text(encoding="utf-8").split()
    variant = None
    if canary:
        treated = bucket(session, EXPERIMENT) < int(canary[1])
        version, variant = (canary[0], "treatment") if treated else (version, "control")
    return Prompt(version, (HERE / "prompts" / f"{version}.txt").read_text(encoding="utf-8").strip(), variant)


async def find_documents(asked: Question) -> list[dict[str, Any]]:
    index = INDEXES[bucket(asked.session, "index") % len(INDEXES)]
    embedded = await app.state.model.embeddings.create(model=EMBEDDING_MODEL, input=asked.question)
    vector = embedded.data[0].embedding
    found = await app.state.index.query_points(index, query=vector, limit=TOP_K, score_threshold=MIN_SCORE)
    return [point.payload for point in found.points]


def build_messages(asked: Question, prompt: str, documents: list[dict[str, Any]]) -> list[ChatCompletionMessageParam]:
    context = "\n".join(f"[{document['id']}] {document['text']}" for document in documents)
    history: list[Any] = [message.model_dump() for message in asked.history]
    question = f"Documents:\n{context}\n\nQuestion: {asked.question}"
    return [{"role": "system", "content": prompt}, *history, {"role": "user", "content": question}]


def chat_model(asked: Question) -> str:
    return MEMBER_MODEL if asked.segment == "member" else CHAT_MODEL


async def ask_model(model: str, messages: list[ChatCompletionMessageParam]) -> str:
    completion: ChatCompletion = await app.state.model.chat.completions.create(model=model, messages=messages)
    return completion.choices[0].message.content or ""


async def stream_model(model: str, messages: list[ChatCompletionMessageParam]) -> AsyncIterator[str]:
    chunks: AsyncStream[ChatCompletionChunk] = await app.state.model.chat.completions.create(
        model=model, messages=messages, stream=True, stream_options={"include_usage": True}
    )
    async with chunks:
        async for chunk in chunks:
            if chunk.choices and chunk.choices[0].delta.content:
                yield chunk.choices[0].delta.content


def evaluate(answer: str, documents: list[dict[str, Any]]) -> None:
    """A verdict of our own on the turn in force: does the answer stand in the documents? "I do not know" needs none."""
    if "do not know" in answer:
        return
    said = answer.partition(" [")[0].lower()
    grounded = any(said in document["text"].lower() for document in documents)
    backspan.record_feedback(name="evaluator_grounded", value=grounded, polarity="positive" if grounded else "negative")


def reply(answer: str, version: str, documents: list[dict[str, Any]]) -> Reply:
    """The answer with the handle of the turn in force; to be called inside of it, when the model has answered."""
    if EVALUATE:
        evaluate(answer, documents)
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
    prompt = live_prompt(asked.session)
    with (
        backspan.session(asked.session, user=asked.user, segment=asked.segment),
        backspan.prompt("support", version=prompt.version),
        prompt.scope(),
        backspan.turn("chat"),
    ):
        documents = await find_documents(asked)
        answer = await ask_model(chat_model(asked), build_messages(asked, prompt.text, documents))
        result = reply(answer, prompt.version, documents)
    if result.feedback_token:
        response.headers["Backspan-Token"] = result.feedback_token
    return result


async def stream_chat(asked: Question) -> AsyncIterator[str]:
    """The token comes last, when the answer is known; a header would have to be sent before it."""
    prompt = live_prompt(asked.session)
    with (
        backspan.session(asked.session, user=asked.user, segment=asked.segment),
        backspan.prompt("support", version=prompt.version),
        prompt.scope(),
        backspan.turn("chat"),
    ):
        documents = await find_documents(asked)
        answer = ""
        try:
            async for piece in stream_model(chat_model(asked), build_messages(asked, prompt.text, documents)):
                answer += piece
                yield f"event: piece\ndata: {json.dumps(piece)}\n\n"
        except OpenAIError:  # the status has been sent already
            yield 'event: failed\ndata: "no answer just now, please ask again"\n\n'
            return
        result = reply(answer, prompt.version, documents)
    yield f"event: reply\ndata: {result.model_dump_json()}\n\n"


@app.get("/")
async def page() -> HTMLResponse:
    """A chat for people: it streams the answer, then asks about it. Nothing inline is needed for that."""
    html = Template((HERE / "chat.html").read_text(encoding="utf-8")).substitute(gateway=escape(FEEDBACK))
    allowed = f"default-src 'none'; style-src 'self'; script-src 'self' {FEEDBACK}; connect-src 'self' {FEEDBACK}"
    return HTMLResponse(html, headers={"Content-Security-Policy": allowed})


@app.get("/chat.{kind}")
async def beside(kind: Literal["css", "js"]) -> FileResponse:
    return FileResponse(HERE / f"chat.{kind}")


@app.get("/healthz")
async def healthz() -> dict[str, str]:
    return {"status": "ok", "prompt_version": live_prompt().version}


def main() -> None:
    parser = argparse.ArgumentParser(description="A support chat over a small knowledge base.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    args = parser.parse_args()
    uvicorn.run(app, host=args.host, port=args.port, log_level="warning")


if __name__ == "__main__":
    main()
