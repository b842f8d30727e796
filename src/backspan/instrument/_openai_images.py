"""Images and videos: what was asked for, what came back, and the events of a streamed picture. Pixels stay away."""

from __future__ import annotations

from typing import Any

from backspan import semconv
from backspan.instrument._call import Asked, Call, Operation
from backspan.instrument._content import Json, blob_part, each, media_part, peek, text_part
from backspan.instrument._openai_common import text_or_none
from backspan.instrument._openai_media import one_prompt, put_output, set_media_usage
from backspan.instrument._stream import Fold

OPERATION = Operation(semconv.GENERATE_CONTENT, answers=True)


def asked(body: Json, content: bool) -> Asked:
    """Read the fields of a request."""
    return one_prompt(body, content, "images", "prompt", "image")


def answered(call: Call, answer: Any, content: bool) -> None:
    """Read an `ImagesResponse`, or a `Bag` of one."""
    set_media_usage(call, peek(answer, "usage"), "image")
    pictures = each(peek(answer, "data"))
    call.finish_reasons = ["stop"] * len(pictures)
    if content and pictures:
        kind = peek(answer, "output_format")
        put_output(call, [part for picture in pictures for part in _parts(picture, kind)])


def _parts(picture: Any, kind: Any) -> list[Json]:
    revised, data, url = (peek(picture, name) for name in ("revised_prompt", "b64_json", "url"))
    parts = [text_part(revised)] if isinstance(revised, str) and revised else []
    if isinstance(data, str):
        parts.append(blob_part("image", f"image/{kind or 'png'}", data))
    elif isinstance(url, str):
        parts.append(media_part("image", url.partition("?")[0]))  # the query of such an address is a key to it
    return parts


class ImageFold(Fold[Any]):
    """Folds the events of a picture: partial ones are content already, the last one is the picture."""

    __slots__ = ("_content",)

    def __init__(self, call: Call, content: bool) -> None:
        super().__init__(call)
        self._content = content and call.recording

    def rare(self, chunk: Any) -> None:
        """Any event."""
        kind = str(peek(chunk, "type"))
        if kind == "error":
            self.call.error_type = text_or_none(peek(peek(chunk, "error"), "code")) or "error"
        self.said = self.said or kind.endswith((".partial_image", ".completed"))
        if not kind.endswith(".completed"):
            return
        self.terminal = True
        self.call.finish_reasons = ["stop"]
        set_media_usage(self.call, peek(chunk, "usage"), "image")
        if self._content:
            put_output(self.call, _parts(chunk, peek(chunk, "output_format")))

    def finish(self, outcome: str) -> str:
        """The last event said it all."""
        self.call.attributes[semconv.STREAM_CHUNKS] = self.chunks
        return outcome


# --- videos: a job is begun; when it is done, the application is told elsewhere ---------------------------------------
def video_asked(body: Json, content: bool) -> Asked:
    """Read the fields of a request for a video, or for a change of one."""
    return one_prompt(body, content, "videos", "prompt", None)


def video_answered(call: Call, answer: Any, content: bool) -> None:
    """Read a `Video`, or a `Bag` of one: it is a job, and nobody has seen an answer yet."""
    call.answers = False
    call.response_id = text_or_none(peek(answer, "id"))
    call.response_model = text_or_none(peek(answer, "model"))
    status = text_or_none(peek(answer, "status"))
    if status:
        call.attributes[semconv.RESPONSE_STATUS] = status
