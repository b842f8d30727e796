"""The control charts of the embedded server: the spec of `backspan.rules`, evaluated from what the store counts."""

from __future__ import annotations

from backspan.server.charts.book import ChartBook

__all__ = ["ChartBook"]
