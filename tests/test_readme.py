"""The README's Python runs as it is printed. Its five shell lines are run in `tests/wheel`."""

from __future__ import annotations

import re
from pathlib import Path

import openai

from backspan.testing import capture
from tests.support.openai_server import OpenAIServer

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_python_of_the_readme():
    (code,) = re.findall(r"```python\n(.+?)```", README, re.DOTALL)
    with OpenAIServer() as server, openai.OpenAI(base_url=server.base_url, api_key="test") as client, capture() as seen:
        exec(code, {"client": client, "messages": [{"role": "user", "content": "Hello"}]})
    *_, vote = seen.spans
    assert vote.name == "evaluation user_thumbs" and len(vote.links) == 1
    assert vote.links[0].context.trace_id == seen.spans[0].context.trace_id


def test_links_within_the_repository_lead_somewhere():
    for page in (README, (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")):
        links = [link for link in re.findall(r"\]\(([^)#]+)\)", page) if "://" not in link]
        assert [link for link in links if not (ROOT / link).exists()] == []
