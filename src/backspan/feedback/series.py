"""The zero of every feedback series: Prometheus must see 0 before 1, or the first vote of a cohort is no increase.

Importing this module registers `open_series` with `context.on_first_answer`; ``feedback.emit`` need not be loaded.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product

from backspan import semconv, telemetry
from backspan.config import settings
from backspan.context import on_first_answer

NAMES = (semconv.USER_THUMBS, semconv.USER_STARS)
POLARITIES = (semconv.NEGATIVE, semconv.POSITIVE)


def open_series(dims: Mapping[str, str]) -> None:
    """Add 0 to the first votes of end users for the cohort ``dims``: of each polarity and age, asked for and not.

    Nothing is added when votes go to a gateway: then its counters are the only ones.
    """
    if settings().gateway_url is not None:
        return
    made = telemetry.instruments()
    full = made.bounds.of({key: dims.get(key, "") for key in semconv.DIMENSIONS})
    for name, polarity, age in product(NAMES, POLARITIES, semconv.AGES):
        said = (name, polarity, semconv.ADD, semconv.END_USER, age)
        made.feedback.add(0, {**dict(zip(semconv.FEEDBACK_LABELS, said, strict=True)), **full})
    for said in product(NAMES, POLARITIES, semconv.SOLICITED):
        made.feedback_solicited.add(0, {**dict(zip(semconv.SOLICITED_LABELS, said, strict=True)), **full})


if open_series not in on_first_answer:
    on_first_answer.append(open_series)
