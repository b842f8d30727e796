"""Every name that leaves this process: attributes, events, spans, metrics, labels and their Prometheus spelling.

Sources. *genai*: OpenTelemetry GenAI semantic conventions (open-telemetry/semantic-conventions-genai, development).
*otel*: OpenTelemetry semantic conventions (stable or release candidate). *own*: ours, under ``backspan.``, for what the
conventions lack; nothing of ours is put under ``gen_ai.``.
"""

from __future__ import annotations

from typing import Final

SCOPE: Final = "backspan"
"""Instrumentation scope of every signal."""

# --- genai: operation and provider ----------------------------------------------------------------------------------
OPERATION_NAME: Final = "gen_ai.operation.name"
PROVIDER_NAME: Final = "gen_ai.provider.name"
CONVERSATION_ID: Final = "gen_ai.conversation.id"
OUTPUT_TYPE: Final = "gen_ai.output.type"
DATA_SOURCE_ID: Final = "gen_ai.data_source.id"
PROMPT_NAME: Final = "gen_ai.prompt.name"
PROMPT_VERSION: Final = "gen_ai.prompt.version"
WORKFLOW_NAME: Final = "gen_ai.workflow.name"
EMBEDDINGS_DIMENSION: Final = "gen_ai.embeddings.dimension.count"

CHAT: Final = "chat"
EMBEDDINGS: Final = "embeddings"
RETRIEVAL: Final = "retrieval"
INVOKE_WORKFLOW: Final = "invoke_workflow"
TEXT_COMPLETION: Final = "text_completion"
FETCH_RESPONSE: Final = "fetch_response"
GENERATE_CONTENT: Final = "generate_content"
INVOKE_AGENT: Final = "invoke_agent"
AGENT_ID: Final = "gen_ai.agent.id"

# --- genai: request -------------------------------------------------------------------------------------------------
REQUEST_MODEL: Final = "gen_ai.request.model"
REQUEST_CHOICE_COUNT: Final = "gen_ai.request.choice.count"
REQUEST_SEED: Final = "gen_ai.request.seed"
REQUEST_STREAM: Final = "gen_ai.request.stream"
REQUEST_TOP_K: Final = "gen_ai.request.top_k"
REQUEST_TOP_P: Final = "gen_ai.request.top_p"
REQUEST_TEMPERATURE: Final = "gen_ai.request.temperature"
REQUEST_MAX_TOKENS: Final = "gen_ai.request.max_tokens"
REQUEST_FREQUENCY_PENALTY: Final = "gen_ai.request.frequency_penalty"
REQUEST_PRESENCE_PENALTY: Final = "gen_ai.request.presence_penalty"
REQUEST_STOP_SEQUENCES: Final = "gen_ai.request.stop_sequences"
REQUEST_ENCODING_FORMATS: Final = "gen_ai.request.encoding_formats"
REQUEST_PREVIOUS_RESPONSE_ID: Final = "gen_ai.request.previous_response.id"
REQUEST_REASONING_LEVEL: Final = "gen_ai.request.reasoning.level"
REQUEST_STREAM_CURSOR: Final = "gen_ai.request.stream_cursor"

