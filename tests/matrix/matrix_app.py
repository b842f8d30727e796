"""Every way of calling that all supported versions have; prints what the application sees, to the letter."""

import asyncio

import matrix_resources
import openai

ASK = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Where is my parcel?"}]
TOOLS = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}]
CHAT = {"model": "gpt-test", "messages": ASK}


def show(what, value):
    dumped = value.model_dump() if hasattr(value, "model_dump") else value
    print(what, type(value).__module__, type(value).__name__, dumped, flush=True)


def attempt(what, call):
    try:
        show(what, call())
    except Exception as error:  # noqa: BLE001  # old versions let errors of httpx through
        print(what, type(error).__name__, error, flush=True)


def chat(client):
    show("chat", client.chat.completions.create(temperature=0.5, max_tokens=9, seed=3, stop=["."], **CHAT))
    show("tools", client.chat.completions.create(model="tool-call", messages=ASK, tools=TOOLS))
    show("length", client.chat.completions.create(model="length", messages=ASK, n=2))
    raw = client.chat.completions.with_raw_response.create(**CHAT)
    show("raw", raw.parse())
    print("raw", raw.status_code, raw.headers["x-request-id"])
    with client.chat.completions.with_streaming_response.create(**CHAT) as response:
        print("streaming response", sorted(response.json() if hasattr(response, "json") else response.parse()))


def streams(client):
    for chunk in client.chat.completions.create(stream=True, **CHAT):
        show("chunk", chunk)
    with client.chat.completions.create(stream=True, stream_options={"include_usage": True}, **CHAT) as stream:
        print("usage", [bool(chunk.usage) for chunk in stream], type(stream).__name__)
    stream = client.chat.completions.create(stream=True, **CHAT)
    show("first of many", next(stream))
    stream.close()
    attempt("cut", lambda: list(client.chat.completions.create(model="cut-after-2", messages=ASK, stream=True)))
    attempt("broken", lambda: list(client.chat.completions.create(model="error-after-2", messages=ASK, stream=True)))
    for chunk in client.chat.completions.create(model="tool-call", messages=ASK, tools=TOOLS, stream=True):
        show("tool chunk", chunk)


def others(client):
    show("embeddings", client.embeddings.create(model="embed-test", input=["one", "two words"], dimensions=4))
    show("floats", client.embeddings.create(model="embed-test", input="one", encoding_format="float"))
    show("models", client.models.list())


def failures(client):
    for status in (400, 401, 404, 429, 500):
        once = client.with_options(max_retries=1)
        model = f"error-{status}"
        attempt(status, lambda once=once, model=model: once.chat.completions.create(model=model, messages=ASK))
    attempt("flaky", lambda: client.chat.completions.create(model="flaky-500-1", messages=ASK))
    attempt("late", lambda: client.with_options(timeout=0.3, max_retries=0).embeddings.create(model="hang", input="x"))
    attempt("nobody", lambda: openai.OpenAI(base_url="http://127.0.0.1:9/v1", max_retries=0).models.list())


def responses(client):
    show("response", client.responses.create(model="gpt-test", instructions="Be brief.", input="Hello"))
    for event in client.responses.create(model="gpt-test", input="Hello", stream=True):
        print("event", event.type)
    attempt("incomplete", lambda: client.responses.create(model="incomplete", input="Hello"))


async def asynchronous():
    async with openai.AsyncOpenAI() as client:
        show("async", await client.chat.completions.create(**CHAT))
        async for chunk in await client.chat.completions.create(stream=True, **CHAT):
            show("async chunk", chunk)
        show("async embeddings", await client.embeddings.create(model="embed-test", input="one"))
        try:
            await client.with_options(max_retries=0).chat.completions.create(model="error-429", messages=ASK)
        except openai.RateLimitError as error:
            print("async", type(error).__name__, error)


def main():
    with openai.OpenAI() as client:
        for part in (chat, streams, others, failures):
            part(client)
    asyncio.run(asynchronous())
    with openai.OpenAI() as client:
        if hasattr(client, "responses"):  # last, so that the numbers of the answers before are the same in all versions
            responses(client)
        matrix_resources.run(client)


main()
