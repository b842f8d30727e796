"""A plain script: every kind of call that a small application makes, answers on stdout."""

import asyncio

import openai

QUESTION = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Where is my parcel?"}]


def plain(client: openai.OpenAI) -> None:
    done = client.chat.completions.create(model="gpt-test", messages=QUESTION)
    print("chat:", done.choices[0].message.content)
    made = client.embeddings.create(model="embed-test", input=["one", "two words"])
    print("embeddings:", len(made.data), len(made.data[0].embedding))
    print("responses:", client.responses.create(model="gpt-test", input="Hello").output_text)


def streamed(client: openai.OpenAI) -> None:
    chunks = client.chat.completions.create(model="gpt-test", messages=QUESTION, stream=True)
    print("stream:", "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices))


async def asynchronous() -> None:
    async with openai.AsyncOpenAI() as client:
        done = await client.chat.completions.create(model="gpt-test", messages=QUESTION)
        print("async:", done.choices[0].message.content)


def main() -> None:
    with openai.OpenAI() as client:
        plain(client)
        streamed(client)
    asyncio.run(asynchronous())


if __name__ == "__main__":
    main()