# --- genai: response and usage --------------------------------------------------------------------------------------
RESPONSE_ID: Final = "gen_ai.response.id"
RESPONSE_MODEL: Final = "gen_ai.response.model"
RESPONSE_STATUS: Final = "gen_ai.response.status"
RESPONSE_FINISH_REASONS: Final = "gen_ai.response.finish_reasons"
RESPONSE_TIME_TO_FIRST_CHUNK: Final = "gen_ai.response.time_to_first_chunk"
USAGE_INPUT_TOKENS: Final = "gen_ai.usage.input_tokens"
USAGE_OUTPUT_TOKENS: Final = "gen_ai.usage.output_tokens"
USAGE_CACHE_READ_INPUT_TOKENS: Final = "gen_ai.usage.cache_read.input_tokens"
USAGE_CACHE_WRITE_INPUT_TOKENS: Final = "gen_ai.usage.cache_write.input_tokens"
USAGE_REASONING_OUTPUT_TOKENS: Final = "gen_ai.usage.reasoning.output_tokens"
USAGE_AUDIO_INPUT_TOKENS: Final = "gen_ai.usage.audio.input_tokens"
USAGE_AUDIO_OUTPUT_TOKENS: Final = "gen_ai.usage.audio.output_tokens"
USAGE_IMAGE_INPUT_TOKENS: Final = "gen_ai.usage.image.input_tokens"
USAGE_IMAGE_OUTPUT_TOKENS: Final = "gen_ai.usage.image.output_tokens"
USAGE_TEXT_INPUT_TOKENS: Final = "gen_ai.usage.text.input_tokens"
USAGE_TEXT_OUTPUT_TOKENS: Final = "gen_ai.usage.text.output_tokens"
TOKEN_MODALITY: Final = "gen_ai.token.modality"
TOKEN_TYPE: Final = "gen_ai.token.type"
"""Label of the older `gen_ai.client.token.usage` only."""

# --- genai: content (opt-in) ----------------------------------------------------------------------------------------
INPUT_MESSAGES: Final = "gen_ai.input.messages"
OUTPUT_MESSAGES: Final = "gen_ai.output.messages"
SYSTEM_INSTRUCTIONS: Final = "gen_ai.system_instructions"
TOOL_DEFINITIONS: Final = "gen_ai.tool.definitions"
RETRIEVAL_QUERY: Final = "gen_ai.retrieval.query.text"
RETRIEVAL_DOCUMENTS: Final = "gen_ai.retrieval.documents"
RETRIEVAL_TOP_K: Final = "gen_ai.retrieval.top_k"

# --- genai: provider refinements ------------------------------------------------------------------------------------
OPENAI_API_TYPE: Final = "openai.api.type"
OPENAI_REQUEST_SERVICE_TIER: Final = "openai.request.service_tier"
OPENAI_RESPONSE_SERVICE_TIER: Final = "openai.response.service_tier"
OPENAI_SYSTEM_FINGERPRINT: Final = "openai.response.system_fingerprint"

# --- genai: evaluation ----------------------------------------------------------------------------------------------
EVALUATION_EVENT: Final = "gen_ai.evaluation.result"
EVALUATION_NAME: Final = "gen_ai.evaluation.name"
EVALUATION_SCORE_VALUE: Final = "gen_ai.evaluation.score.value"
EVALUATION_SCORE_LABEL: Final = "gen_ai.evaluation.score.label"
EVALUATION_EXPLANATION: Final = "gen_ai.evaluation.explanation"
EVALUATION_SPAN: Final = "evaluation {name}"
"""Name of a feedback span; ``{name}`` is the evaluation's name."""

# --- otel -----------------------------------------------------------------------------------------------------------
ERROR_TYPE: Final = "error.type"
SERVER_ADDRESS: Final = "server.address"
SERVER_PORT: Final = "server.port"
SERVICE_NAME: Final = "service.name"
SERVICE_INSTANCE_ID: Final = "service.instance.id"
ENVIRONMENT: Final = "deployment.environment.name"
VARIANT: Final = "feature_flag.result.variant"
FEATURE_FLAG_KEY: Final = "feature_flag.key"
ENDUSER_PSEUDO_ID: Final = "enduser.pseudo.id"

# --- own: what the application says about a call --------------------------------------------------------------------
TURN_ID: Final = "backspan.turn.id"
SEGMENT: Final = "backspan.segment"
ROLE: Final = "backspan.role"
REGION: Final = "backspan.region"
CONSENT: Final = "backspan.consent"
JOIN_KEY: Final = "backspan.join_key"
"""What the business knows a turn by (a ticket, an order), so that its outcome finds the turn."""
INDEX_NAME: Final = "backspan.index.name"
INDEX_VERSION: Final = "backspan.index.version"
PROMPT_HASH: Final = "backspan.prompt.hash"
"""Keyed hash of the system instructions, 16 hex digits."""

# --- own: operations that the conventions have no name for -----------------------------------------------------------
SPEECH: Final = "speech"
TRANSCRIPTION: Final = "transcription"
TRANSLATION: Final = "translation"
MODERATION: Final = "moderation"
DECISION: Final = "decision"

