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
INDEX_NAME: Final = "backspan.index.name"
INDEX_VERSION: Final = "backspan.index.version"
PROMPT_HASH: Final = "backspan.prompt.hash"
"""Keyed hash of the system instructions, 16 hex digits."""

# --- own: streams, retrieval, content -------------------------------------------------------------------------------
STREAM_OUTCOME: Final = "backspan.stream.outcome"
STREAM_CHUNKS: Final = "backspan.stream.chunks"
STREAM_TIME_TO_FIRST_CONTENT: Final = "backspan.stream.time_to_first_content"
RETRIEVAL_DOCUMENT_COUNT: Final = "backspan.retrieval.document.count"
RETRIEVAL_SCORE_MAX: Final = "backspan.retrieval.score.max"
RETRIEVAL_DOCUMENT_IDS: Final = "backspan.retrieval.document.ids"
RETRIEVAL_DOCUMENT_SCORES: Final = "backspan.retrieval.document.scores"
INPUT_MESSAGE_COUNT: Final = "backspan.input.message.count"
INPUT_CHARACTERS: Final = "backspan.input.characters"
CONTENT_TRUNCATED: Final = "backspan.content.truncated"
REDACTION_ENTITIES: Final = "backspan.redaction.entities"

OUTCOMES: Final = ("complete", "closed", "cancelled", "abandoned", "disconnected", "failed", "incomplete")
"""Values of `STREAM_OUTCOME`: how a stream ended, said exactly once."""

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
SIGNALS: Final = "backspan.signals"

DURATION_BUCKETS: Final = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
"""Seconds, as the conventions give them."""
TOKEN_BUCKETS: Final = (1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864)
SCORE_BUCKETS: Final = (0.0, 0.25, 0.5, 0.75, 1.0, 2.0, 3.0, 4.0, 5.0)
DELAY_BUCKETS: Final = (1.0, 10.0, 60.0, 600.0, 3600.0, 21600.0, 86400.0, 604800.0, 2592000.0)

# --- metrics: labels ------------------------------------------------------------------------------------------------
LABEL_NAME: Final = "name"
LABEL_POLARITY: Final = "polarity"
LABEL_OP: Final = "op"
LABEL_SOURCE: Final = "source"
LABEL_AGE: Final = "age"
LABEL_REASON: Final = "reason"
FEEDBACK_LABELS: Final = (LABEL_NAME, LABEL_POLARITY, LABEL_OP, LABEL_SOURCE, LABEL_AGE)

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
PROM_SIGNALS: Final = prometheus_name(SIGNALS, counter=True)
PROM_ENVIRONMENT: Final = prometheus_label(ENVIRONMENT)
PROM_SERVICE: Final = prometheus_label(SERVICE_NAME)
PROM_DIMENSIONS: Final = tuple(prometheus_label(key) for key in DIMENSIONS)
