"""The same traffic to Prometheus and to `backspan up`: both count the same, indicator by indicator."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.stack.backend import NotFound, get, until
from tests.stack.conftest import STACK_DIR
from tests.support.held import hold
from tests.support.openai_server import OpenAIServer
from tests.support.processes import environment, python

from backspan import semconv
from backspan.rules.indicators import INDICATORS, Events, Indicator

pytestmark = pytest.mark.stack

HERE = Path(__file__).parent
COUNTED = {name: one for name, one in INDICATORS.items() if one.in_store}
SERVICE = [semconv.SERVICE_NAME, semconv.ENVIRONMENT]
OURS = [*SERVICE, semconv.REQUEST_MODEL, semconv.PROMPT_NAME, semconv.PROMPT_VERSION]
CALLS = [*SERVICE, semconv.REQUEST_MODEL, semconv.RESPONSE_MODEL, semconv.PROMPT_VERSION]
OTLP = {
    "translation_strategy": "UnderscoreEscapingWithSuffixes", "keep_identifying_resource_attributes": True,
    "promote_resource_attributes": list(semconv.PROMOTED),
}


def fine(indicator: Indicator) -> list[str]:
    """The finest cohorts that both sides are compared in."""
    return OURS if semconv.SEGMENT in indicator.keys else CALLS


def spec() -> dict[str, Any]:
    """A chart for every indicator that the store counts."""
    return {"version": 1, "charts": [
        {"name": f"chart_{name}", "indicator": name, "false_alarm_every": 100000, "baseline": "learnt",
         "cohorts": {"service": SERVICE, "variant": [*SERVICE, semconv.VARIANT], "fine": {"by": fine(one)}}}
        for name, one in COUNTED.items()]}


@contextmanager
def running(*command: str | Path, ready: str, folder: Path) -> Generator[tuple[subprocess.Popen[str], str]]:
    """A program, and the line of its stderr that says it is ready."""
    process = subprocess.Popen(
        [str(part) for part in command], stderr=subprocess.PIPE, text=True, cwd=folder,
        env=environment(BACKSPAN_DATA_DIR=str(folder)))
    assert process.stderr is not None
    try:
        said = next((line for line in process.stderr if ready in line), "")
        assert said, "it ended"
        yield process, said
    finally:
        process.terminate()
        process.stderr.close()
        process.wait(60)


@pytest.fixture(scope="module")
def traffic(tmp_path_factory: pytest.TempPathFactory) -> Generator[tuple[int, int]]:
    """Ports of `up` and of Prometheus, after the application has ended and both have all of it."""
    folder = tmp_path_factory.mktemp("counts")
    (folder / "spc.yaml").write_text(yaml.safe_dump(spec()), encoding="utf-8")
    (folder / "prometheus.yml").write_text(yaml.safe_dump({"otlp": OTLP}), encoding="utf-8")
    up = (sys.executable, "-m", "backspan", "up", "--port", "0", "--spec", folder / "spc.yaml")
    with (
        hold() as port,
        OpenAIServer() as model,
        running(*up, ready="http://", folder=folder) as (_, line),
        running(*prometheus_on(port, folder), ready="Server is ready", folder=folder),
    ):
        ours = int(line.split(",")[0].rsplit(":", 1)[1])
        use(model, ours, port)
        with suppress(NotFound):  # the tests say what is different
            until(lambda: settled(ours, port) or None, "all events on both sides")
        yield ours, port


def prometheus_on(port: int, folder: Path) -> list[str | Path]:
    """The command line of a Prometheus that is pushed to."""
    return [Path(STACK_DIR) / "bin" / "prometheus", f"--config.file={folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={folder / 'tsdb'}", f"--web.listen-address=127.0.0.1:{port}",
            "--web.enable-otlp-receiver"]


def use(model: OpenAIServer, ours: int, prometheus: int) -> None:
    """Run the application once. Its spans go to `up`, its metrics to Prometheus."""
    env = environment(
        BACKSPAN="1", OPENAI_BASE_URL=model.base_url, OTEL_SERVICE_NAME="shop",
        OTEL_RESOURCE_ATTRIBUTES="deployment.environment.name=test",
        OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=f"http://127.0.0.1:{ours}/v1/traces",
        OTEL_EXPORTER_OTLP_METRICS_ENDPOINT=f"http://127.0.0.1:{prometheus}/api/v1/otlp/v1/metrics")
    done = subprocess.run(
        [str(part) for part in python(HERE / "counting_app.py")], env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def settled(ours: int, prometheus: int) -> bool:
    """Turns without a span of their own are counted by `up` some seconds after their last call."""
    return all(count_in_up(ours, f"chart_{name}", SERVICE) == count_in_prometheus(prometheus, one, SERVICE)
               for name, one in COUNTED.items())


Counts = dict[tuple[str, ...], tuple[float, float]]


def count_in_up(port: int, chart: str, by: list[str]) -> Counts:
    """(n, bad) by cohort, as the detectors have counted."""
    shown = get(port, f"/api/charts/{chart}")
    return {tuple(one["labels"][key] for key in by): (one["ratings"], one["bad"])
            for one in shown["cohorts"] if set(one["labels"]) == set(by)}


def rows_in_up(port: int, chart: str, by: list[str]) -> Counts:
    """The same from the rows that are kept."""
    found: Counts = {}
    for one in get(port, f"/api/charts/{chart}/windows", width="3600")["windows"]:
        if set(one["labels"]) == set(by):
            key = tuple(one["labels"][name] for name in by)
            n, bad = found.get(key, (0.0, 0.0))
            found[key] = (n + one["n"], bad + one["bad"])
    return found


def count_in_prometheus(port: int, indicator: Indicator, by: list[str]) -> Counts:
    """The same from the counters, by the selectors of the catalogue."""
    total, counted = (summed(port, events, by) for events in (indicator.total, indicator.counted))
    found: Counts = {}
    for key in total.keys() | counted.keys():
        n, x = total.get(key, 0.0), counted.get(key, 0.0)
        found[key] = (n, n - x if indicator.good is not None else x)
    return {key: pair for key, pair in found.items() if pair != (0.0, 0.0)}


def summed(port: int, events: Events, by: list[str]) -> dict[tuple[str, ...], float]:
    labels = [semconv.prometheus_label(key) for key in by]
    query = f"sum by ({','.join(labels)}) (last_over_time({events.selector}[10m]))"
    result = get(port, "/api/v1/query", query=query)["data"]["result"]
    return {tuple(one["metric"].get(label, "") for label in labels): float(one["value"][1]) for one in result}


@pytest.mark.parametrize("name", COUNTED)
def test_both_count_the_same(traffic: tuple[int, int], name: str) -> None:
    ours, prometheus = traffic
    indicator = COUNTED[name]
    for by in (SERVICE, [*SERVICE, semconv.VARIANT], fine(indicator)):
        expected = count_in_prometheus(prometheus, indicator, by)
        assert count_in_up(ours, f"chart_{name}", by) == expected
        assert rows_in_up(ours, f"chart_{name}", by) == expected
    [(n, bad)] = count_in_prometheus(prometheus, indicator, SERVICE).values()
    assert n > bad >= 1 or name.endswith("_tokens") or indicator.kind == "rate" and bad >= 1, (n, bad)


def test_the_comparison_notices_another_selection(traffic: tuple[int, int]) -> None:
    """The twin: changed votes counted as first ones, and errors left out, are seen."""
    ours, prometheus = traffic
    thumbs = COUNTED["thumbs_down"]
    changed = thumbs.total.narrowed({semconv.LABEL_OP: semconv.CHANGE})
    assert summed(prometheus, changed, SERVICE) != summed(prometheus, thumbs.total, SERVICE)
    errors = count_in_prometheus(prometheus, COUNTED["errors"], SERVICE)
    assert count_in_up(ours, "chart_slow_answers", SERVICE) != errors
