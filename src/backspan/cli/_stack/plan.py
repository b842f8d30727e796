"""Where everything of one stack is: its ports, its folders, and the command line of each program."""

from __future__ import annotations

import os
import re
import secrets
import socket
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from backspan.cli._stack import profiles
from backspan.cli._stack.build import bin_dir

HOST = "127.0.0.1"


@dataclass(frozen=True)
class Ports:
    """Every port that a program listens on, all on loopback. The first seven are for people and applications."""

    otlp_grpc: int = 4317
    otlp_http: int = 4318
    gateway: int = 8318
    prometheus: int = 9090
    alertmanager: int = 9093
    tempo: int = 3200
    collector_health: int = 13133
    collector_metrics: int = 8888
    collector_zpages: int = 13679
    collector_inside: int = 14318
    tempo_otlp: int = 14317
    tempo_grpc: int = 9095
    tempo_memberlist: int = 7946


def shifted(offset: int) -> Ports:
    """The usual ports, each moved by ``offset``. Raises ValueError if one is then none."""
    moved = {name: port + offset for name, port in asdict(Ports()).items()}
    wrong = {name: port for name, port in moved.items() if not 1024 <= port <= 65535}
    if wrong:
        raise ValueError(f"an offset of {offset} makes ports outside 1024-65535: {wrong}")
    return Ports(**moved)


def parse_ports(text: str) -> Ports:
    """``default``, ``auto`` or an offset, then any ``name=port``, parted by commas: ``auto,gateway=8318``.

    Raises:
        ValueError: for anything else, and for a port that two programs would share.
    """
    base, *given = [part.strip() for part in text.split(",")]
    if "=" in base:
        base, given = "default", [base, *given]
    ports = _chosen(base)
    for part in given:
        name, _, number = part.partition("=")
        if name not in asdict(ports) or not number.isdigit() or not 1024 <= int(number) <= 65535:
            raise ValueError(f"{part!r} is not one of {', '.join(asdict(ports))} with a port from 1024 to 65535")
        ports = replace(ports, **{name: int(number)})
    numbers = list(asdict(ports).values())
    if twice := sorted({port for port in numbers if numbers.count(port) > 1}):
        raise ValueError(f"two programs would share port {', '.join(map(str, twice))}")
    return ports


def _chosen(base: str) -> Ports:
    if base == "default":
        return Ports()
    if base == "auto":
        return free_ports()
    if not re.fullmatch(r"-?\d+", base):
        raise ValueError("must be default, auto, a number to add, or name=port")
    return shifted(int(base))


def free_ports() -> Ports:
    """Ports that nothing listens on at this moment."""
    with ExitStack() as held:
        names = [one.name for one in fields(Ports)]
        sockets = [held.enter_context(socket.socket()) for _ in names]
        for one in sockets:
            one.bind((HOST, 0))
        return Ports(**{name: one.getsockname()[1] for name, one in zip(names, sockets, strict=True)})


def busy(ports: Ports) -> dict[str, int]:
    """Those of ``ports`` that something listens on already."""
    return {name: port for name, port in asdict(ports).items() if _taken(port)}


