"""What can be known of docker-compose.yml on a machine without images. Each check has a twin that it finds broken."""

from __future__ import annotations

import copy
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import metadata
from pathlib import Path
from typing import Any

import pytest
import yaml

from backspan._assets import asset
from backspan.cli._stack.plan import Plan, Ports, programs
from backspan.cli.gateway import add_arguments as gateway_arguments
from backspan.cli.worker import add_arguments as worker_arguments
from backspan.config import SETTINGS

COMPOSE = asset("docker-compose.yml")
ROOT = COMPOSE.parent
KNOWN_DIGESTS = {
    "grafana/tempo:3.0.3": "0296560ac66f8a3600d7fb3014a52c189d4d9c3549ad6ff441bf2409855d68d5",
    "prom/prometheus:v3.14.0": "5ce7540c3c00ef4ab0c9d2c995c6a5b9c421f44b4a115d97a2c7af3b1c21cbb0",
    "prom/alertmanager:v0.34.0": "690c7b525f4367aa91f73e2f91c632206d32e97c6384bdbf2fb7a861b420340d",
    "grafana/grafana:13.2.0": "3fd54ae1214669f8355f065ec9f6445d5279a3d77095ab048ca045685272429b",
}
WITHOUT_SHELL = {"otel-collector", "tempo"}
"""Their images can run no health check; `stack-ready` asks them."""
ONCE = {"volume-init", "stack-ready"}
"""They end by themselves."""
Document = dict[str, Any]


def compose() -> Document:
    """The file, parsed afresh, so that a twin may spoil it."""
    return yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))


# --- the checks: each returns what is wrong ---------------------------------------------------------------------------
def unlocked(document: Document) -> list[str]:
    """Services that are allowed more than they need."""
    wrong: list[str] = []
    for name, one in document["services"].items():
        wanted = {"read_only": True, "cap_drop": ["ALL"], "security_opt": ["no-new-privileges:true"]}
        wrong += [f"{name}: {key}" for key, value in wanted.items() if one.get(key) != value]
        wrong += [f"{name}: {key}" for key in ("privileged", "devices", "pid", "ipc") if key in one]
        wrong += [f"{name}: host network"] if one.get("network_mode") == "host" else []
        wrong += [f"{name}: Docker's socket"] if "docker.sock" in json.dumps(one) else []
        wrong += [f"{name}: root"] if str(one.get("user", "")).startswith("0") and name != "volume-init" else []
    return wrong


def unlimited(document: Document) -> list[str]:
    """Services without a bound on memory, processors, processes or logs."""
    limits = ("mem_limit", "cpus", "pids_limit", "logging")
    return [f"{name}: {key}" for name, one in document["services"].items() for key in limits if not one.get(key)]


def unwatched(document: Document) -> list[str]:
    """Services whose health nobody asks for."""
    services = document["services"]
    asked = json.dumps(services["stack-ready"]["command"])
    return [name for name, one in services.items() if name not in ONCE and "healthcheck" not in one
            and not (name in WITHOUT_SHELL and f"{name}:" in asked)]


def exposed(document: Document) -> list[str]:
    """Published ports that others than this machine can reach."""
    published = [port for one in document["services"].values() for port in one.get("ports", [])]
    assert len(published) >= 7
    return [str(port) for port in published if not re.fullmatch(r"127\.0\.0\.1:\d+:\d+", str(port))]


def unpinned(document: Document, text: str) -> list[str]:
    """Images of others without a tag, with another digest than is known, or not marked as never pulled."""
    wrong: list[str] = []
    for name, one in document["services"].items():
        if "build" in one:
            continue
        tagged, _, digest = str(one["image"]).partition("@sha256:")
        line = next(line for line in text.splitlines() if str(one["image"]) in line)
        ok = ":" in tagged and not tagged.endswith(":latest") and "# not pulled" in line
        wrong += [] if ok and KNOWN_DIGESTS.get(tagged, "") == digest else [name]
    return wrong


