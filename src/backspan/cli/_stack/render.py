"""The files of ``collector/`` -> the same files for loopback.

Those files are written for docker-compose. The Collector reads environment variables, so its file is copied as it is.
Prometheus, Tempo and Alertmanager read none: their files are loaded, the values below are replaced, and the result
is written to the stack's ``config`` folder. Everything else in them stays, so both ways run the same configuration.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from typing import Any, cast

import yaml

from backspan._assets import asset
from backspan.cli._stack import profiles
from backspan.cli._stack.plan import HOST, Plan

_HEADER = "# Rendered by `backspan stack up` from {source}; changes here are lost at the next start.\n"


class RenderFailed(Exception):
    """A file of ``collector/`` lacks what is to be replaced in it; the message says what."""


def render(plan: Plan) -> None:
    """Write all four files, and the Collector's profiles, to ``plan.config``.

    Raises:
        RenderFailed: if a file is not as expected.
        OSError: if one cannot be read or written.
    """
    plan.config.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(asset("collector") / "collector.yaml", plan.config / "collector.yaml")
    _copy_profiles(plan)
    _rewrite(plan, "prometheus.yml", _prometheus(plan))
    _rewrite(plan, "tempo.yaml", _tempo(plan))
    _alertmanager(plan)


def _copy_profiles(plan: Plan) -> None:
    folder = plan.config / "profiles"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for path, copy in profiles.copies(plan.profiles, folder).items():
        shutil.copyfile(path, copy)


def _prometheus(plan: Plan) -> dict[str, Any]:
    ports = plan.ports
    return {
        "/etc/prometheus/rules/*.yml": f"{plan.rules}/*.yml",
        "localhost:9090": f"{HOST}:{ports.prometheus}",
        "alertmanager:9093": f"{HOST}:{ports.alertmanager}",
        "gateway:8318": f"{HOST}:{ports.gateway}",
        "otel-collector:8888": f"{HOST}:{ports.collector_metrics}",
        "tempo:3200": f"{HOST}:{ports.tempo}",
    }


def _tempo(plan: Plan) -> dict[str, Any]:
    return {
        "0.0.0.0:4317": f"{HOST}:{plan.ports.tempo_otlp}",
        "/var/tempo/wal": str(plan.data / "tempo/wal"),
        "/var/tempo/blocks": str(plan.data / "tempo/blocks"),
    }


def _rewrite(plan: Plan, name: str, values: Mapping[str, Any]) -> None:
    seen: set[str] = set()
    document = _replace(_load(name), values, seen)
    if missing := values.keys() - seen:
        raise RenderFailed(f"collector/{name} does not contain {', '.join(sorted(missing))}")
    if name == "tempo.yaml":
        _keep_on_loopback(document, plan)
    _write(plan, name, document)


def _keep_on_loopback(document: Any, plan: Plan) -> None:
    """Tempo listens everywhere and looks for a network card unless it is told not to (keys of 2.9, which we build)."""
    document["server"] = {
        **document["server"],
        "http_listen_address": HOST,
        "http_listen_port": plan.ports.tempo,
        "grpc_listen_address": HOST,
        "grpc_listen_port": plan.ports.tempo_grpc,
    }
    document["ingester"] = {
        "lifecycler": {"address": HOST, "min_ready_duration": "0s"},
        "flush_check_period": "2s",  # a search finds a span after 7 s at most; with the default of 10 s after 15 s
    }
    document["memberlist"] = {"bind_addr": [HOST]}


def _alertmanager(plan: Plan) -> None:
    document = _load("alertmanager.yml")
    try:
        (page,) = (route for route in document["route"]["routes"] if route["receiver"] == "pager")
        (pager,) = (receiver for receiver in document["receivers"] if receiver["name"] == "pager")
        (webhook,) = pager["webhook_configs"]
    except (KeyError, ValueError) as error:
        raise RenderFailed("collector/alertmanager.yml has no single route and webhook 'pager'") from error
    page["group_wait"] = f"{plan.group_wait}s"
    if plan.pager is None:
        del pager["webhook_configs"]
    else:
        path = plan.config / "pager_url"
        path.write_text(f"{plan.pager}\n", encoding="utf-8")
        webhook["url_file"] = str(path)
    _write(plan, "alertmanager.yml", document)


def _load(name: str) -> Any:
    return yaml.safe_load((asset("collector") / name).read_text(encoding="utf-8"))


def _write(plan: Plan, name: str, document: Any) -> None:
    text = _HEADER.format(source=f"collector/{name}") + yaml.safe_dump(document, sort_keys=False, width=1000)
    (plan.config / name).write_text(text, encoding="utf-8")


def _replace(node: Any, values: Mapping[str, Any], seen: set[str]) -> Any:
    if isinstance(node, dict):
        return {key: _replace(value, values, seen) for key, value in cast("dict[str, Any]", node).items()}
    if isinstance(node, list):
        return [_replace(value, values, seen) for value in cast("list[Any]", node)]
    if isinstance(node, str) and node in values:
        seen.add(node)
        return values[node]
    return node
