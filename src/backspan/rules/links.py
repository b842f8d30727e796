"""Links of an alert into Grafana, as Prometheus templates: the panel of the chart, and the spans behind the bad events.

The fixed parts are escaped here. A label's value is escaped by the template with ``reReplaceAll``, which every
Prometheus knows (``urlQueryEscape`` came with 3.8).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from urllib.parse import quote

DASHBOARD = "backspan"
"""UID of the dashboard that `backspan.dashboards` generates."""
TEMPO = "tempo"
"""UID of the data source of the traces."""
HOURS = 24
"""How far back the links look."""

_URL = (("%", "%25"), (r"\"", "%22"), (" ", "%20"), ("&", "%26"), ("[+]", "%2B"), ("#", "%23"), (";", "%3B"))
_QUOTED = (("%", "%25"), (r"\\\\", "%5C%5C%5C%5C"), (r"\"", "%5C%5C%5C%22"), *_URL[2:])
"""In a TraceQL string inside JSON a backslash is four, and a quote needs three before it."""


def panel(grafana: str, fixed: Mapping[str, str], labels: Mapping[str, str]) -> str:
    """The dashboard with its variables set: ``fixed`` to values, ``labels`` (variable -> label) to the alert's."""
    said = "".join(f"&var-{name}={quote(value, safe='')}" for name, value in fixed.items())
    chosen = "".join(f"{{{{ with $labels.{label} }}}}&var-{name}={_escaped('.', _URL)}{{{{ end }}}}"
                     for name, label in labels.items())
    return f"{grafana}/d/{DASHBOARD}?from=now-{HOURS}h&to=now{said}{chosen}"


def spans(grafana: str, condition: str, labels: Iterable[tuple[str, str]]) -> str:
    """Grafana's Explore with a TraceQL query: ``condition`` and, for each (attribute, label), the alert's value."""
    query = {"refId": "A", "queryType": "traceql", "query": "\0", "limit": 100,
             "datasource": {"type": "tempo", "uid": TEMPO}}
    panes = {"a": {"datasource": TEMPO, "queries": [query], "range": {"from": f"now-{HOURS}h", "to": "now"}}}
    before, after = (quote(part, safe="") for part in json.dumps(panes, separators=(",", ":")).split("\\u0000"))
    cohort = "".join(_condition(attribute, label) for attribute, label in labels)
    opened = quote(_in_json(f"{{ {condition}"), safe="")
    return f"{grafana}/explore?schemaVersion=1&orgId=1&panes={before}{opened}{cohort}{quote(' }')}{after}"


def _condition(attribute: str, label: str) -> str:
    opened, closed = (quote(_in_json(part), safe="") for part in (f' && {attribute}="', '"'))
    return f"{{{{ with $labels.{label} }}}}{opened}{_escaped('.', _QUOTED)}{closed}{{{{ end }}}}"


def _in_json(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)[1:-1]


def _escaped(value: str, table: Iterable[tuple[str, str]]) -> str:
    steps = "".join(f' | reReplaceAll "{pattern}" "{escape}"' for pattern, escape in table)
    return f"{{{{ {value}{steps} }}}}"
