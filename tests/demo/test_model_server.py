"""The simulated model server as the official client sees it."""

from __future__ import annotations

from collections.abc import Iterator

import openai
import pytest

CHAT, EMBED = "sim-small-1", "sim-embed-1"
DOCUMENTS = "Documents:\n[gift] Gift cards are valid for 5 years.\n\n"
QUESTION = [
    {"role": "system", "content": "Answer only from the documents you are given and cite them."},
    {"role": "user", "content": f"{DOCUMENTS}Question: How long are gift cards valid?"},
]


@pytest.fixture
def client(model_url: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{model_url}/v1", api_key="any", max_retries=0) as client:
        yield client


def test_a_chat_completion_is_marked_as_simulated(client: openai.OpenAI) -> None:
    """Nobody can take the answer for a real model's."""
    raw = client.chat.completions.with_raw_response.create(model=CHAT, messages=QUESTION)
    answer = raw.parse()
    assert ("true", "simulated", CHAT) == (raw.headers["x-simulated"], answer.system_fingerprint, answer.model)
    assert "Gift cards are valid for 5 years. [gift]" == answer.choices[0].message.content
    assert answer.usage and answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens > 0


def test_a_stream_gives_the_same_text_in_pieces(client: openai.OpenAI) -> None:
    """Server-sent events, with the usage last when asked for."""
    with client.chat.completions.create(
        model=CHAT, messages=QUESTION, stream=True, stream_options={"include_usage": True}
    ) as stream:
        chunks = list(stream)
    pieces = [chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices]
    assert len(pieces) > 5
    assert "Gift cards are valid for 5 years. [gift]" == "".join(pieces)
    assert {"simulated"} == {chunk.system_fingerprint for chunk in chunks}
    assert chunks[-1].usage and chunks[-1].usage.completion_tokens > 0
    assert "stop" == chunks[-2].choices[0].finish_reason


def test_usage_is_streamed_only_when_asked_for(client: openai.OpenAI) -> None:
    with client.chat.completions.create(model=CHAT, messages=QUESTION, stream=True) as stream:
        assert not any(chunk.usage for chunk in stream)


def test_the_helper_for_streams_accumulates(client: openai.OpenAI) -> None:
    """`stream()` of the client follows the events to a final completion."""
    with client.chat.completions.stream(model=CHAT, messages=QUESTION) as stream:
        final = stream.get_final_completion()
    assert "Gift cards are valid for 5 years. [gift]" == final.choices[0].message.content


def test_responses_plain_and_streamed_agree(client: openai.OpenAI) -> None:
    asked = {"model": CHAT, "instructions": QUESTION[0]["content"], "input": QUESTION[1]["content"]}
    plain = client.responses.create(**asked)
    with client.responses.stream(**asked) as stream:
        kinds = [event.type for event in stream]
        streamed = stream.get_final_response()
    assert "Gift cards are valid for 5 years. [gift]" == plain.output_text == streamed.output_text
    assert ("response.created", "response.completed") == (kinds[0], kinds[-1])
    assert "true" == (plain.metadata or {})["simulated"]
    assert plain.usage and plain.usage.input_tokens > 0


def test_embeddings_are_the_same_however_they_travel(client: openai.OpenAI) -> None:
    """The client asks for base64 unless told otherwise; texts that share words lie closer."""
    packed = client.embeddings.create(model=EMBED, input=["a gift card", "gift cards", "an avalanche"])
    listed = client.embeddings.create(model=EMBED, input=["a gift card"], encoding_format="float")
    first, near, far = (item.embedding for item in packed.data)
    assert listed.data[0].embedding == pytest.approx(first, abs=1e-6)
    assert _dot(first, near) > 0.9 > 0.5 > _dot(first, far)
    assert packed.usage.total_tokens > 0


def _dot(a: list[float], b: list[float]) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ({"model": "gpt-none", "messages": QUESTION}, openai.NotFoundError),
        ({"model": CHAT, "messages": []}, openai.BadRequestError),
        ({"model": CHAT, "messages": [{"content": "no role"}]}, openai.BadRequestError),
    ],
)
def test_bad_requests_raise_what_the_client_raises(
    client: openai.OpenAI, body: dict[str, object], error: type[Exception]
) -> None:
    with pytest.raises(error):
        client.chat.completions.create(**body)  # type: ignore[call-overload]


def test_the_same_prompt_gives_the_same_answer(client: openai.OpenAI) -> None:
    """Whatever the order of requests, so that a seed decides the whole demo."""
    free = [{"role": "user", "content": "How long are gift cards valid?"}]
    texts = {client.chat.completions.create(model=CHAT, messages=free).choices[0].message.content for _ in range(5)}
    assert 1 == len(texts)
    assert "5 years" not in texts.pop()
