"""Names of the series that the generated rules record. A dashboard needs no constant of its own: limits are series.

All but the first three carry ``chart`` (the chart's name), ``partition`` (such as ``service`` or ``prompt``) and the
labels of that partition, so ``spc:rate{chart="thumbs_down",partition="prompt"}`` has one series per prompt version.

===================  =================================================================================================
``spc:<chart>:seen`` counter as last counted, one per raw series (``:prev`` the one before, ``:inc`` what is new)
``spc:n``            rated events since the previous evaluation; only when there are any
``spc:bad``          bad ones among them
``spc:window_n``     rated events of the sliding window (1 h unless the spec says otherwise)
``spc:window_bad``   bad ones among them
``spc:rate``         ``window_bad / window_n``
``spc:p0``           accepted rate = centre line
``spc:ucl``          upper control limit of a p-chart for this window's n (3 sigma, at most 1)
``spc:lcl``          lower one (at least 0)
``spc:sr``           evidence: ln of the Shiryaev-Roberts statistic. Carried forward while nobody rates
``spc:sr_limit``     the alarm's threshold for it
``spc:rated_at``     Unix time of the evaluation that last counted a rating
``spc:sr_alt``       ln R per alternative (label ``alt``); ``spc:llr`` its last step, ``spc:sr_prev`` the one before
===================  =================================================================================================
"""

from __future__ import annotations

from typing import Final

N: Final = "spc:n"
BAD: Final = "spc:bad"
WINDOW_N: Final = "spc:window_n"
WINDOW_BAD: Final = "spc:window_bad"
RATE: Final = "spc:rate"
P0: Final = "spc:p0"
UCL: Final = "spc:ucl"
LCL: Final = "spc:lcl"
SR: Final = "spc:sr"
SR_LIMIT: Final = "spc:sr_limit"
RATED_AT: Final = "spc:rated_at"
SR_ALT: Final = "spc:sr_alt"
SR_PREV: Final = "spc:sr_prev"
LLR: Final = "spc:llr"

CHART: Final = "chart"
PARTITION: Final = "partition"
ALT: Final = "alt"

ALERT: Final = "BackspanQualityRegression"
"""Name of the alert; its labels are those of `SR` and ``severity`` (and ``owner``, if the chart has one)."""


def raw(chart: str, kind: str) -> str:
    """Name of a series that keeps the raw labels: ``kind`` is ``prev``, ``seen`` or ``inc``."""
    return f"spc:{chart}:{kind}"