# --- own: streams, retrieval, content -------------------------------------------------------------------------------
STREAM_OUTCOME: Final = "backspan.stream.outcome"
STREAM_CHUNKS: Final = "backspan.stream.chunks"
STREAM_TIME_TO_FIRST_CONTENT: Final = "backspan.stream.time_to_first_content"
STREAM_INTERRUPTED_BY: Final = "backspan.stream.interrupted_by"
"""What cut a spoken answer short: `turn_detected` (the user spoke) or `client_cancelled`."""
RETRIEVAL_DOCUMENT_COUNT: Final = "backspan.retrieval.document.count"
RETRIEVAL_SCORE_MAX: Final = "backspan.retrieval.score.max"
RETRIEVAL_DOCUMENT_IDS: Final = "backspan.retrieval.document.ids"
RETRIEVAL_DOCUMENT_SCORES: Final = "backspan.retrieval.document.scores"
RETRIEVAL_SERVER_SIDE: Final = "backspan.retrieval.server_side"
"""True: the provider searched while it answered (`file_search`); how long that took it does not say."""
INPUT_MESSAGE_COUNT: Final = "backspan.input.message.count"
INPUT_CHARACTERS: Final = "backspan.input.characters"
AUDIO_SECONDS: Final = "backspan.audio.seconds"
"""Length of the sound that was transcribed, in seconds, where the provider says it."""
MODERATION_FLAGGED: Final = "backspan.moderation.flagged"
"""Whether any of the inputs was flagged."""
MODERATION_CATEGORIES: Final = "backspan.moderation.categories"
"""Categories in which an input was flagged, sorted."""
CONTENT_TRUNCATED: Final = "backspan.content.truncated"
"""What budgets left out of the content: one text for each attribute cut, such as
``gen_ai.input.messages: 3 messages, 1200 characters``. Absent: nothing."""
CONTENT_DROPPED: Final = "backspan.content.dropped"
"""True on a span whose content had to go because the queue of the exporter was full."""
TRACE_PROMOTED: Final = "backspan.trace.promoted"
"""True on a span that the sampler had left out and that was sent because its answer was judged bad. Such spans are no
fair sample: leave them out of rates."""
REDACTION_ENTITIES: Final = "backspan.redaction.entities"
"""How often each kind was masked in the content of the span, as one integer attribute a kind: the kind follows after a
dot, ``backspan.redaction.entities.email``. ``redacted`` counts texts that were lost whole, as a rule failed."""
REDACTION_POLICY: Final = "backspan.redaction.policy"
"""Version of what masked the content of the span: equal as long as the same text is masked the same way."""

OUTCOMES: Final = ("complete", "closed", "cancelled", "abandoned", "disconnected", "failed", "incomplete")
"""Values of `STREAM_OUTCOME`: how a stream ended, said exactly once."""

