"""A page whose answer and token come from the server, and the two static pages beside it.

    backspan gateway --origin http://127.0.0.1:8000
    BACKSPAN=1 python server.py --port 8000

The model is a constant here; `examples/rag_chat/app.py` asks a real one. Application and gateway must share their keys:
they do on one machine, elsewhere set `BACKSPAN_TOKEN_KEYS` for both.
"""

import argparse
import os
from html import escape
from pathlib import Path
from string import Template

import uvicorn
from fastapi import FastAPI
from fastapi.responses import HTMLResponse
from fastapi.staticfiles import StaticFiles

import backspan

HERE = Path(__file__).parent
GATEWAY = os.environ.get("BACKSPAN_GATEWAY_URL", "http://127.0.0.1:8318").rstrip("/")
ANSWER = "Gift cards are valid for two years from the day they are bought."
PAGE = Template((HERE / "rendered.html").read_text(encoding="utf-8"))

app = FastAPI(title="Feedback on an answer")


def answer(user: str = "visitor") -> tuple[str, str]:
    """The answer, and the permission to judge it. A real application has a session to know its user by."""
    with backspan.session("s1", user=user), backspan.turn("answer"):
        return ANSWER, backspan.feedback_token() or ""


@app.get("/answer")
def as_json() -> dict[str, str]:
    text, token = answer()
    return {"answer": text, "feedback_token": token}


@app.get("/rendered", response_class=HTMLResponse)
def rendered() -> str:
    text, token = answer()
    return PAGE.substitute(gateway=escape(GATEWAY), answer=escape(text), token=escape(token))


@app.get("/healthz")
def healthz() -> dict[str, str]:
    return {"status": "ok"}


app.mount("/", StaticFiles(directory=HERE, html=True))


def main() -> None:
    parser = argparse.ArgumentParser(description="Three pages with the feedback widget.")
    parser.add_argument("--port", type=int, default=8000)
    uvicorn.run(app, host="127.0.0.1", port=parser.parse_args().port, log_level="warning")


if __name__ == "__main__":
    main()