def missing_files(document: Document, root: Path) -> list[str]:
    """Mounted files, Dockerfiles and what they copy, that are not there. Secrets are the user's to make."""
    paths = [_default(volume).rsplit(":", 2)[0] for one in document["services"].values()
             for volume in one.get("volumes", [])]
    builds = [one["build"] for one in document["services"].values() if "build" in one]
    paths = [path for path in paths if path.startswith(".")] + [build["dockerfile"] for build in builds]
    paths += [path for build in builds if (root / build["dockerfile"]).exists()
              for path in copied(root / build["dockerfile"])]
    assert len(paths) >= 15
    return [path for path in paths if not (root / path).exists()]


def undeclared(document: Document) -> list[str]:
    """Named volumes, secrets and networks that are used and not declared."""
    wrong: list[str] = []
    for one in document["services"].values():
        volumes = [volume.split(":")[0] for volume in one.get("volumes", []) if volume[0] not in "./$"]
        secrets = [secret if isinstance(secret, str) else secret["source"] for secret in one.get("secrets", [])]
        wrong += [name for name in volumes if name not in document["volumes"]]
        wrong += [name for name in secrets if name not in document["secrets"]]
        wrong += [name for name in one.get("networks", []) if name not in document["networks"]]
        wrong += [name for name in one.get("depends_on", {}) if name not in document["services"]]
    return wrong


def undocumented(text: str, pages: dict[str, str]) -> list[str]:
    """Variables that the file reads and a page does not explain."""
    used = set(re.findall(r"\$\{(\w+)", "\n".join(line for line in text.splitlines() if not line.startswith("#"))))
    assert len(used) >= 4
    return [f"{name} in {page}" for page, said in pages.items() for name in sorted(used) if name not in said]


def unknown_extras(dockerfile: str) -> list[str]:
    """Extras of the pip line that the package does not have."""
    known = metadata("backspan").get_all("Provides-Extra") or []
    (asked,) = re.findall(r"RUN pip install .*'/src\[([\w,]+)\]'", dockerfile)
    return [extra for extra in asked.split(",") if extra not in known]


def copied(dockerfile: Path) -> list[str]:
    """What a Dockerfile copies from its build context."""
    lines = re.findall(r"^COPY (?!--from)(.+) \S+$", dockerfile.read_text(encoding="utf-8"), re.MULTILINE)
    return [path for line in lines for path in line.split()]


def unrouted(document: Document, read: Callable[[str], str]) -> list[str]:
    """Addresses inside the network that no service has: in the mounted files' defaults and in command lines."""
    files = ("collector/collector.yaml", "collector/prometheus.yml", "grafana/provisioning/datasources/backspan.yaml")
    commands = [json.dumps(one.get("command", "")) for one in document["services"].values()]
    text = "\n".join([*(re.sub(r"(?m)#.*$", "", read(name)) for name in files), *commands])
    hosts = set(re.findall(r"\b([a-z][a-z-]+):(?:\d{4,5})\b", text)) - {"localhost"}
    assert len(hosts) >= 5
    return sorted(host for host in hosts if host not in document["services"])


def unneeded(document: Document) -> list[str]:
    """What the worker has and does not need: it opens a file that it shares with the gateway, and nothing else."""
    worker, gateway = document["services"]["worker"], document["services"]["gateway"]
    wrong = [f"worker: {key}" for key in ("ports", "networks", "secrets") if key in worker]
    wrong += [f"worker: {key}" for key in worker["environment"] if key != "BACKSPAN_FIELD_KEYS"]
    wrong += ["worker: network"] if worker.get("network_mode") != "none" else []
    return wrong + (["worker: volumes"] if worker["volumes"] != gateway["volumes"] else [])


def _default(volume: str) -> str:
    return re.sub(r"\$\{\w+:-(.+?)\}", r"\1", volume)


def _pages() -> dict[str, str]:
    head = COMPOSE.read_text(encoding="utf-8").partition("\nname: ")[0]
    return {"the head of the file": head,
            "docs/how-to/deploy.md": (ROOT / "docs/how-to/deploy.md").read_text(encoding="utf-8")}


def _read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


# --- the file is fine -------------------------------------------------------------------------------------------------
def test_every_service_has_the_least_privilege() -> None:
    assert unlocked(compose()) == []


def test_every_service_has_limits() -> None:
    assert unlimited(compose()) == []


def test_every_service_is_asked_for_its_health() -> None:
    assert unwatched(compose()) == []