# --- own: how a call went --------------------------------------------------------------------------------------------
REQUEST_ID: Final = "backspan.request.id"
"""The provider's id of the last HTTP request, for its support: header `x-request-id`, else `apim-request-id` or
`request-id`."""
RETRY_COUNT: Final = "backspan.retry.count"
"""Attempts after the first, made by the client within the call. Absent: none."""
RETRY_DELAY: Final = "backspan.retry.delay"
"""Seconds that the client waited between attempts, in all."""
RATELIMIT_REMAINING_REQUESTS: Final = "backspan.ratelimit.remaining.requests"
"""Requests left in the provider's window: header `x-ratelimit-remaining-requests` of the last response, errors too."""
RATELIMIT_REMAINING_TOKENS: Final = "backspan.ratelimit.remaining.tokens"
"""Tokens left in the provider's window: header `x-ratelimit-remaining-tokens` of the last response, errors too."""
USAGE_ESTIMATED: Final = "backspan.usage.estimated"
"""True: the stream was cut before the provider said what it billed, so tokens are a quarter of the UTF-8 bytes of what
arrived, and a quarter of the characters sent plus 4 for each message. Images, sounds and tools are not in it. Also a
label of the token metrics then."""
COST: Final = "backspan.cost.usd"
"""US dollars by the price list of `genai-prices` (extra `cost`) for the model that answered. Absent: none known."""
MODEL_DIFFERS: Final = "backspan.response.model.differs"
"""True: the model that answered is neither the one asked for nor a dated or tagged version of it."""
REFUSED: Final = "backspan.response.refused"
"""True: the model refused (a `refusal` in the answer), or a content filter cut it."""
TOOL_CALL_COUNT: Final = "backspan.tool_call.count"
"""Tool calls that the answer asks the application for. Absent: none."""
TOOL_CALL_INVALID: Final = "backspan.tool_call.invalid"
"""Those of them whose arguments are not a JSON object. Set whenever there are tool calls."""
SCHEMA_FAILED: Final = "backspan.schema.failed"
"""True: JSON was asked for, and the answer is not JSON or the client's parser would not take it."""
CONFIDENCE_MEAN: Final = "backspan.confidence.mean"
"""Geometric mean of the probabilities of the answer's tokens, 0 to 1, where the application asked for
log-probabilities."""
CONFIDENCE_MIN: Final = "backspan.confidence.min"
"""Probability of the answer's least likely token, 0 to 1, where the application asked for log-probabilities."""

# --- own: feedback --------------------------------------------------------------------------------------------------
FEEDBACK_ID: Final = "backspan.feedback.id"
FEEDBACK_VERSION: Final = "backspan.feedback.version"
FEEDBACK_OP: Final = "backspan.feedback.op"
FEEDBACK_POLARITY: Final = "backspan.feedback.polarity"
FEEDBACK_SOURCE: Final = "backspan.feedback.source"
FEEDBACK_REASONS: Final = "backspan.feedback.reasons"
FEEDBACK_COMMENT: Final = "backspan.feedback.comment"
FEEDBACK_CORRECTION: Final = "backspan.feedback.correction"
FEEDBACK_DELAY: Final = "backspan.feedback.delay"
FEEDBACK_TRACE_ID: Final = "backspan.feedback.trace_id"
FEEDBACK_SPAN_ID: Final = "backspan.feedback.span_id"
FEEDBACK_RESOLVED: Final = "backspan.feedback.resolved"
FEEDBACK_SOLICITED: Final = "backspan.feedback.solicited"
"""Whether the judgement was asked for; absent where nobody said so."""
FEEDBACK_SCALE: Final = "backspan.feedback.scale"
"""Name of the declared scale of the score, such as ``csat``; absent for the names that are built in."""
FEEDBACK_QUOTE_HASH: Final = "backspan.feedback.quote.hash"
"""SHA-256 of the part of the answer that was marked, after redaction: 32 hex digits."""
FEEDBACK_QUOTE_START: Final = "backspan.feedback.quote.start"
FEEDBACK_QUOTE_END: Final = "backspan.feedback.quote.end"
"""Characters of the answer, from 0; the end is not in it."""
FEEDBACK_EDIT_RATIO: Final = "backspan.feedback.edit_ratio"
"""How much a correction changes the answer: Levenshtein distance over the length of the longer, 0 to 1."""
FEEDBACK_ROLE: Final = "backspan.feedback.role"
"""On the links of a comparison: `chosen`, `rejected`, `tied`, or `ranked` where there are more than two."""
FEEDBACK_RANK: Final = "backspan.feedback.rank"
"""On the links of a comparison: 1 is the best, equal ranks are a tie."""
FEEDBACK_POSITION: Final = "backspan.feedback.position"
"""On the links of a comparison: where the answer was shown, from 1."""
FEEDBACK_PROBABILITY: Final = "backspan.feedback.probability"
"""Probability with which this answer's rater was asked."""

USER_THUMBS: Final = "user_thumbs"
USER_STARS: Final = "user_stars"
USER_CORRECTION: Final = "user_correction"
USER_PREFERENCE: Final = "user_preference"
NAME_PREFIXES: Final = ("user_", "implicit_", "evaluator_", "review_", "outcome_")

