"""The trail of one conversation: its calls and retrievals, and what was thought of them, through TraceQL alone."""

from __future__ import annotations

# As in `backspan.dashboards.panels`: the SDK needs Python 3.11, and the checker is told 3.10.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportArgumentType=false
# pyright: reportUnknownArgumentType=false
from grafana_foundation_sdk.builders import table
from grafana_foundation_sdk.models import dashboard as models

from backspan import semconv
from backspan.dashboards import links, traceql
from backspan.dashboards.frame import Page, page, text
from backspan.dashboards.panels import column, link, spans, to_answer
from backspan.rules.spec import Spec

_THIS = traceql.equals(semconv.CONVERSATION_ID, "$conversation")


def dashboard(spec: Spec) -> models.Dashboard:
    """The dashboard; it does not depend on ``spec``."""
    about = Page(links.CONVERSATION, "conversation", "Everything that is known of one conversation.", (
        text("conversation", "Conversation", "Id of the conversation; the list at the bottom has the latest ones"),
    ), window=False)
    return page(about, {
        "Trail": [_calls(), _retrievals(), _judgements()],
        "Find a conversation": [_conversations()],
    })


def _calls() -> table.Panel:
    columns = {semconv.OPERATION_NAME: "operation", semconv.REQUEST_MODEL: "model", semconv.PROMPT_NAME: "prompt",
               semconv.PROMPT_VERSION: "version", semconv.USAGE_INPUT_TOKENS: "tokens in",
               semconv.USAGE_OUTPUT_TOKENS: "tokens out", semconv.ERROR_TYPE: "error",
               semconv.INPUT_MESSAGES: "asked", semconv.OUTPUT_MESSAGES: "answered"}
    condition = f"{_THIS} && kind = client && {traceql.known(semconv.REQUEST_MODEL)}"
    panel = spans("Model calls", "Calls to models in this conversation; the operation leads to their judgements. "
                  "Messages are there while content is recorded (`BACKSPAN=content`).",
                  traceql.spans(condition, columns, ""), columns)
    return link(panel, "operation", ("Judgements of it", links.feedback_on("${__data.fields.traceIdHidden}"))).height(8)


def _retrievals() -> table.Panel:
    columns = {semconv.RETRIEVAL_QUERY: "query", semconv.RETRIEVAL_DOCUMENT_IDS: "documents",
               semconv.RETRIEVAL_SCORE_MAX: "best score", semconv.INDEX_NAME: "index", semconv.INDEX_VERSION: "version"}
    condition = f"{_THIS} && {traceql.equals(semconv.OPERATION_NAME, semconv.RETRIEVAL)}"
    panel = spans("Retrievals", "What was looked up in this conversation, and found.",
                  traceql.spans(condition, columns, ""), columns)
    return column(panel, "best score", decimals=3).span(12).height(8)


def _judgements() -> table.Panel:
    columns = {semconv.EVALUATION_NAME: "kind", semconv.FEEDBACK_POLARITY: "verdict",
               semconv.FEEDBACK_REASONS: "reasons", semconv.FEEDBACK_COMMENT: "comment",
               semconv.FEEDBACK_TRACE_ID: "answer"}
    condition = f"{_THIS} && {traceql.known(semconv.FEEDBACK_POLARITY)}"
    return to_answer(spans("Judgements", "What was thought of the answers of this conversation: votes, signals, "
                           "verdicts.", traceql.spans(condition, columns, ""), columns, timed=False)).span(12).height(8)


def _conversations() -> table.Panel:
    columns = {semconv.CONVERSATION_ID: "conversation", semconv.REQUEST_MODEL: "model",
               semconv.PROMPT_VERSION: "version", semconv.SEGMENT: "segment"}
    chats = "|".join((semconv.CHAT, semconv.TEXT_COMPLETION))
    condition = f'{traceql.known(semconv.CONVERSATION_ID)} && span.{semconv.OPERATION_NAME} =~ "{chats}"'
    panel = spans("Latest conversations", "Latest calls that belong to a conversation, of the cohort chosen above. A "
                  "click on the id shows its trail.", traceql.spans(condition, columns), columns)
    trail = links.dashboard(links.CONVERSATION, {"conversation": "${__value.raw}"})
    return link(panel, "conversation", ("Its trail", trail))
