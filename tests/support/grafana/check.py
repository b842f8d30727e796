"""Puts every dashboard into a Grafana, asks it for their data, opens each and takes its picture: `make grafana-check`.

Needs a Grafana, which is not to be had where backspan is tested:

    GRAFANA_URL=http://127.0.0.1:3000 GRAFANA_USER=admin GRAFANA_PASSWORD=... make grafana-check

``GRAFANA_TOKEN`` may stand in place of user and password. ``PROMETHEUS_URL`` and ``TEMPO_URL`` say where Grafana finds
them (default: the addresses of the provisioned data sources); data sources that are there already are left alone.
Exit 0: all is well; 1: something is not; 2: there is no Grafana to ask.
"""

from __future__ import annotations

import base64
import json
import os
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from tests.support.grafana.ask import questions
from tests.support.grafana.expand import ALL, Chosen, View
from tests.support.grafana.files import committed
from tests.support.grafana.preview import HEAD, UNIT, photograph
from tests.support.grafana.proxy import signing

from backspan._assets import asset

FOLDER = "backspan"
OUT = Path("grafana-pictures")
NONE = """There is no Grafana to check against: set GRAFANA_URL, and GRAFANA_TOKEN or GRAFANA_USER and GRAFANA_PASSWORD.
Nothing was checked. Without Grafana, the tests check queries, types, rules and links of the dashboards; what they look
like in Grafana nobody has seen then."""


@dataclass(frozen=True)
class Grafana:
    """A running Grafana and the right to change it."""

    url: str
    header: str

    def call(self, method: str, path: str, body: object = None) -> Any:
        """JSON of an answer. Raises HTTPError where Grafana refuses."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": self.header, "Content-Type": "application/json"}
        request = urllib.request.Request(f"{self.url}{path}", data, headers, method=method)
        with urllib.request.urlopen(request, timeout=30) as response:
            return json.load(response)

    def there(self, path: str) -> bool:
        """Whether something is there. Raises HTTPError for any other refusal than 404."""
        try:
            self.call("GET", path)
        except urllib.error.HTTPError as error:
            if error.code != 404:
                raise
            return False
        return True


def found(environ: Mapping[str, str]) -> Grafana | None:
    """The Grafana that the environment names."""
    if not (url := environ.get("GRAFANA_URL")):
        return None
    token = environ.get("GRAFANA_TOKEN")
    pair = f"{environ.get('GRAFANA_USER', 'admin')}:{environ.get('GRAFANA_PASSWORD', 'admin')}"
    return Grafana(url.rstrip("/"), f"Bearer {token}" if token else f"Basic {base64.b64encode(pair.encode()).decode()}")


def provision(grafana: Grafana, environ: Mapping[str, str]) -> None:
    """Data sources, folder and dashboards. Raises HTTPError where Grafana refuses."""
    text = (asset("grafana/provisioning") / "datasources/backspan.yaml").read_text(encoding="utf-8")
    for source in yaml.safe_load(text.replace("$$", "$"))["datasources"]:
        if not grafana.there(f"/api/datasources/uid/{source['uid']}"):
            url = environ.get(f"{source['type'].upper()}_URL", source["url"])
            made = {key: value for key, value in source.items() if key not in ("correlations", "editable")}
            grafana.call("POST", "/api/datasources", {**made, "url": url})
    if not grafana.there(f"/api/folders/{FOLDER}"):
        grafana.call("POST", "/api/folders", {"uid": FOLDER, "title": FOLDER})
    for document in committed(asset("grafana/dashboards")).values():
        body = {"dashboard": {**document, "id": None}, "folderUid": FOLDER, "overwrite": True}
        grafana.call("POST", "/api/dashboards/db", body)


def refused(grafana: Grafana) -> list[str]:
    """Questions that Grafana's own data sources answer with an error; variables stand at "All"."""
    now, faults = time.time(), list[str]()
    for document in committed(asset("grafana/dashboards")).values():
        chosen = {one["name"]: one["current"].get("value", "") for one in document["templating"]["list"]}
        view = View(now - 3600, now, {name: _chosen(value) for name, value in chosen.items()})
        for one in questions(document):
            uid = "tempo" if one.is_traceql else "prometheus"
            text = {"query": view.traceql(one.text)} if one.is_traceql else {"expr": view.words(one.text)}
            query = {**one.target, **text, "datasource": {"uid": uid}, "maxDataPoints": 700, "intervalMs": 15000}
            body = {"queries": [query], "from": str(int((now - 3600) * 1000)), "to": str(int(now * 1000))}
            try:
                grafana.call("POST", "/api/ds/query", body)
            except urllib.error.HTTPError as error:
                faults.append(f"{document['title']}, {one.name}: {error.code} {error.read()[:200]!r}")
    return faults


def _chosen(value: str) -> Chosen:
    return Chosen((ALL,), True, ".*") if value == ALL else Chosen((value,))


def photographs(grafana: Grafana) -> None:
    """A picture of every dashboard, through a proxy that signs in."""
    OUT.mkdir(exist_ok=True)
    with signing(grafana.url, grafana.header) as url:
        for name, document in committed(asset("grafana/dashboards")).items():
            height = HEAD + UNIT * max(one["gridPos"]["y"] + one["gridPos"]["h"] for one in document["panels"])
            photograph(f"{url}/d/{document['uid']}?kiosk&from=now-1h&to=now", OUT / f"{name}.png", height, 20000)
            print(f"{OUT / name}.png")


def main(environ: Mapping[str, str]) -> int:
    """See the module."""
    grafana = found(environ)
    if grafana is None:
        print(NONE, file=sys.stderr)
        return 2
    try:
        provision(grafana, environ)
    except urllib.error.HTTPError as error:
        print(f"Grafana refused {error.url}: {error.code} {error.read()[:300]!r}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"{grafana.url} does not answer: {error}. Nothing was checked.", file=sys.stderr)
        return 2
    faults = refused(grafana)
    for fault in faults:
        print(fault, file=sys.stderr)
    photographs(grafana)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(os.environ))