NEGATIVE: Final = "negative"
NEUTRAL: Final = "neutral"
POSITIVE: Final = "positive"
POLARITIES: Final = (NEGATIVE, NEUTRAL, POSITIVE)

ADD: Final = "add"
CHANGE: Final = "change"
RETRACT: Final = "retract"
UNCHANGED: Final = "unchanged"
OPS: Final = (ADD, CHANGE, RETRACT)

SOURCES: Final = ("end_user", "implicit", "evaluator", "reviewer", "outcome", "operator")
END_USER: Final = "end_user"
IMPLICIT: Final = "implicit"
OUTCOME: Final = "outcome"
IMPLICIT_PREFIX: Final = "implicit_"
OUTCOME_PREFIX: Final = "outcome_"

ASKED: Final = "asked"
VOLUNTEERED: Final = "volunteered"
SOLICITED: Final = (ASKED, VOLUNTEERED)
"""Values of `LABEL_SOLICITED`."""

REJECTIONS: Final = ("token", "expired", "origin", "rate", "size", "schema", "name", "revisions", "idempotency")
"""Values of ``reason`` on `FEEDBACK_REJECTED`."""

LE_1H: Final = "le_1h"
LE_1D: Final = "le_1d"
OLDER: Final = "older"
AGES: Final = (LE_1H, LE_1D, OLDER)

# --- metrics: instrument names --------------------------------------------------------------------------------------
INFERENCE_DURATION: Final = "gen_ai.client.inference.duration"
INFERENCE_TIME_TO_FIRST_CHUNK: Final = "gen_ai.client.inference.time_to_first_chunk"
INFERENCE_INPUT_TOKENS: Final = "gen_ai.client.inference.usage.input_tokens"
INFERENCE_OUTPUT_TOKENS: Final = "gen_ai.client.inference.usage.output_tokens"
OPERATION_DURATION: Final = "gen_ai.client.operation.duration"
"""Embeddings and retrieval; with ``BACKSPAN_SEMCONV=both`` inference as well."""
OLD_TOKEN_USAGE: Final = "gen_ai.client.token.usage"
OLD_TIME_TO_FIRST_CHUNK: Final = "gen_ai.client.operation.time_to_first_chunk"
ANSWERS: Final = "backspan.answers"
FEEDBACK: Final = "backspan.feedback"
FEEDBACK_REASONS_METRIC: Final = "backspan.feedback.reasons"
FEEDBACK_SCORE_METRIC: Final = "backspan.feedback.score"
FEEDBACK_DELAY_METRIC: Final = "backspan.feedback.delay"
FEEDBACK_SOLICITED_METRIC: Final = "backspan.feedback.solicited"
"""First judgements of end users of which it was said whether they were asked for. Those of which it was not said are
the rest of `FEEDBACK` with ``op="add"`` and ``source="end_user"``."""
FEEDBACK_SKIPS_METRIC: Final = "backspan.feedback.skips"
"""Questions that were skipped, by `LABEL_NAME`; a skip is no judgement."""
FEEDBACK_ESTIMATE: Final = "backspan.feedback.estimate"
"""Share of negative judgements among all answers that could be asked about, by `LABEL_NAME`, `LABEL_ESTIMATOR` and
`LABEL_STAT`."""
FEEDBACK_COVERAGE: Final = "backspan.feedback.coverage"
"""Share of the answers that users judged."""
FEEDBACK_STABILITY: Final = "backspan.feedback.representativeness"
"""Population stability index of the segments of judged answers against those of all: 0 is alike, above 0.2 is not."""
FEEDBACK_QUARANTINED: Final = "backspan.feedback.quarantined"
"""Votes that were held (and so left out of the net) or let go, by `LABEL_RULE` and `LABEL_ACTION`."""
LABEL_RULE: Final = "rule"
LABEL_ACTION: Final = "action"
"""`hold` or `release`."""
LABEL_REST: Final = "__overflow__"
"""Value of a label that has more values than are kept apart, for the rest. (The SDK has an attribute for whole series,
``otel.metric.overflow``; this is one label.)"""
LABEL_OVERFLOW_METRIC: Final = "backspan.label.overflow"
"""Judgements and answers of which a label was counted as ``__overflow__``, by `LABEL_LABEL`."""
LABEL_LABEL: Final = "label"
LABEL_ESTIMATOR: Final = "estimator"
"""`raw` (of those who were asked), `hajek` or `horvitz_thompson` (weighted to all)."""
COMPARISONS: Final = "backspan.comparisons"
"""Pairs of answers that were compared, by the variants of the better and the worse one."""
SIGNALS: Final = "backspan.signals"
"""First implicit signals, by `name` and `polarity`. They are counted in `FEEDBACK` too, under their own names."""
FEEDBACK_REJECTED: Final = "backspan.feedback.rejected"
"""Judgements, signals and outcomes that a gateway refused, by ``reason`` (one of `REJECTIONS`): of one process, since
it started."""
SATISFACTION: Final = "backspan.satisfaction.estimated"
"""What signals say of answers, 0 to 1, as a histogram of its own, by `LABEL_WEIGHTS`. It never enters a vote."""
SATISFACTION_AUC: Final = "backspan.satisfaction.auc"
"""How well it tells answers voted up from answers voted down (0.5 is chance), by `LABEL_WEIGHTS` and `LABEL_STAT`."""
OUTCOMES_METRIC: Final = "backspan.outcomes"
"""Outcomes told in the last 30 days, by `name`, `polarity` and `LABEL_GROUP`: a gauge, of a gateway."""
LABEL_GROUP: Final = "group"
"""`after_up` and `after_down`: pairs of an outcome and a thumb on the same answer. `assisted` and `unassisted`: work
with a model and without."""
GROUPS: Final = ("after_up", "after_down", "assisted", "unassisted")
TURNS_TO_RESOLUTION: Final = "backspan.turns_to_resolution"
"""Turns of a conversation until its user said that it works, or an outcome said so."""
COST_METRIC: Final = "backspan.cost.usd"
"""US dollars that calls cost; there is one only where the extra `cost` is installed."""

