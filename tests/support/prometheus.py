"""Real Prometheus servers on loopback, each with a folder of its own: started, killed, started again, and asked."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml

from tests.support.processes import free_port

T = TypeVar("T")
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "backspan"
"""Read at import: the tests' clean environment hides it."""
OLD, NEW = "2.42", "3.14"
"""The oldest Prometheus that we support (the distribution's), and the one that ``make stack`` builds."""
OTLP, CONCURRENT = "--web.enable-otlp-receiver", "--enable-feature=concurrent-rule-eval"

Labels = tuple[tuple[str, str], ...]
"""Names and values of a series, sorted, ``__name__`` among them unless it was taken out."""
History = dict[Labels, dict[float, float]]
"""Series -> Unix time -> value."""

_LOCAL = urllib.request.build_opener(urllib.request.ProxyHandler({}))
_READY_S = 60.0


def binary(version: str) -> Path:
    """The program of one version. Raises RuntimeError, with what to do, if it is not on this machine."""
    if version == NEW:
        built = CACHE / "stack" / "bin" / "prometheus"
        if not built.is_file():
            raise RuntimeError(f"no Prometheus at {built}: run `make stack`")
        return built
    unpacked = CACHE / "promtool-apt" / "usr" / "bin" / "prometheus"
    found = str(unpacked) if unpacked.is_file() else shutil.which("prometheus")
    if found is None:
        raise RuntimeError(f"no Prometheus at {unpacked} nor on PATH: unpack Debian's package `prometheus` there")
    return Path(found)


