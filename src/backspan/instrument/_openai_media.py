"""What the APIs that make or take pictures and sound have in common: usage by modality, and a prompt as content."""

from __future__ import annotations

from typing import Any

from backspan import semconv
from backspan.instrument._call import Asked, Call
from backspan.instrument._content import Json, field, text_part
from backspan.instrument._openai_common import common_attributes, put_content
from backspan.instrument._openai_files import FILES, parts_of

_TOLD, _SAID = ("input_tokens_details", "input_token_details"), ("output_tokens_details", "output_token_details")
_MODALITIES = ("text", "image", "audio")
_KEYS = {
    "text": (semconv.USAGE_TEXT_INPUT_TOKENS, semconv.USAGE_TEXT_OUTPUT_TOKENS),
    "image": (semconv.USAGE_IMAGE_INPUT_TOKENS, semconv.USAGE_IMAGE_OUTPUT_TOKENS),
    "audio": (semconv.USAGE_AUDIO_INPUT_TOKENS, semconv.USAGE_AUDIO_OUTPUT_TOKENS),
}


def one_prompt(body: Json, content: bool, api: str, name: str, made: str | None) -> Asked:
    """Read a request of ``api`` whose prompt is one text in the field ``name``; ``made``: the type of output asked for.

    Its sizes are kept, and with ``content`` the prompt as a user's message, and the files that go with it.
    """
    attributes, model = common_attributes(body, api)
    if made is not None:
        attributes[semconv.OUTPUT_TYPE] = made
    prompt, files, recorded = body.get(name), body.get(FILES), Json()
    said = prompt if isinstance(prompt, str) else ""
    attributes[semconv.INPUT_MESSAGE_COUNT] = 1 if said or files else 0
    attributes[semconv.INPUT_CHARACTERS] = len(said)
    if content and (said or files):
        parts = [*([text_part(said)] if said else ()), *parts_of(files, api)]
        put_content(recorded, semconv.INPUT_MESSAGES, [{"role": "user", "parts": parts}])
    return Asked(model, attributes, None, recorded)


def put_output(call: Call, parts: list[Json], reason: str = "stop") -> None:
    """Set the answer as one message of an assistant."""
    if call.recording:
        said = {"role": "assistant", "parts": parts, "finish_reason": reason}
        put_content(call.attributes, semconv.OUTPUT_MESSAGES, [said])


def set_media_usage(call: Call, usage: Any, made: str) -> None:
    """Take tokens, and their parts by modality; what is not told apart is text coming in, ``made`` going out.

    A length in seconds, which older speech models bill, is recorded as such.
    """
    if usage is None:
        return
    seconds, told, said = (field(usage, name) for name in ("seconds", "input_tokens", "output_tokens"))
    if isinstance(seconds, int | float):
        call.attributes[semconv.AUDIO_SECONDS] = float(seconds)
    call.input_tokens = told if isinstance(told, int) else call.input_tokens
    call.output_tokens = said if isinstance(said, int) else call.output_tokens
    split_usage(call, usage, made)


def split_usage(call: Call, usage: Any, made: str) -> None:
    """Tell the tokens that ``call`` knows apart by modality, as far as ``usage`` does."""
    told, said = _parts(usage, _TOLD), _parts(usage, _SAID)
    for modality in _MODALITIES:
        for key, count in zip(_KEYS[modality], (told.get(modality), said.get(modality)), strict=True):
            if count:
                call.attributes[key] = count
    rest_told = (call.input_tokens or 0) - sum(told.values())
    rest_said = (call.output_tokens or 0) - sum(said.values())
    told["text"] = told.get("text", 0) + max(rest_told, 0)
    said[made] = said.get(made, 0) + max(rest_said, 0)
    if call.input_tokens is not None or call.output_tokens is not None:
        call.modalities = {each: (told.get(each, 0), said.get(each, 0))
                           for each in _MODALITIES if told.get(each) or said.get(each)}


def _parts(usage: Any, names: tuple[str, str]) -> dict[str, int]:
    details = field(usage, names[0]) or field(usage, names[1])
    counts = {modality: field(details, f"{modality}_tokens") for modality in _MODALITIES} if details else {}
    return {modality: count for modality, count in counts.items() if isinstance(count, int)}