# --- metrics: with `BACKSPAN_METRICS=all` ----------------------------------------------------------------------------
INFERENCE_CACHE_READ_TOKENS: Final = "gen_ai.client.inference.usage.cache_read.input_tokens"
"""A part of the input tokens."""
INFERENCE_CACHE_WRITE_TOKENS: Final = "gen_ai.client.inference.usage.cache_write.input_tokens"
"""A part of the input tokens."""
INFERENCE_REASONING_TOKENS: Final = "gen_ai.client.inference.usage.reasoning.output_tokens"
"""A part of the output tokens."""
TIME_TO_FIRST_CONTENT: Final = "backspan.stream.time_to_first_content"
"""Seconds from the request to the first chunk that carries text, reasoning, a refusal or a tool call."""
STREAMS: Final = "backspan.streams"
"""Streams ended, by `backspan.stream.outcome`."""
RETRIES: Final = "backspan.retries"
"""Attempts after the first."""
RETRY_DELAY_METRIC: Final = "backspan.retry.delay"
"""Seconds waited between attempts."""
REFUSALS: Final = "backspan.refusals"
"""Answers that were refused or cut by a filter."""
TOOL_CALLS: Final = "backspan.tool_calls"
"""Tool calls asked for."""
TOOL_CALLS_INVALID: Final = "backspan.tool_calls.invalid"
"""Tool calls whose arguments are not a JSON object."""
SCHEMA_FAILURES: Final = "backspan.schema.failures"
"""Answers that are not the JSON that was asked for."""
MODEL_DIFFERENCES: Final = "backspan.response.model.differences"
"""Answers of another model than the one asked for."""
RATELIMIT_REMAINING: Final = "backspan.ratelimit.remaining"
"""What the last response said is left, by `LABEL_LIMIT`."""
LABEL_LIMIT: Final = "limit"
"""`requests` or `tokens`."""