def until(look: Callable[[], T | None], what: str, seconds: float = 60.0) -> T:
    """The first result of ``look`` that is neither None nor empty; a server that does not answer has none.

    Raises:
        TimeoutError: after ``seconds``.
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            found = look()
        except OSError:
            found = None
        if found:
            return found
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {seconds:.0f} s")
        time.sleep(0.1)


def scrape(port: int, *instances: str, interval: str = "500ms", honor_labels: bool = False) -> dict[str, Any]:
    """A scrape job for the exporter on ``port``: ``/metrics/<instance>`` for each, or ``/metrics`` if none is named."""
    target = f"127.0.0.1:{port}"
    configs: list[dict[str, Any]] = [
        {"targets": [target], "labels": {"instance": name, "__metrics_path__": f"/metrics/{name}"}}
        for name in instances
    ]
    return {
        "job_name": f"app-{port}",
        "scrape_interval": interval,
        "scrape_timeout": interval,
        "honor_labels": honor_labels,
        "static_configs": configs or [{"targets": [target]}],
    }


class Prometheus:
    """One server. `start` may be called again after `kill` or `stop`: same data, same port."""

    def __init__(
        self,
        version: str,
        folder: Path,
        rules: Mapping[str, Any],
        scrapes: Sequence[Mapping[str, Any]] = (),
        *,
        options: Sequence[str] = (),
        config: Mapping[str, Any] | None = None,
    ) -> None:
        """``rules``: rule files by name; ``options``: of the command line; ``config``: top-level keys to add."""
        self.version, self.folder, self.port = version, folder, free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        folder.mkdir(parents=True, exist_ok=True)
        for name, document in rules.items():
            (folder / f"{name}.rules.yml").write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")
        document = {**(config or {}), "rule_files": ["*.rules.yml"], "scrape_configs": [*scrapes]}
        (folder / "prometheus.yml").write_text(yaml.safe_dump(document), encoding="utf-8")
        self._command = [
            str(binary(version)), f"--config.file={folder / 'prometheus.yml'}", "--log.level=warn",
            f"--storage.tsdb.path={folder / 'data'}", f"--web.listen-address=127.0.0.1:{self.port}", *options,
        ]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> Prometheus:
        """Start, and wait until it is ready. Raises RuntimeError with the end of its log if it ends instead."""
        with (self.folder / "log.txt").open("ab") as log:
            self._process = subprocess.Popen(
                self._command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        until(self._ready, f"Prometheus {self.version} on port {self.port}", _READY_S)
        return self

    def _ready(self) -> bool:
        if self._process is None or self._process.poll() is not None:
            raise RuntimeError(f"Prometheus {self.version} ended:\n{self.log[-3000:]}")
        with _LOCAL.open(f"{self.url}/-/ready", timeout=5) as response:
            return bool(response.status == 200)

    @property
    def log(self) -> str:
        """All that it has written."""
        return (self.folder / "log.txt").read_text(encoding="utf-8", errors="replace")

    def kill(self) -> None:
        """End it as a power cut would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(20)

    def stop(self) -> None:
        """End it as an operator would; for one that does not end within 20 s, as a power cut would."""
        if self._process is None or self._process.poll() is not None:
            return
        self._process.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self.kill()

    def get(self, path: str, **query: str) -> Any:
        """``data`` of an answer of the API. Raises OSError if there is none, with the reason if it is a refusal."""
        parameters = f"?{urllib.parse.urlencode(query)}" if query else ""
        try:
            with _LOCAL.open(f"{self.url}/api/v1/{path}{parameters}", timeout=60) as response:
                return json.load(response)["data"]
        except urllib.error.HTTPError as error:
            with error:
                raise OSError(f"{path}{parameters}: {error.code} {error.read().decode()[:500]}") from error

    def values(self, promql: str) -> dict[Labels, float]:
        """Series of an instant query, now."""
        found = self.get("query", query=promql)["result"]
        return {labels_of(one["metric"]): float(one["value"][1]) for one in found}

    def total(self, promql: str) -> float:
        """Sum of the values of an instant query; 0 if there are none."""
        return sum(self.values(promql).values())

    def history(self, selector: str, at: float | None = None, window: str = "15m") -> History:
        """The samples themselves, at their own times, of the ``window`` before Unix time ``at``, or before now.

        Stale markers are not among them.
        """
        when = {} if at is None else {"time": f"{at:.3f}"}
        found = self.get("query", query=f"{selector}[{window}]", **when)["result"]
        return {labels_of(one["metric"]): {at: float(value) for at, value in one["values"]} for one in found}

    def evaluations(self) -> dict[str, float]:
        """How many evaluations each rule group has done since the start; missed ones are not among them."""
        missed = self._groups("iterations_missed_total")
        return {group: count - missed.get(group, 0) for group, count in self._groups("iterations_total").items()}

    def evaluated_until(self, group: str = "") -> float:
        """Unix time up to which every rule group is done with its evaluations, or those whose name ends so."""
        done = self._groups("last_evaluation_timestamp_seconds")
        return min(at for name, at in done.items() if name.endswith(group))

    def wait_scraped(self, targets: int) -> None:
        """Block until that many targets have been scraped: Prometheus finds them some seconds after it is ready."""
        until(lambda: self.total("count(up)") >= targets, f"a scrape of {targets} targets")

    def _groups(self, metric: str) -> dict[str, float]:
        with _LOCAL.open(f"{self.url}/metrics", timeout=10) as response:
            text = response.read().decode()
        line = rf'^prometheus_rule_group_{metric}{{rule_group="(.*)"}} (.*)$'
        return {group: float(value) for group, value in re.findall(line, text, re.MULTILINE)}

    def firing(self) -> list[dict[str, str]]:
        """Labels of the alerts that fire now."""
        return [one["labels"] for one in self.get("alerts")["alerts"] if one["state"] == "firing"]


def labels_of(values: Mapping[str, str]) -> Labels:
    """``values`` as `Labels`."""
    return tuple(sorted((key, value) for key, value in values.items() if value))


def named(labels: Labels) -> tuple[str, Labels]:
    """The series' name, and its other labels."""
    values = dict(labels)
    return values.pop("__name__", ""), labels_of(values)
