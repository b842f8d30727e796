"""What Grafana makes of a dashboard's texts before it sends them: variables by data source, macros of Prometheus.

Read in Grafana's sources: `templateSrv.replace` with the Prometheus data source's `interpolateQueryExpr` (escaped for a
regex, several as ``(a|b)``), the Tempo data source's `applyVariables` (format ``pipe``), and of its back end
`calculatePrometheusInterval`, `calculateRateInterval` and `interpolateVariables`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

ALL = "$__all"
_REFERENCE = re.compile(r"\$(\w+)|\[\[(\w+?)(?::(\w+))?\]\]|\$\{(\w+)(?:\.([^:^}]+))?(?::([^}]+))?\}")
_SPECIAL = re.compile(r"([$^*{}\[\]'+?.()|])")
_STEPS = ((1.5, 1), (3.5, 2), (7.5, 5), (12.5, 10), (17.5, 15), (25, 20), (45, 30), (90, 60), (210, 120), (450, 300),
          (750, 600), (1050, 900), (1500, 1200), (2700, 1800), (5400, 3600), (9000, 7200), (16200, 10800),
          (32400, 21600), (86400, 43200), (604800, 86400))
"""Below so many seconds, Grafana rounds a step to so many (`roundInterval`; finer and coarser ones are left out)."""


@dataclass(frozen=True)
class Chosen:
    """A variable's value: one text, or several; ``all_of`` is the text that stands for all of them."""

    values: tuple[str, ...]
    several: bool = False
    all_of: str = ""

    @property
    def raw(self) -> str | None:
        """What is put in without any format: "All", where the variable says how to write that."""
        return self.all_of if self.values == (ALL,) and self.all_of else None


@dataclass(frozen=True)
class View:
    """A dashboard as somebody looks at it: the time, the width in points, what is chosen."""

    start: float
    end: float
    chosen: Mapping[str, Chosen] = field(default_factory=dict)
    points: int = 700
    scrape: float = 15

    @property
    def step(self) -> float:
        """Seconds between points."""
        exact = (self.end - self.start) / self.points
        return max(self.scrape, next((step for below, step in _STEPS if exact < below), 604800))

    def promql(self, text: str) -> str:
        """An expression as Prometheus receives it."""
        return self._macros(self._replaced(text, _for_prometheus))

    def traceql(self, text: str) -> str:
        """A query as Tempo receives it."""
        return self._replaced(text, _piped)

    def words(self, text: str) -> str:
        """A title or a legend."""
        return self._replaced(text, _piped)

    def url(self, text: str, fields: Mapping[str, str], value: str = "") -> str:
        """A data link: ``fields`` are those of the row, ``value`` is the cell's. What is put in is encoded."""
        said = {f"${{__data.fields.{name}}}": found for name, found in fields.items()}
        said |= {"${__value.raw}": value}
        for mark, found in said.items():
            text = text.replace(mark, quote(found, safe=""))
        span = f"from={int(self.start * 1000)}&to={int(self.end * 1000)}"
        return self._replaced(text.replace("${__url_time_range}", span), _encoded)

    def _replaced(self, text: str, form: Any) -> str:
        def one(found: re.Match[str]) -> str:
            name = found[1] or found[2] or found[4]
            value = self.chosen.get(name)
            return found[0] if value is None else form(name, value, found[6] or "")

        return _REFERENCE.sub(one, text)

    def _macros(self, text: str) -> str:
        span = round(self.end - self.start)
        rate = max(self.step + self.scrape, 4 * self.scrape)
        values = {
            "__interval_ms": f"{self.step * 1000:.0f}", "__interval": f"{self.step:.0f}s",
            "__range_ms": str(span * 1000), "__range_s": str(span), "__range": f"{span}s",
            "__rate_interval_ms": f"{rate * 1000:.0f}", "__rate_interval": f"{rate:.0f}s",
        }
        for name, value in values.items():
            text = text.replace(f"${name}", value).replace(f"${{{name}}}", value)
        return text


def _for_prometheus(name: str, chosen: Chosen, form: str) -> str:
    if chosen.raw is not None:
        return chosen.raw
    if not chosen.several:
        return chosen.values[0].replace("\\", "\\\\").replace("'", "\\\\'")
    escaped = [_SPECIAL.sub(r"\\\\\1", value.replace("\\", "\\\\\\\\")) for value in chosen.values]
    return escaped[0] if len(escaped) == 1 else f"({'|'.join(escaped)})"


def _piped(name: str, chosen: Chosen, form: str) -> str:
    return chosen.raw if chosen.raw is not None else "|".join(chosen.values)


def _encoded(name: str, chosen: Chosen, form: str) -> str:
    if form == "queryparam":
        return "&".join(f"var-{name}={quote(value, safe='')}" for value in chosen.values)
    return quote(_piped(name, chosen, form), safe="")