# --- metrics: buckets -------------------------------------------------------------------------------------------------
# --- metrics: backspan about itself ---------------------------------------------------------------------------------
PLUGIN_FAULTS: Final = "backspan.plugin.faults"
"""Faults of ours that were swallowed, such as an answer that could not be read, by ``place``."""
PLUGIN_STREAMS: Final = "backspan.plugin.streams.open"
"""Calls and streams that have begun and not ended."""
PLUGIN_TIME: Final = "backspan.plugin.call.time"
"""Processor time that calls take for us on the application's threads: one run in 61 is measured and counts 61 times."""
PLUGIN_DROPPED: Final = "backspan.plugin.spans.dropped"
"""Spans that were lost, by ``kind`` and ``reason``; by the application's own provider too, as far as it tells."""
PLUGIN_STRIPPED: Final = "backspan.plugin.content.dropped"
"""Spans that were sent, or wait, without their content, as the queue was full or the endpoint refused it. This and the
rest about export: where the provider is ours."""
PLUGIN_DELIVERED: Final = "backspan.plugin.spans.delivered"
PLUGIN_RETRIES: Final = "backspan.plugin.export.retries"
PLUGIN_EXPORT_TIME: Final = "backspan.plugin.export.time"
PLUGIN_QUEUE_SPANS: Final = "backspan.plugin.queue.spans"
PLUGIN_QUEUE_BYTES: Final = "backspan.plugin.queue.bytes"
PLACE: Final = "place"
LOST_KIND: Final = "kind"
LOST_REASON: Final = "reason"

DURATION_BUCKETS: Final = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
"""Seconds, as the conventions give them."""
TOKEN_BUCKETS: Final = (1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864)
SCORE_BUCKETS: Final = (0.0, 0.25, 0.5, 0.75, 1.0, 2.0, 3.0, 4.0, 5.0)
SATISFACTION_BUCKETS: Final = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
TURN_BUCKETS: Final = (1.0, 2.0, 3.0, 5.0, 8.0, 13.0, 21.0)
DELAY_BUCKETS: Final = (1.0, 10.0, 60.0, 600.0, 3600.0, 21600.0, 86400.0, 604800.0, 2592000.0)

# --- metrics: votes by document (gauges of a gateway, for the worst documents only) -----------------------------------
DOCUMENT_VOTES: Final = "backspan.document.votes"
"""Votes of users on the answers that rest on a document, by `LABEL_POLARITY`."""
DOCUMENT_JUDGED: Final = "backspan.document.judged"
"""Judged answers that rest on it."""
DOCUMENT_SHARE: Final = "backspan.document.share"
"""Share of bad ones among them, by `LABEL_STAT`."""
DOCUMENT_LIFT: Final = "backspan.document.lift"
"""That share, as a multiple of the one of the judged answers of the same index version without it, by `LABEL_STAT`."""
LABEL_DOCUMENT: Final = "document_id"
"""The document's id as the retriever gave it: redacted, and cut to 80 characters."""
LABEL_STAT: Final = "stat"
STATS: Final = ("value", "low", "high")
"""Values of `LABEL_STAT`: an estimate and its bounds."""

# --- metrics: labels ------------------------------------------------------------------------------------------------
LABEL_NAME: Final = "name"
LABEL_POLARITY: Final = "polarity"
LABEL_OP: Final = "op"
LABEL_SOURCE: Final = "source"
LABEL_AGE: Final = "age"
LABEL_REASON: Final = "reason"
LABEL_SOLICITED: Final = "solicited"
LABEL_WEIGHTS: Final = "weights"
"""Version of the weights that an estimate was made with."""
SIGNAL_LABELS: Final = (LABEL_NAME, LABEL_POLARITY)
LABEL_WINNER: Final = "winner"
LABEL_LOSER: Final = "loser"
LABEL_RESULT: Final = "result"
"""`win` or `tie`."""
COMPARISON_LABELS: Final = (LABEL_NAME, LABEL_WINNER, LABEL_LOSER, LABEL_RESULT, LABEL_OP)
FEEDBACK_LABELS: Final = (LABEL_NAME, LABEL_POLARITY, LABEL_OP, LABEL_SOURCE, LABEL_AGE)
SOLICITED_LABELS: Final = (LABEL_NAME, LABEL_POLARITY, LABEL_SOLICITED)

