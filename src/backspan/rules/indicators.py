"""The catalogue of what a chart can watch: for each indicator its PromQL and, side by side, its query of the store.

An indicator is a share: *bad* events among *all* events of a kind. Both readings come from the same two mappings of
label to value, so that the pager and the embedded server cannot drift apart. Only first votes count (``op="add"``):
a rater who changes their mind a thousand times is one event.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from backspan import semconv


def matchers(labels: Mapping[str, str]) -> str:
    """PromQL matchers of ``labels``, without braces: ``name="user_thumbs",op="add"``."""
    return ",".join(f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in labels.items())


@dataclass(frozen=True)
class Indicator:
    """A share of bad events.

    ``metric`` is a Prometheus counter, ``where`` selects its events and the store's (label -> value), ``bad`` selects
    the bad ones among them. Values are compared for equality; there are no patterns.
    """

    name: str
    description: str
    metric: str
    where: Mapping[str, str]
    bad: Mapping[str, str]

    @property
    def prom_total(self) -> str:
        """PromQL selector of all events."""
        return f"{self.metric}{{{matchers(self.where)}}}"

    @property
    def prom_bad(self) -> str:
        """PromQL selector of the bad events."""
        return f"{self.metric}{{{matchers({**self.where, **self.bad})}}}"


def _negative(name: str, feedback: str, description: str) -> Indicator:
    return Indicator(
        name,
        description,
        semconv.PROM_FEEDBACK,
        MappingProxyType({semconv.LABEL_NAME: feedback, semconv.LABEL_OP: semconv.ADD}),
        MappingProxyType({semconv.LABEL_POLARITY: semconv.NEGATIVE}),
    )


INDICATORS: Mapping[str, Indicator] = MappingProxyType(
    {
        indicator.name: indicator
        for indicator in (
            _negative("thumbs_down", semconv.USER_THUMBS, "Share of thumbs down among first votes with a thumb."),
            _negative("low_stars", semconv.USER_STARS, "Share of negative star ratings among first star ratings."),
        )
    }
)
"""Every indicator by name."""
