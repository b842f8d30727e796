"""Grafana dashboards as code: names from `backspan.semconv`, queries from `backspan.rules`, JSON out.

- `backspan.dashboards.panels`: small builders over the typed Grafana SDK.
- `backspan.dashboards.promql`, `.traceql`, `.links`: the queries, and where a click leads.
- `backspan.dashboards.frame`: what all dashboards have alike: variables, annotations, layout.
- one module per dashboard: `overview`, `feedback`, `control_charts`, `retrieval`, `cohorts`, `quality`, `conversation`.
- `backspan.dashboards.generate`: dashboards -> files.

Needs the extra ``rules`` and Python 3.11 or newer, as the Grafana SDK does; the generated files need neither.
"""