DIMENSIONS: Final = (REQUEST_MODEL, PROMPT_NAME, PROMPT_VERSION, VARIANT, SEGMENT, INDEX_VERSION)
"""The allow list: what the application says about a call that becomes a label of `ANSWERS`, `FEEDBACK` and the other
metrics of ours. The environment and the service come from the resource. Ids and users never become labels."""

PROMOTED: Final = (SERVICE_NAME, "service.namespace", "service.version", ENVIRONMENT)
"""Resource attributes that Prometheus promotes to labels (`otlp.promote_resource_attributes`)."""

_UNITS: Final = {"s": "seconds"}


def prometheus_label(attribute: str) -> str:
    """Prometheus spelling of an attribute key: dots become underscores (``UnderscoreEscapingWithSuffixes``)."""
    return attribute.replace(".", "_")


def prometheus_name(instrument: str, *, counter: bool = False, unit: str = "") -> str:
    """Prometheus spelling of an instrument's name, with the suffixes of its unit and kind.

    ``unit`` is the UCUM unit; annotations in braces such as ``{token}`` add no suffix.
    """
    name = prometheus_label(instrument)
    if unit in _UNITS:
        name += f"_{_UNITS[unit]}"
    return f"{name}_total" if counter else name


PROM_ANSWERS: Final = prometheus_name(ANSWERS, counter=True)
PROM_FEEDBACK: Final = prometheus_name(FEEDBACK, counter=True)
PROM_FEEDBACK_REASONS: Final = prometheus_name(FEEDBACK_REASONS_METRIC, counter=True)
PROM_FEEDBACK_SCORE: Final = prometheus_name(FEEDBACK_SCORE_METRIC)
PROM_FEEDBACK_DELAY: Final = prometheus_name(FEEDBACK_DELAY_METRIC, unit="s")
PROM_FEEDBACK_SOLICITED: Final = prometheus_name(FEEDBACK_SOLICITED_METRIC, counter=True)
PROM_FEEDBACK_REJECTED: Final = prometheus_name(FEEDBACK_REJECTED, counter=True)
PROM_FEEDBACK_SKIPS: Final = prometheus_name(FEEDBACK_SKIPS_METRIC, counter=True)
PROM_FEEDBACK_QUARANTINED: Final = prometheus_name(FEEDBACK_QUARANTINED, counter=True)
PROM_LABEL_OVERFLOW: Final = prometheus_name(LABEL_OVERFLOW_METRIC, counter=True)
PROM_FEEDBACK_ESTIMATE: Final = prometheus_name(FEEDBACK_ESTIMATE)
PROM_FEEDBACK_COVERAGE: Final = prometheus_name(FEEDBACK_COVERAGE)
PROM_FEEDBACK_STABILITY: Final = prometheus_name(FEEDBACK_STABILITY)
PROM_COMPARISONS: Final = prometheus_name(COMPARISONS, counter=True)
PROM_DOCUMENT_VOTES: Final = prometheus_name(DOCUMENT_VOTES)
PROM_DOCUMENT_JUDGED: Final = prometheus_name(DOCUMENT_JUDGED)
PROM_DOCUMENT_SHARE: Final = prometheus_name(DOCUMENT_SHARE)
PROM_DOCUMENT_LIFT: Final = prometheus_name(DOCUMENT_LIFT)
PROM_SIGNALS: Final = prometheus_name(SIGNALS, counter=True)
PROM_SATISFACTION: Final = prometheus_name(SATISFACTION)
PROM_SATISFACTION_AUC: Final = prometheus_name(SATISFACTION_AUC)
PROM_OUTCOMES: Final = prometheus_name(OUTCOMES_METRIC)
PROM_TURNS_TO_RESOLUTION: Final = prometheus_name(TURNS_TO_RESOLUTION)
PROM_ENVIRONMENT: Final = prometheus_label(ENVIRONMENT)
PROM_SERVICE: Final = prometheus_label(SERVICE_NAME)
PROM_DIMENSIONS: Final = tuple(prometheus_label(key) for key in DIMENSIONS)
