"""Feedback comes back to its span.

The public names below are loaded when first used, so that ``import backspan`` costs nothing. While ``BACKSPAN`` is
unset they do nothing, except `record_outcome` and those with ``feedback`` in their names, which always work.
"""

# Neither `typing` nor `__future__` is imported: each interpreter would pay for it.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from backspan._retrieval import retrieval
    from backspan.context import current_turn, prompt, session, turn, variant
    from backspan.feedback.carry import feedback_event, feedback_fields, feedback_headers
    from backspan.feedback.outcome import record_outcome
    from backspan.feedback.record import feedback_token, record_feedback
    from backspan.redact import redactor
    from backspan.telemetry import flush

__all__ = [
    "current_turn",
    "feedback_event",
    "feedback_fields",
    "feedback_headers",
    "feedback_token",
    "flush",
    "prompt",
    "record_feedback",
    "record_outcome",
    "redactor",
    "retrieval",
    "session",
    "turn",
    "variant",
]

_HOMES = {
    "current_turn": "backspan.context",
    "feedback_event": "backspan.feedback.carry",
    "feedback_fields": "backspan.feedback.carry",
    "feedback_headers": "backspan.feedback.carry",
    "feedback_token": "backspan.feedback.record",
    "flush": "backspan.telemetry",
    "prompt": "backspan.context",
    "record_feedback": "backspan.feedback.record",
    "record_outcome": "backspan.feedback.outcome",
    "redactor": "backspan.redact",
    "retrieval": "backspan._retrieval",
    "session": "backspan.context",
    "turn": "backspan.context",
    "variant": "backspan.context",
}


def __getattr__(name: str) -> "Any":
    if name == "__version__":
        from importlib.metadata import version

        return version("backspan")
    if name not in _HOMES:
        raise AttributeError(f"module 'backspan' has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
