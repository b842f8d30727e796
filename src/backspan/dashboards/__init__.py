"""Grafana dashboards as code: names from `backspan.semconv`, queries from `backspan.rules`, JSON out.

- `backspan.dashboards.panels`: small builders over the typed Grafana SDK.
- `backspan.dashboards.quality`: the dashboard: answers, feedback, the control chart.
- `backspan.dashboards.generate`: dashboards -> files.

Needs the extra ``rules`` and Python 3.11 or newer, as the Grafana SDK does; the generated files need neither.
"""
