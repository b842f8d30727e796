"""Pictures, sound and verdicts: what is particular to each."""

from __future__ import annotations

import asyncio
import io
import json

import pytest
from opentelemetry.trace import StatusCode

from tests.instrument.conftest import async_client
from tests.support.openai_more_bodies import HEARD, PIXELS, SOUND


def _tokens(patched, which):
    points = patched.metrics()[f"gen_ai.client.inference.usage.{which}_tokens"]
    return {dict(point.attributes)["gen_ai.token.modality"]: point.value for point in points}


# --- images ---------------------------------------------------------------------------------------------------------
def test_tokens_by_modality(client, patched):
    client.images.generate(model="m", prompt="a red fox", n=2)
    got = patched.attributes()
    expected = {"gen_ai.output.type": "image", "gen_ai.request.choice.count": 2, "gen_ai.usage.input_tokens": 5,
                "gen_ai.usage.text.input_tokens": 3, "gen_ai.usage.image.input_tokens": 2,
                "gen_ai.usage.output_tokens": 7, "gen_ai.response.finish_reasons": ("stop", "stop")}
    assert {key: got.get(key) for key in expected} == expected
    assert (_tokens(patched, "input"), _tokens(patched, "output")) == ({"text": 3, "image": 2}, {"text": 0, "image": 7})


def test_pictures_are_hashed_and_addresses_lose_their_keys(client, patched, content):
    client.images.generate(model="m", prompt="fox")
    client.images.generate(model="m", prompt="fox", response_format="url")
    pixels, url = (json.loads(span.attributes["gen_ai.output.messages"])[0]["parts"] for span in patched.spans)
    assert pixels[0] == {"type": "text", "content": "a fine fox"}
    assert (pixels[1]["type"], pixels[1]["size"], pixels[1]["mime_type"]) == ("blob", 19, "image/png")
    assert len(pixels[1]["sha256"]) == 64
    assert url == [{"type": "uri", "modality": "image", "uri": "https://img.example/1.png"}]
    assert "sig=" not in patched.everything() and PIXELS not in patched.everything()


def test_a_streamed_picture(client, patched, content):
    stream = client.images.generate(model="m", prompt="fox", stream=True, partial_images=2)
    assert [event.type.rpartition(".")[2] for event in stream] == ["partial_image", "partial_image", "completed"]
    got = patched.attributes()
    assert got["gen_ai.usage.output_tokens"] == 7
    assert PIXELS not in patched.everything()
    assert json.loads(got["gen_ai.output.messages"])[0]["parts"][0]["type"] == "blob"


# --- audio ----------------------------------------------------------------------------------------------------------
def test_speech_is_never_read_for_us(client, patched, content):
    with client.audio.speech.with_streaming_response.create(model="m", voice="alloy", input="say this") as response:
        assert not patched.spans
        assert not response.http_response.is_stream_consumed
        assert b"".join(response.iter_bytes()) == SOUND
    got = patched.attributes()
    assert got["gen_ai.output.type"] == "speech"
    assert got["backspan.input.characters"] == 8
    assert "gen_ai.output.messages" not in got
    assert "RIFF" not in patched.everything()


def test_speech_that_was_read(client, patched):
    answer = client.audio.speech.create(model="m", voice="alloy", input="say this")
    assert patched.one() and answer.read() == SOUND


@pytest.mark.parametrize("shape", ["json", "text", "verbose_json"])
def test_what_was_heard(client, patched, content, shape):
    answer = client.audio.transcriptions.create(model="whisper-1", file=("a.wav", io.BytesIO(b"x")),
                                                response_format=shape)
    assert (answer if isinstance(answer, str) else answer.text) == HEARD
    got = patched.attributes()
    assert json.loads(got["gen_ai.output.messages"])[0]["parts"] == [{"type": "text", "content": HEARD}]
    assert got.get("backspan.audio.seconds") == {"json": 3.0, "verbose_json": 2.5}.get(shape)


@pytest.mark.parametrize("shape", ["text", "json"])
def test_what_was_heard_raw(client, patched, content, shape):
    client.audio.transcriptions.with_raw_response.create(model="m", file=("a.wav", io.BytesIO(b"x")),
                                                         response_format=shape).parse()
    assert HEARD in patched.attributes()["gen_ai.output.messages"]


def test_a_streamed_transcription_that_was_closed(client, patched, content):
    stream = client.audio.transcriptions.create(model="m", file=("a.wav", io.BytesIO(b"x")), stream=True)
    for _ in stream:
        break
    stream.close()
    said = json.loads(patched.attributes()["gen_ai.output.messages"])[0]
    assert (said["parts"][0]["content"], said["finish_reason"]) == ("you", "error")


# --- verdicts -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("given, flagged", [("peace", False), (["peace", "harm"], True),
                                            ([{"type": "text", "text": "harm"}], True)])
def test_moderations(client, patched, given, flagged):
    client.moderations.create(model="m", input=given)
    got = patched.attributes()
    assert got["backspan.moderation.flagged"] is flagged
    assert got.get("backspan.moderation.categories") == (("harassment/threatening",) if flagged else None)
    assert got["gen_ai.response.model"] == "m-2026-01-01"
    assert got["backspan.input.message.count"] == (1 if isinstance(given, str) else len(given))


def test_moderations_raw_have_the_same_names(client, patched):
    client.moderations.with_raw_response.create(model="m", input="harm")
    assert patched.attributes()["backspan.moderation.categories"] == ("harassment/threatening",)


# --- runs of assistants ---------------------------------------------------------------------------------------------
@pytest.mark.filterwarnings("ignore:.*deprecated:DeprecationWarning")
def test_a_streamed_run(client, patched, content):
    with client.beta.threads.runs.stream(thread_id="thread_1", assistant_id="asst_1") as stream:
        stream.until_done()
    got = patched.attributes()
    expected = {"gen_ai.agent.id": "asst_1", "gen_ai.conversation.id": "thread_1", "gen_ai.usage.output_tokens": 3,
                "gen_ai.response.model": "gpt-served", "gen_ai.response.finish_reasons": ("stop",),
                "gen_ai.response.status": "completed", "openai.api.type": "assistants"}
    assert {key: got.get(key) for key in expected} == expected
    assert json.loads(got["gen_ai.output.messages"])[0]["parts"] == [{"type": "text", "content": "the answer"}]
    assert "backspan.answers" in patched.metrics()


@pytest.mark.filterwarnings("ignore:.*deprecated:DeprecationWarning")
def test_a_run_that_failed(server, patched):
    async def main():
        async with async_client(server) as client, client.beta.threads.create_and_run_stream(
                assistant_id="asst_1", model="failed") as stream:
            await stream.until_done()

    asyncio.run(main())
    span = patched.one()
    assert span.status.status_code is StatusCode.ERROR
    assert span.attributes["error.type"] == "server_error"
    assert span.attributes["backspan.stream.outcome"] == "failed"


@pytest.mark.filterwarnings("ignore:.*Sora API:DeprecationWarning")
def test_a_video_is_a_job(client, patched):
    job = client.videos.create(model="m", prompt="a fox runs")
    client.videos.remix(job.id, prompt="a hare runs")
    assert [span.name for span in patched.spans] == ["generate_content m", "generate_content"]
    assert patched.spans[0].attributes["gen_ai.response.status"] == "queued"
    assert "backspan.answers" not in patched.metrics()