def test_ports_are_published_on_loopback_only() -> None:
    assert exposed(compose()) == []


def test_images_are_pinned_and_marked() -> None:
    assert unpinned(compose(), COMPOSE.read_text(encoding="utf-8")) == []


def test_every_file_is_there() -> None:
    assert missing_files(compose(), ROOT) == []


def test_every_name_is_declared() -> None:
    assert undeclared(compose()) == []


def test_every_variable_is_documented() -> None:
    assert undocumented(COMPOSE.read_text(encoding="utf-8"), _pages()) == []


def test_every_address_has_a_service() -> None:
    assert unrouted(compose(), _read) == []


@pytest.mark.parametrize("dockerfile", ["collector/gateway.Dockerfile", "examples/Dockerfile"])
def test_the_pip_line_names_real_extras(dockerfile: str) -> None:
    assert unknown_extras(_read(dockerfile)) == []


def test_variables_of_ours_are_settings() -> None:
    known = {setting.variable for setting in SETTINGS}
    given = [name for one in compose()["services"].values() for name in one.get("environment", {})]
    assert [name for name in given if name.startswith("BACKSPAN") and name not in known] == []


def test_the_gateway_understands_its_command_line() -> None:
    import argparse

    parser = argparse.ArgumentParser()
    gateway_arguments(parser)
    entry = json.loads(re.findall(r"ENTRYPOINT (.+)", _read("collector/gateway.Dockerfile"))[0])
    assert entry[:2] == ["backspan", "gateway"]
    args = parser.parse_args([*entry[2:], *compose()["services"]["gateway"]["command"]])
    assert (args.host, args.port, args.forward) == ("0.0.0.0", 8318, "http://otel-collector:4318")


def test_the_worker_has_the_gateways_file_and_nothing_else() -> None:
    assert unneeded(compose()) == []


def test_the_worker_understands_its_command_line_and_its_health_check() -> None:
    import argparse

    parser = argparse.ArgumentParser()
    worker_arguments(parser)
    worker, gateway = (compose()["services"][name] for name in ("worker", "gateway"))
    assert (worker["entrypoint"], worker["image"]) == (["backspan", "worker"], gateway["image"])
    args = parser.parse_args(worker["command"])
    assert (args.keep_days, args.check, args.once) == ({"turns": 30.0, "votes": 400.0}, False, False)
    kind, *checked = worker["healthcheck"]["test"]
    assert (kind, checked[:2]) == ("CMD", worker["entrypoint"])
    asked = parser.parse_args(checked[2:])
    assert asked.check and asked.db is args.db is None  # both mean the file of the gateway


