"""Names of the series that the generated rules record. A dashboard needs no constant of its own: limits are series.

All but the raw ones carry ``chart`` (the chart's name), ``partition`` (such as ``service`` or ``prompt``) and the
labels of that partition, so ``spc:rate{chart="thumbs_down",partition="prompt"}`` has one series per prompt version.

=======================  =============================================================================================
``spc:<chart>:seen``     counter as last counted, one per raw series (``:prev`` the one before, ``:inc`` what is new);
                         ``:event_seen`` and so on for the events that are counted beside all
``spc:n``                rated events (or exposure) since the previous evaluation; only when there are any
``spc:bad``              bad ones among them (or events in that exposure)
``spc:window_n``         rated events of the sliding window (1 h unless the spec says otherwise)
``spc:window_bad``       bad ones among them
``spc:rate``             ``window_bad / window_n``
``spc:p0``               accepted rate = centre line; while learning the estimate so far
``spc:phi``              dispersion, 1 if events are independent; widens the limits and slows the evidence
``spc:ucl``              upper control limit for this window's n (3 sigma)
``spc:lcl``              lower one (at least 0)
``spc:phase``            1 for the phase that holds, in label ``phase``: learning, inherited, frozen, given, rebased,
                         alarm
``spc:sr``               evidence: ln of the Shiryaev-Roberts statistic. Carried forward while nobody rates; none while
                         learning
``spc:sr_limit``         the alarm's threshold for it
``spc:rated_at``         Unix time of the evaluation that last counted a rating
``spc:promise``          rated events of the whole system to a false alarm, on average at least (one per chart)
``spc:volume``           rated events per window, at the end of each window (one per chart; for promises in days)
``spc:sr_p0``            accepted rate that evidence is taken against; none while learning
``spc:against``          the one that the evidence so far is against (``spc:against_prev`` before this evaluation)
``spc:sr_alt``           ln R per alternative (label ``alt``); ``spc:sr_prev`` before this evaluation
``spc:kept``             copies of the state every ten minutes (label ``state`` is its name), for after an outage
``spc:frozen``           a cohort's own learnt baseline, label ``stat``: p0 or phi; kept while it is rated.
                         ``spc:frozen_prev`` is what stands now
``spc:close_n``          rated events of the window that just ended; ``spc:point_n`` and ``spc:point_bad`` those to
                         learn from (none during an alarm)
``spc:learn``            sums of the windows learnt from, by ``stat``; ``spc:step`` what the last window added
``spc:fit_p``            what they come to when there are enough: the estimate, then ``spc:fit_sd2`` (dispersion),
                         ``spc:fit_r1`` (autocorrelation) and ``spc:fit_phi`` (both, where significant)
``spc:z``                standardised rate of the window that just ended, positive where worse
``spc:ewma``             exponentially weighted mean of it
``spc:beyond``           the last windows beyond 1 sigma (label ``rule="we_4of5"``) or 2 sigma (``we_2of3``), as bits
=======================  =============================================================================================

Not recorded here but read: ``spc:baseline_p0`` and ``spc:baseline_phi``, baselines that a person set (`backspan spc
fit` writes them), with label ``phase`` (frozen or rebased).
"""

from __future__ import annotations

from typing import Final

N: Final = "spc:n"
BAD: Final = "spc:bad"
WINDOW_N: Final = "spc:window_n"
WINDOW_BAD: Final = "spc:window_bad"
RATE: Final = "spc:rate"
P0: Final = "spc:p0"
PHI: Final = "spc:phi"
UCL: Final = "spc:ucl"
LCL: Final = "spc:lcl"
PHASE_SERIES: Final = "spc:phase"
SR: Final = "spc:sr"
SR_LIMIT: Final = "spc:sr_limit"
RATED_AT: Final = "spc:rated_at"
PROMISE: Final = "spc:promise"
VOLUME: Final = "spc:volume"
SR_P0: Final = "spc:sr_p0"
AGAINST: Final = "spc:against"
AGAINST_PREV: Final = "spc:against_prev"
SR_ALT: Final = "spc:sr_alt"
SR_PREV: Final = "spc:sr_prev"
KEPT: Final = "spc:kept"
FROZEN: Final = "spc:frozen"
FROZEN_PREV: Final = "spc:frozen_prev"
CLOSE_N: Final = "spc:close_n"
POINT_N: Final = "spc:point_n"
POINT_BAD: Final = "spc:point_bad"
LEARN: Final = "spc:learn"
STEP: Final = "spc:step"
FIT_P: Final = "spc:fit_p"
FIT_SD2: Final = "spc:fit_sd2"
FIT_R1: Final = "spc:fit_r1"
FIT_PHI: Final = "spc:fit_phi"
Z: Final = "spc:z"
EWMA: Final = "spc:ewma"
BEYOND: Final = "spc:beyond"

BASELINE_P0: Final = "spc:baseline_p0"
BASELINE_PHI: Final = "spc:baseline_phi"

CHART: Final = "chart"
PARTITION: Final = "partition"
ALT: Final = "alt"
STAT: Final = "stat"
STATE: Final = "state"
PHASE: Final = "phase"
REASON: Final = "reason"
RULE: Final = "rule"
INDICATOR: Final = "indicator"

ALERT: Final = "BackspanQualityRegression"
"""Pages: enough evidence. Its labels are those of `SR`, ``indicator``, ``severity`` and ``owner`` (if there is one)."""
ALERT_SHIFT: Final = "BackspanQualityShift"
"""Opens a ticket: a rule of the drawn chart, named by label ``rule``."""
ALERT_MISSING: Final = "BackspanFeedbackMissing"
"""Pages: answers are given as before, and nobody judges them any more."""


def raw(chart: str, kind: str) -> str:
    """Name of a series that keeps the raw labels: ``kind`` is ``prev``, ``seen`` or ``inc``, or ``event_...``."""
    return f"spc:{chart}:{kind}"
