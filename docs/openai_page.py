"""The reference page of what openai's client does and which span that makes, from the table that decides it."""

from __future__ import annotations

from backspan.instrument._openai_apis import APIS, Api

CALLS = {
    "/chat/completions": "`chat.completions.create`, `.parse`, `.stream`",
    "/responses": "`responses.create`, `.parse`, `.stream`",
    "/embeddings": "`embeddings.create`",
    "/responses/{response_id}": "`responses.retrieve`, `responses.stream(response_id=…)`",
    "/responses/{response_id}/cancel": "`responses.cancel`",
    "/completions": "`completions.create`",
    "/images/generations": "`images.generate`",
    "/images/edits": "`images.edit`",
    "/images/variations": "`images.create_variation`",
    "/videos": "`videos.create`",
    "/videos/edits": "`videos.edit`",
    "/videos/extensions": "`videos.extend`",
    "/videos/{video_id}/remix": "`videos.remix`",
    "/audio/speech": "`audio.speech.create`",
    "/audio/transcriptions": "`audio.transcriptions.create`",
    "/audio/translations": "`audio.translations.create`",
    "/moderations": "`moderations.create`",
    "/decisions": "`decisions.create`",
    "/vector_stores/{vector_store_id}/search": "`vector_stores.search`",
    "/threads/runs": "`beta.threads.create_and_run`, `.create_and_run_stream`",
    "/threads/{thread_id}/runs": "`beta.threads.runs.create`, `.stream`",
    "/threads/{thread_id}/runs/{run_id}/submit_tool_outputs":
        "`beta.threads.runs.submit_tool_outputs`, `.submit_tool_outputs_stream`",
    "/agents/sessions": "`beta.agents.sessions.create`, with `input`",
    "/agents/sessions/{session_id}/events": "`beta.agents.sessions.events.stream`, `beta.agents.sessions.stream`",
}
"""Path -> what the application calls."""

_SUBJECTS = {"retrieval": " {store}", "fetch_response": "", "invoke_agent": ""}

_TEXT = """\
# OpenAI

Which calls of the `openai` package (1.26 to 3) make a span. It is one span per call, of kind `CLIENT`, whatever the
way of calling: synchronous or not, streamed or not, `with_raw_response`, `with_streaming_response`, `client.post`, a
copy made by `with_options`, Azure, Bedrock or Vertex. Retries are inside. A call that is not on this page makes none:
no model runs (`models.list`, `files`, `batches`, `responses.input_items`, a thread's messages), or what runs answers
elsewhere (`responses.compact`, fine-tuning, `evals`; what is sent to an agent's session that is there already, and
automations).

| call | span | answer | stream | request |
| --- | --- | --- | --- | --- |
ROWS

*Answer*: the result counts in `backspan.answers` and can be judged. *Stream*: a stream is followed to its end, with
outcome, first chunk and first content. Where a deployment of Azure's stands for the model, it is in the span's name.

## Operations

Names are those of the OpenTelemetry GenAI conventions where they have one. A picture or a video is
`generate_content`, with `gen_ai.output.type` for pictures; cancelling a response is the fetching of it,
`fetch_response`; a run of an assistant is `invoke_agent`. The conventions have no name for `speech`, `transcription`,
`translation`, `moderation` and `decision`; they are not `generate_content`, because that is an answer and these are
not: a reply that is read aloud is still one reply. Inference has the metrics `gen_ai.client.inference.*`, everything
else `gen_ai.client.operation.duration`. `openai.api.type` is the conventions' `chat_completions` or `responses`, else
the name of the resource.

## Responses

`prompt={"id", "version"}` becomes `gen_ai.prompt.name` and `gen_ai.prompt.version`; variables are not recorded. A
response created with `background=True` is no answer yet: its span says `gen_ai.response.status`. It becomes one, with
the model and the prompt it was asked with, when the same process first fetches it complete; a process that did not ask
takes both from the response. `fetch_response` has no tokens, as the conventions want it: those of a background response
are not counted. That a fetched response failed is not an error of the fetching.

What the provider's `file_search` found is a span `retrieval` below that of the answer, with
`backspan.retrieval.server_side`: it has the time of the answer's end and no length, since nobody says when the search
began. Documents are in it if the request has `include=["file_search_call.results"]`. `vector_stores.search` makes a
span of the same shape. Ids and scores are always recorded, names of files, texts and the query only with content on.

## Agent sessions

A session of `beta.agents` is seen where its events are streamed: one span `invoke_agent` per stream, with the tokens of
all turns that ended in it. A stream that is closed between two turns is `complete`. A session that is created with
`input` and not streamed is a span too, without an answer; one that is created with nothing to do is none. What is sent
to a session later is not recorded: its effect is in the events.

## Pictures and sound

Tokens are told apart by modality (`gen_ai.usage.image.*`, `gen_ai.usage.audio.*`), and the metrics of inference carry
`gen_ai.token.modality`. Speech is never read for us: the span ends when the application has read it, or closed it.
With content on, a picture is its type, size and hash, or its address without the query; so is what is uploaded, where
it is in memory (bytes, a path, an `io.BytesIO`). Of an open file it is the size and the masked name, and a stream is
not touched. A video is a job, and never an answer.

## WebSockets

`realtime.connect`, `beta.realtime.connect` and `responses.connect`: one span `chat {model}` per response, none for
the connection, as the conventions have none. It begins with `response.create`, or with `response.created` where the
provider begins by itself, and ends with the event that ends the response. `backspan.stream.outcome` is `cancelled`
for an answer that was interrupted (`backspan.stream.interrupted_by` says by what), `closed` where the application
closed the connection first, `disconnected` where it was lost, `incomplete` where the provider closed it. A session's
instructions count as those of its responses. Sound is not recorded, but its transcript is, with content on, where
there is one. Responses that share a connection on lanes (`ResponsesWebSocketSession`) are told apart.

In `realtime.translations.connect`, `live.connect` and `live.forks.connect` nothing begins or ends an answer, so there
the session is the span: `translation {model}` or `chat {model}`, from the message that starts it to `session.closed`
or the end of the connection, with `backspan.audio.seconds` where the provider says it and, with content on, the
transcripts (100,000 characters at most). A Live session counts as one answer, and its length in
`gen_ai.client.operation.duration` only. The provider names no tokens for them. What a Live session has the Responses
API do is a span `chat {model}` beneath its own, with tokens. Decisions that a Live session takes by itself are not
recorded, nor is what `live.sideband` overhears of a session that is held elsewhere, such as in a browser.
"""


def _row(path: str, api: Api) -> str:
    name = api.operation.name
    answer = {"fetch_response": "first complete", "invoke_agent": "streamed"}.get(
        name, "yes" if api.operation.answers and "video" not in path else "")
    return (f"| {CALLS[path]} | `{name}{_SUBJECTS.get(name, ' {model}')}` | {answer} | "
            f"{'yes' if api.fold else ''} | `{api.method.upper()} {path}` |")


def page() -> str:
    """The page; a path of the table that has no call here is an error."""
    return _TEXT.replace("ROWS", "\n".join(_row(path, api) for path, api in APIS.items()))