def _taken(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return True
    return False


@dataclass(frozen=True)
class Plan:
    """One stack: the folder that holds all it writes, its ports, and what its user chose.

    Attributes:
        folder: holds ``config/`` (rendered), ``data/``, ``logs/`` and the state file. Absolute.
        rules: folder of Prometheus rule files; absolute.
        pager: URL of the webhook that pages go to; None calls nobody.
        group_wait: seconds for which the pager collects cohorts of one incident.
        profiles: files that are merged over the Collector's, in that order; absolute.
        secrets: files that the profiles read, by environment variable; absolute.
        origins: whose pages the gateway answers.
    """

    folder: Path
    ports: Ports
    rules: Path
    pager: str | None = None
    group_wait: int = 15
    profiles: tuple[Path, ...] = ()
    secrets: Mapping[str, str] = field(default_factory=dict[str, str])
    origins: tuple[str, ...] = ()

    @property
    def endpoint(self) -> str:
        """Where applications send, by OTLP/HTTP."""
        return f"{'https' if self.secrets else 'http'}://{HOST}:{self.ports.otlp_http}"

    @property
    def inside(self) -> str:
        """Where the gateway sends: to a port of its own if the one of the applications asks for TLS and a token."""
        apart = profiles.INSIDE in profiles.variables(self.profiles)
        return _url(self.ports.collector_inside if apart else self.ports.otlp_http)

    @property
    def config(self) -> Path:
        """Folder of the rendered files."""
        return self.folder / "config"

    @property
    def data(self) -> Path:
        """Folder of what the programs keep."""
        return self.folder / "data"

    @property
    def logs(self) -> Path:
        """Folder of what the programs print, one file each."""
        return self.folder / "logs"

    def as_json(self) -> dict[str, Any]:
        """For the state file; read back by `from_json`."""
        paths = {"folder": str(self.folder), "rules": str(self.rules), "profiles": [*map(str, self.profiles)]}
        return {**asdict(self), **paths}

    @staticmethod
    def from_json(found: dict[str, Any]) -> Plan:
        """Raises KeyError and TypeError for what `as_json` did not write."""
        return Plan(
            Path(found["folder"]), Ports(**found["ports"]), Path(found["rules"]), found["pager"], found["group_wait"],
            tuple(map(Path, found.get("profiles", ()))), found.get("secrets", {}),
            tuple(found.get("origins", ())),
        )


@dataclass(frozen=True)
class Program:
    """How one program is started and where it says that it is ready."""

    name: str
    command: tuple[str, ...]
    ready: str
    url: str
    env: dict[str, str]


def programs(plan: Plan) -> tuple[Program, ...]:
    """All programs, in the order in which they are started: who is sent to before who sends."""
    return (_alertmanager(plan), _tempo(plan), _prometheus(plan), _gateway(plan), _worker(plan), _collector(plan))


def _url(port: int) -> str:
    return f"http://{HOST}:{port}"


def _alertmanager(plan: Plan) -> Program:
    url = _url(plan.ports.alertmanager)
    command = (
        str(bin_dir() / "alertmanager"),
        f"--config.file={plan.config / 'alertmanager.yml'}",
        f"--storage.path={plan.data / 'alertmanager'}",
        f"--web.listen-address={HOST}:{plan.ports.alertmanager}",
        "--cluster.listen-address=",
    )
    return Program("alertmanager", command, f"{url}/-/ready", url, {})


def _tempo(plan: Plan) -> Program:
    url = _url(plan.ports.tempo)
    command = (
        str(bin_dir() / "tempo"),
        f"-config.file={plan.config / 'tempo.yaml'}",
        f"-memberlist.bind-port={plan.ports.tempo_memberlist}",
    )
    return Program("tempo", command, f"{url}/ready", url, {})


def _prometheus(plan: Plan) -> Program:
    url = _url(plan.ports.prometheus)
    command = (
        str(bin_dir() / "prometheus"),
        f"--config.file={plan.config / 'prometheus.yml'}",
        f"--storage.tsdb.path={plan.data / 'prometheus'}",
        "--storage.tsdb.retention.time=90d",
        f"--web.listen-address={HOST}:{plan.ports.prometheus}",
        "--web.enable-otlp-receiver",
        "--enable-feature=exemplar-storage",
    )
    return Program("prometheus", command, f"{url}/-/ready", url, {})


def _gateway(plan: Plan) -> Program:
    url = _url(plan.ports.gateway)
    command = (
        sys.executable, "-m", "backspan", "gateway", f"--port={plan.ports.gateway}",
        f"--db={plan.data / 'gateway.db'}", f"--forward={plan.inside}",
        *(f"--origin={origin}" for origin in plan.origins),
    )
    return Program("gateway", command, f"{url}/healthz", url, {"BACKSPAN": "0"})


def _worker(plan: Plan) -> Program:
    """Listens on nothing: the gateway tells whether it is at work."""
    url = f"{_url(plan.ports.gateway)}/healthz/worker"
    return Program("worker", (sys.executable, "-m", "backspan", "worker", f"--db={plan.data / 'gateway.db'}"), url, url,
                   {"BACKSPAN": "0"})


def _collector(plan: Plan) -> Program:
    ports = plan.ports
    env = {
        "COLLECTOR_OTLP_GRPC": f"{HOST}:{ports.otlp_grpc}",
        "COLLECTOR_OTLP_HTTP": f"{HOST}:{ports.otlp_http}",
        "COLLECTOR_HEALTH": f"{HOST}:{ports.collector_health}",
        "COLLECTOR_ZPAGES": f"{HOST}:{ports.collector_zpages}",
        "COLLECTOR_METRICS_HOST": HOST,
        "COLLECTOR_METRICS_PORT": str(ports.collector_metrics),
        "COLLECTOR_QUEUE_DIR": str(plan.data / "otelcol"),
        "TEMPO_OTLP_GRPC": f"{HOST}:{ports.tempo_otlp}",
        "PROMETHEUS_URL": _url(ports.prometheus),
        "GATEWAY_URL": _url(ports.gateway),
        "GATEWAY_API_KEY": "",  # on loopback it needs none
        "REDACTION_HMAC_KEY": os.environ.get("REDACTION_HMAC_KEY") or _redaction_key(plan),
        **_of_profiles(plan),
    }
    files = (plan.config / "collector.yaml", *profiles.copies(plan.profiles, plan.config / "profiles").values())
    command = (str(bin_dir() / "otelcol-backspan"), *(f"--config={path}" for path in files))
    return Program("collector", command, f"{_url(ports.collector_health)}/", plan.endpoint, env)


def _of_profiles(plan: Plan) -> dict[str, str]:
    ours = {
        profiles.INSIDE: f"{HOST}:{plan.ports.collector_inside}",
        profiles.LOGS: os.environ.get(profiles.LOGS) or str(plan.logs / "applications.jsonl"),
    }
    read = profiles.variables(plan.profiles)
    return {**{name: value for name, value in ours.items() if name in read}, **plan.secrets}


def _redaction_key(plan: Plan) -> str:
    """Of this stack only, made once: the same address must become the same pseudonym after a restart."""
    path = plan.folder / "redaction.key"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
            file.write(secrets.token_hex(32))
    return path.read_text(encoding="ascii")
