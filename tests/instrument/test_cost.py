"""What calls cost: by the price list of the extra, without a network, and nothing where no price is known."""

from __future__ import annotations

import subprocess
import sys

import openai
import pytest

from backspan import config
from backspan.instrument import _cost
from backspan.instrument._cost import Tokens
from tests.instrument.conftest import MESSAGES
from tests.support import scripted
from tests.support.scripted import Said, Scripted

genai_prices = pytest.importorskip("genai_prices")
MODEL = "gpt-4o-2024-08-06"


def _oracle(provider, model, tokens):
    usage = genai_prices.Usage(
        input_tokens=tokens.sent, output_tokens=tokens.said, cache_read_tokens=tokens.read,
        cache_write_tokens=tokens.written)
    return float(genai_prices.calc_price(usage, model, provider_id=provider).total_price)


@pytest.mark.parametrize("provider, model", [
    ("openai", MODEL), ("openai", "gpt-5-mini"), ("openai", "text-embedding-3-small"),
    ("groq", "llama-3.3-70b-versatile"),
    ("google", "gemini-2.5-pro"), ("anthropic", "claude-sonnet-4-5"), ("deepseek", "deepseek-chat"),
    ("mistral", "mistral-large-latest"), ("x-ai", "grok-4"), ("azure", "gpt-4o"),
])
@pytest.mark.parametrize("tokens", [Tokens(1000, 100), Tokens(300_000, 2000, 1000)])
def test_as_the_library_computes_it(provider, model, tokens):
    assert _cost.cost(provider, model, tokens) == pytest.approx(_oracle(provider, model, tokens), rel=1e-9)


def test_every_provider_of_ours_is_in_the_list():
    from genai_prices.data import providers

    assert set(_cost.IDS.values()) <= {provider.id for provider in providers}


def test_no_price_is_none_and_said_once(caplog):
    assert _cost.cost("openai", "a-model-of-nobody", Tokens(1, 1)) is None
    assert _cost.cost("openai", "a-model-of-nobody", Tokens(2, 1)) is None
    assert [record.getMessage() for record in caplog.records] == [
        "backspan: no price is known for a-model-of-nobody of openai"]


@pytest.fixture
def known(monkeypatch):
    monkeypatch.setenv("BACKSPAN_PROVIDERS", "127.0.0.1=openai")
    config.reload()


def _call(*said, stream=False):
    with Scripted(*said) as server, openai.OpenAI(base_url=server.base_url, api_key="k", max_retries=0) as client:
        for _ in said:
            answer = client.chat.completions.create(model="gpt-4o", messages=MESSAGES, stream=stream)
            if stream:
                list(answer)


@pytest.mark.parametrize("stream", [False, True])
def test_on_the_span_and_as_a_metric(patched, known, stream):
    said = scripted.chunks({"content": "x"}, model=MODEL) if stream else scripted.chat(content="x", model=MODEL)
    _call(Said(said), Said(said), stream=stream)
    due = _oracle("openai", MODEL, Tokens(11, 7, 4))
    assert [span.attributes["backspan.cost.usd"] for span in patched.spans] == [pytest.approx(due)] * 2
    point, = patched.metrics()["backspan.cost.usd"]
    assert point.value == pytest.approx(2 * due)
    assert dict(point.attributes)["gen_ai.response.model"] == MODEL


def test_twin_at_a_host_that_nobody_knows_there_is_no_price(patched):
    _call(Said(scripted.chat(content="x", model=MODEL)))
    assert "backspan.cost.usd" not in patched.attributes()
    assert "backspan.cost.usd" not in patched.metrics()


def test_embeddings_cost_too(patched, known):
    answer = {"object": "list", "model": "text-embedding-3-small", "usage": {"prompt_tokens": 1000},
              "data": [{"object": "embedding", "index": 0, "embedding": [0.5]}]}
    with Scripted(Said(answer)) as server, openai.OpenAI(base_url=server.base_url, api_key="k") as client:
        client.embeddings.create(model="text-embedding-3-small", input="x", encoding_format="float")
    assert patched.attributes()["backspan.cost.usd"] == pytest.approx(2e-5)


@pytest.mark.parametrize("hidden", [True, False])
def test_without_the_extra_there_is_no_cost_and_nothing_is_imported_before_the_first_price(hidden):
    script = f"""
import sys
if {hidden}:
    class Hidden:
        def find_spec(self, name, path=None, target=None):
            if name == "genai_prices":
                raise ModuleNotFoundError(name)
    sys.meta_path.insert(0, Hidden())
import openai
import backspan.instrument
from backspan.instrument import _cost, _providers
backspan.instrument.imported(openai)
client = openai.OpenAI(api_key="k")
found = _providers.service_of(client, client.base_url).prices if not {hidden} else None
print(found, "genai_prices" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == ([str(None), "False"] if hidden else ["openai", "False"])