def test_the_example_understands_its_command_line(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = json.loads(re.findall(r"ENTRYPOINT (.+)", _read("examples/Dockerfile"))[0])
    assert entry == ["python", "/rag_chat/simulate.py"]
    asked = [*compose()["services"]["example"]["command"], "--help"]
    done = subprocess.run([sys.executable, ROOT / "examples/rag_chat/simulate.py", *asked], capture_output=True)
    assert done.returncode == 0, done.stderr
    refused = subprocess.run([sys.executable, ROOT / "examples/rag_chat/simulate.py", "--no-such"], capture_output=True)
    assert refused.returncode == 2


def test_prometheus_gets_the_flags_that_the_stack_is_tested_with(tmp_path: Path) -> None:
    """Both ways run the same server: what differs are addresses and paths."""
    (tested,) = (one for one in programs(Plan(tmp_path, Ports(), tmp_path)) if one.name == "prometheus")
    placed = ("--config.file", "--storage.tsdb.path", "--web.listen-address")
    flags = [flag for flag in tested.command[1:] if not flag.startswith(placed)]
    shipped = [flag for flag in compose()["services"]["prometheus"]["command"] if not flag.startswith(placed)]
    assert sorted(flags) == sorted(shipped)


def test_what_is_copied_is_enough_to_build_the_package(tmp_path: Path) -> None:
    """The build context of the images, with hatchling as pip would run it."""
    for path in copied(ROOT / "collector/gateway.Dockerfile"):
        source = ROOT / path
        ignored = shutil.ignore_patterns("__pycache__")
        if source.is_dir():
            shutil.copytree(source, tmp_path / "src" / path, ignore=ignored)
        else:
            (tmp_path / "src").mkdir(exist_ok=True)
            shutil.copy(source, tmp_path / "src" / path)
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path / "out"]
    done = subprocess.run(build, cwd=tmp_path / "src", capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    shutil.rmtree(tmp_path / "src/grafana")  # the twin: without one of them it fails
    assert subprocess.run(build, cwd=tmp_path / "src", capture_output=True).returncode != 0


# --- the twins --------------------------------------------------------------------------------------------------------
def spoilt(change: Callable[[Document], object]) -> Document:
    """The file with one thing wrong."""
    document = copy.deepcopy(compose())
    change(document["services"])
    return document


@pytest.mark.parametrize(("check", "change", "said"), [
    (unlocked, lambda s: s["tempo"].pop("read_only"), ["tempo: read_only"]),
    (unlocked, lambda s: s["gateway"].update(cap_drop=[]), ["gateway: cap_drop"]),
    (unlocked, lambda s: s["example"].update(security_opt=[]), ["example: security_opt"]),
    (unlocked, lambda s: s["grafana"].update(user="0:0"), ["grafana: root"]),
    (unlocked, lambda s: s["grafana"].update(privileged=True), ["grafana: privileged"]),
    (unlocked, lambda s: s["gateway"]["volumes"].append("/var/run/docker.sock:/s"), ["gateway: Docker's socket"]),
    (unlimited, lambda s: s["prometheus"].pop("mem_limit"), ["prometheus: mem_limit"]),
    (unlimited, lambda s: s["volume-init"].pop("cpus"), ["volume-init: cpus"]),
    (unwatched, lambda s: s["gateway"].pop("healthcheck"), ["gateway"]),
    (unwatched, lambda s: s["stack-ready"].update(command="tempo:3200/ready"), ["otel-collector"]),
    (exposed, lambda s: s["grafana"].update(ports=["3000:3000"]), ["3000:3000"]),
    (exposed, lambda s: s["tempo"].update(ports=["0.0.0.0:3200:3200"]), ["0.0.0.0:3200:3200"]),
    (unneeded, lambda s: s["worker"].update(ports=["127.0.0.1:1:1"]), ["worker: ports"]),
    (unneeded, lambda s: s["worker"].pop("network_mode"), ["worker: network"]),
    (unneeded, lambda s: s["worker"]["environment"].update(BACKSPAN_API_KEY="k"), ["worker: BACKSPAN_API_KEY"]),
    (unneeded, lambda s: s["worker"].update(volumes=["worker-data:/data"]), ["worker: volumes"]),
    (unwatched, lambda s: s["worker"].pop("healthcheck"), ["worker"]),
    (undeclared, lambda s: s["tempo"].update(volumes=["tempo:/var/tempo"]), ["tempo"]),
    (undeclared, lambda s: s["alertmanager"].update(secrets=["slack"]), ["slack"]),
    (undeclared, lambda s: s["gateway"].update(depends_on={"db": {}}), ["db"]),
])
def test_a_spoilt_service_is_noticed(
    check: Callable[[Document], list[str]], change: Callable[[Document], object], said: list[str]
) -> None:
    assert check(spoilt(change)) == said


def test_other_spoilt_things_are_noticed() -> None:
    text = COMPOSE.read_text(encoding="utf-8")
    latest = spoilt(lambda s: s["volume-init"].update(image="busybox:latest"))
    assert unpinned(latest, text + "\nbusybox:latest # not pulled") == ["volume-init"]
    assert unpinned(compose(), text.replace("0.159.0   # not pulled", "0.159.0   #")) == ["otel-collector"]
    lost = spoilt(lambda s: s["tempo"]["volumes"].append("./collector/tempo.yml:/t:ro"))
    assert missing_files(lost, ROOT) == ["./collector/tempo.yml"]
    assert undocumented(text + "\n  x: ${NO_SUCH_VARIABLE}", {"page": text}) == ["NO_SUCH_VARIABLE in page"]
    assert unknown_extras("RUN pip install '/src[server,wings]'") == ["wings"]
    renamed = compose()
    renamed["services"]["loki"] = renamed["services"].pop("tempo")
    assert unrouted(renamed, _read) == ["tempo"]
