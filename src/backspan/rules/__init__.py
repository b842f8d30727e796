"""From one declarative spec to what alerts: Prometheus rules, their promtool tests, and the oracle that proves them.

- `backspan.rules.spec`: ``spc.yaml`` -> `Spec`.
- `backspan.rules.indicators`: what a chart can watch.
- `backspan.rules.series`: names of the recorded series, for dashboards and queries.
- `backspan.rules.generate`: `Spec` -> rule files and promtool test files.
"""
