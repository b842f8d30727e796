"""TraceQL of the panels. A number in TraceQL has a decimal point: scores are doubles, and Tempo finds nothing else."""

from __future__ import annotations

from collections.abc import Iterable

from backspan import semconv

_SERVICE = f"resource.{semconv.SERVICE_NAME} =~ \"$service\""
_ANY = ".*"
"""Value of a variable whose "All" is chosen. An attribute that is missing does not match it, so it is asked for."""
# ... and after the attribute: with the constant first, Tempo 2.9 leaves out the spans that lack the attribute


def _chosen(variable: str, attribute: str) -> str:
    return f'({attribute} =~ "${variable}" || "${variable}" = "{_ANY}")'


PLACE = f"{_SERVICE} && {_chosen('environment', f'resource.{semconv.ENVIRONMENT}')}"
"""The chosen service and environment."""
COHORT = (f"{PLACE} && {_chosen('prompt', f'span.{semconv.PROMPT_NAME}')}"
          f" && {_chosen('version', f'span.{semconv.PROMPT_VERSION}')}")
"""The chosen cohort."""


def spans(condition: str, show: Iterable[str], cohort: str = COHORT) -> str:
    """Spans of the chosen cohort, newest first, with the span attributes to show."""
    shown = ", ".join(f"span.{key}" for key in show)
    where = " && ".join(part for part in (cohort, condition) if part)
    return f"{{ {where} }} | select({shown}) with (most_recent=true)"


def equals(key: str, value: str) -> str:
    """A condition on a span attribute."""
    return f'span.{key} = "{value}"'


def known(key: str) -> str:
    """The span has the attribute."""
    return f"span.{key} != nil"
