"""What kinds of indicators a canary compares, and which of a spec's are of one kind."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from types import MappingProxyType

from backspan import semconv
from backspan.rules import series
from backspan.rules.indicators import INDICATORS, Events, Indicator
from backspan.rules.spec import Canary

SETTLE = 3600
"""Seconds after which signals per answer are compared: the age of the feedback that is counted."""
LEAST_BATCHES = 20
"""Degrees of freedom before a measured dispersion is believed."""
_ABOUT_ABSENCE = ("feedback_coverage", "feedback_volume")
_FEEDBACK = (semconv.PROM_FEEDBACK, semconv.PROM_FEEDBACK_REASONS)


def watched(canary: Canary, name: str) -> Indicator:
    """The catalogue's indicator, of young feedback and of answers that say their variant."""
    one = INDICATORS[name]
    bad, good = (_of_arms(canary, events) if events else None for events in (one.bad, one.good))
    return replace(one, total=_of_arms(canary, one.total), bad=bad, good=good)


def _of_arms(canary: Canary, events: Events) -> Events:
    young = {semconv.LABEL_AGE: semconv.LE_1H} if events.metric in _FEEDBACK else {}
    return replace(events.narrowed(young), unlike=MappingProxyType({**events.unlike, canary.by: ""}))


def relative(indicator: Indicator) -> bool:
    """Tell whether ``difference`` is a share of the rate: tokens and money are no shares."""
    return indicator.kind == "rate" and indicator.unit != "percentunit"


def clustered(indicator: Indicator) -> bool:
    """Tell whether several events come with one unit of exposure, so that their dispersion must be measured."""
    return indicator.kind == "rate" and (relative(indicator) or indicator.counted.metric in _FEEDBACK[1:])


def signal(indicator: Indicator) -> bool:
    """Tell whether feedback is counted per answer, so that it lags and its absence may mean that nobody sends it."""
    events = indicator.counted
    return indicator.kind == "rate" and indicator.total.metric == semconv.PROM_ANSWERS and events.metric in _FEEDBACK


def settles(indicator: Indicator) -> bool:
    """Tell whether counting begins only after `SETTLE` seconds."""
    return signal(indicator)


def must_be_sent(indicator: Indicator) -> bool:
    """Tell whether an arm without any event may just not send them."""
    return signal(indicator) and indicator.name not in _ABOUT_ABSENCE


def names(canary: Canary, wanted: Callable[[Indicator], bool]) -> str:
    """Matcher of the indicators of ``canary`` that are ``wanted``; empty if there are none."""
    found = [name for name in canary.indicators if wanted(INDICATORS[name])]
    return f'{series.INDICATOR}=~"{"|".join(found)}"' if found else ""


def either(parts: Iterable[str]) -> str:
    """The parts, the first that has a series."""
    return "\nor ".join(parts)
