"""Pictures and sound that are uploaded: type, size and hash of what is in memory; streams are left alone."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import re
import tempfile

import openai
import pytest

import backspan.instrument
from backspan.instrument import _openai_files as files
from tests.instrument.conftest import async_client

RAW = b"\x89PNG marker-of-the-user" * 50
HASH = hashlib.sha256(RAW).hexdigest()
KNOWN = {"size": len(RAW), "sha256": HASH, "content": "", "type": "blob"}


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "fox of erika@example.org.png"
    path.write_bytes(RAW)
    return path


def blobs(patched):
    (message,) = json.loads(patched.attributes()["gen_ai.input.messages"])
    assert message["role"] == "user"
    return [part for part in message["parts"] if part["type"] != "text"]


def edit(client, image, **more):
    return client.images.edit(model="m", prompt="redder", image=image, **more)


@pytest.mark.parametrize("make, mime", [
    (lambda path: RAW, None), (lambda path: path, "image/png"), (lambda path: ("a.png", RAW), "image/png"),
    (lambda path: ("a", RAW, "image/webp"), "image/webp"),
    (lambda path: (None, io.BytesIO(RAW), "image/png"), "image/png"),
    (lambda path: ("a.png", path), "image/png"), (lambda path: ("a", RAW, "image/png", {"x-a": "b"}), "image/png"),
    (lambda path: io.BytesIO(RAW), None),
])
def test_what_is_in_memory_is_hashed(client, patched, content, schema, picture, make, mime):
    import jsonschema

    edit(client, make(picture))
    (part,) = blobs(patched)
    assert {**part, "mime_type": part.get("mime_type")} == {**KNOWN, "modality": "image", "mime_type": mime}
    assert "marker" not in patched.everything()
    jsonschema.validate(json.loads(patched.attributes()["gen_ai.input.messages"]), schema("gen-ai-input-messages"))


def test_a_file_that_is_open_says_its_size_and_masked_name(client, patched, content, picture):
    with picture.open("rb") as file:
        edit(client, file)
    (part,) = blobs(patched)
    assert part == {"type": "blob", "modality": "image", "content": "", "mime_type": "image/png", "size": len(RAW),
                    "name": part["name"]}
    assert "erika" not in part["name"] and "[email]" in part["name"]


class Stream(io.RawIOBase):
    """A stream that notes what is done to it."""

    def __init__(self):
        self.done = []
        self._inner = io.BytesIO(RAW)

    name = "/secret/place/a.png"

    def readable(self):
        return True

    def readinto(self, buffer):
        self.done.append("read")
        return self._inner.readinto(buffer)

    def seekable(self):
        self.done.append("seekable")
        return True

    def seek(self, *args):
        self.done.append("seek")
        return self._inner.seek(*args)

    def tell(self):
        self.done.append("tell")
        return self._inner.tell()

    def fileno(self):
        self.done.append("fileno")
        raise io.UnsupportedOperation


def test_a_stream_of_the_applications_is_not_touched():
    stream = Stream()
    assert files.parts_of([("image", stream), ("image", ("b.png", stream))], "images") == [
        {"type": "blob", "modality": "image", "content": ""},
        {"type": "blob", "modality": "image", "content": "", "mime_type": "image/png", "name": "b.png"}]
    with tempfile.SpooledTemporaryFile() as spooled:
        spooled.write(RAW)
        files.parts_of([("file", spooled)], "audio")
        assert not spooled._rolled
    assert stream.done == []


@pytest.mark.parametrize("odd", [
    None, "text", 7, [None], [("image",)], [("image", None)], [("image", ())], {"image": "text"},
    [("image", ("a.png",))]])
def test_what_is_no_file_is_no_fault(odd):
    assert all(part["content"] == "" and "sha256" not in part for part in files.parts_of(odd, "images"))


def test_a_file_that_is_closed(picture):
    with picture.open("rb") as file:
        pass
    (part,) = files.parts_of([("image", file)], "images")
    assert "size" not in part


def test_several_pictures_and_a_mask(client, patched, content):
    edit(client, [("a.png", RAW), ("b.webp", b"other")], mask=("m.png", b"mask"))
    assert [(part["size"], part["mime_type"]) for part in blobs(patched)] == [
        (len(RAW), "image/png"), (5, "image/webp"), (4, "image/png")]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_variation_has_no_prompt(client, patched, content):
    if not hasattr(client.images, "create_variation"):
        pytest.skip("the installed SDK has no variations")
    client.images.create_variation(model="m", image=RAW)
    assert blobs(patched) == [{**KNOWN, "modality": "image"}]
    assert patched.attributes()["backspan.input.message.count"] == 1


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("resource", ["transcriptions", "translations"])
def test_sound(client, patched, content, resource):
    getattr(client.audio, resource).create(model="m", file=("a.wav", io.BytesIO(RAW)), prompt="names")
    (part,) = blobs(patched)
    assert {**part, "mime_type": 0} == {**KNOWN, "modality": "audio", "mime_type": 0}
    assert part["mime_type"] in ("audio/x-wav", "audio/wav", "audio/vnd.wave")


def test_a_video_that_is_sound_is_what_its_type_says(client, patched, content):
    client.audio.transcriptions.create(model="m", file=("a.mp4", RAW))
    assert blobs(patched)[0]["modality"] == "video"


def test_asynchronously(server, patched, content, picture):
    async def main():
        async with async_client(server) as client:
            await edit(client, picture)

    asyncio.run(main())
    assert blobs(patched) == [{**KNOWN, "modality": "image", "mime_type": "image/png"}]


def test_nothing_is_hashed_while_content_is_off(client, patched, monkeypatch):
    monkeypatch.setattr(files, "blob_part", None)
    edit(client, RAW)
    assert "gen_ai.input.messages" not in patched.attributes()
    assert patched.attributes()["backspan.input.message.count"] == 1


# --- the request ------------------------------------------------------------------------------------------------------
def _sent(server, make, path):
    """The body of a request, without the boundary that is drawn for it, and where the file stood after it."""
    with openai.OpenAI(base_url=server.base_url, api_key="k", max_retries=0) as client:
        image = make(path)
        if hasattr(image, "seek"):
            image.seek(7)
        edit(client, image)
        stands = image.tell() if hasattr(image, "tell") else None
        if hasattr(image, "close"):
            image.close()
    request = server.requests[-1]
    boundary = re.search(rb"--([0-9a-f]+)", request.body)[1]
    return request.body.replace(boundary, b""), stands


FORMS = [lambda path: RAW, lambda path: path, lambda path: path.open("rb"), lambda path: io.BytesIO(RAW),
         lambda path: Stream()]


@pytest.mark.parametrize("make", FORMS, ids=["bytes", "path", "file", "memory", "stream"])
def test_the_request_is_the_same_with_and_without_us(server, seen, content, picture, make):
    without = _sent(server, make, picture)
    backspan.instrument.imported(openai)
    try:
        assert _sent(server, make, picture) == without
    finally:
        backspan.instrument.uninstrument()
    assert len(seen.spans) == 1 and RAW in without[0]


def test_twin_a_file_that_we_read_would_be_noticed(server, seen, content, picture, monkeypatch):
    def reading(given, api):
        for _, file in given:
            if hasattr(file, "read"):
                file.read(3)
                file.close()
        return []

    monkeypatch.setattr("backspan.instrument._openai_media.parts_of", reading)
    without = _sent(server, FORMS[2], picture)
    backspan.instrument.imported(openai)
    try:
        with pytest.raises(ValueError, match="closed"):
            assert _sent(server, FORMS[2], picture) != without
    finally:
        backspan.instrument.uninstrument()
