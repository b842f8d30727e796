"""A FastAPI application: one route that asks the model."""

import os

import openai
from fastapi import FastAPI

app = FastAPI()
client = openai.AsyncOpenAI()


@app.get("/ask")
async def ask(question: str) -> dict:
    done = await client.chat.completions.create(model="gpt-test", messages=[{"role": "user", "content": question}])
    return {"answer": done.choices[0].message.content, "pid": os.getpid()}
