"""The command line as a whole, and the small commands: run, doctor, config."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import import_module
from types import ModuleType

import pytest
from tests.support.held import hold
from tests.support.otlp_sink import OtlpSink
from tests.support.processes import environment

from backspan import cli
from backspan.cli import config, doctor, run


@pytest.fixture
def command(monkeypatch):
    """Make `backspan config` run the function given instead."""

    def make(function):
        module = ModuleType("backspan.cli.config")
        module.NAME, module.HELP, module.add_arguments, module.run = "config", "Help.", lambda parser: None, function
        monkeypatch.setitem(sys.modules, module.__name__, module)

    return make


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_has_its_module_and_its_help(name, capsys):
    module = import_module(f"backspan.cli.{name}")
    assert module.NAME == name and module.HELP
    with pytest.raises(SystemExit) as ended:
        cli.main([name, "--help"])
    assert ended.value.code == 0
    assert f"usage: backspan {name}" in capsys.readouterr().out


def test_overview(capsys):
    assert cli.main(["--help"]) == 0
    said = capsys.readouterr()
    assert all(f"  {name}" in said.out for name in cli.COMMANDS) and said.err == ""
    assert cli.main([]) == 2


def test_version(capsys):
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == "backspan 0.1.0\n"


def test_a_typo_is_named_and_the_near_command_proposed(capsys):
    assert cli.main(["docter"]) == 2
    said = capsys.readouterr()
    assert said.out == "" and "no command 'docter'; did you mean 'doctor'?" in said.err
    assert cli.main(["xyz"]) == 2
    assert "see `backspan --help`" in capsys.readouterr().err


def test_wrong_options_are_usage():
    with pytest.raises(SystemExit) as ended:
        cli.main(["config", "--no-such-option"])
    assert ended.value.code == 2


@pytest.mark.parametrize(
    ("package", "line"),
    [("sqlalchemy", "pip install 'backspan[server]'"), ("yaml.nodes", "pip install 'backspan[rules]'"),
     ("qdrant_client", "pip install qdrant-client")],
)  # fmt: skip
def test_a_missing_extra_is_a_pip_line(package, line, command, capsys):
    def miss(args):
        raise ModuleNotFoundError(f"No module named {package!r}", name=package)

    command(miss)
    assert cli.main(["config"]) == 2
    said = capsys.readouterr()
    assert said.err.strip() == f"backspan config needs {package.partition('.')[0]}: {line}"


def test_a_module_of_ours_that_is_missing_is_a_fault(command, capsys):
    def miss(args):
        raise ModuleNotFoundError("No module named 'backspan.nothing'", name="backspan.nothing")

    command(miss)
    assert cli.main(["config"]) == 2
    assert "Traceback" in capsys.readouterr().err


def test_a_fault_is_a_traceback_and_2(command, capsys):
    command(lambda args: 1 // 0)
    assert cli.main(["config"]) == 2
    assert "ZeroDivisionError" in capsys.readouterr().err


def test_findings_are_1_and_interrupts_130(command):
    command(lambda args: 1)
    assert cli.main(["config"]) == 1

    def interrupt(args):
        raise KeyboardInterrupt

    command(interrupt)
    assert cli.main(["config"]) == 130


def test_a_reader_that_has_gone_is_forgiven():
    line = f"{sys.executable} -m backspan config --json | head -c 1; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", line], env=environment(), capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


def _loaded(tmp_path, *arguments):
    """The modules of a process that ran a command."""
    code = f"import sys, backspan.cli; backspan.cli.main({arguments!r}); print(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], env=environment(BACKSPAN_DATA_DIR=str(tmp_path)),
                          capture_output=True, text=True, timeout=60)
    return set(done.stderr.split())


def test_the_overview_is_quick_to_load(tmp_path):
    """`backspan --help` loads no SDK and no server."""
    assert not {"opentelemetry", "fastapi", "sqlalchemy", "wrapt"} & _loaded(tmp_path, "--help")


def test_a_command_about_keys_loads_the_store_and_no_server(tmp_path):
    loaded = _loaded(tmp_path, "gateway", "keys", "list")
    assert "sqlalchemy" in loaded and not {"fastapi", "backspan.server"} & loaded


# --- run -------------------------------------------------------------------------------------------------------------
def test_run_environment():
    made = run.environment({"PATH": "/bin", "PYTHONPATH": "/mine"}, content=False)
    assert made["BACKSPAN"] == "1" and made["PATH"] == "/bin"
    first, mine = made["PYTHONPATH"].split(":")
    assert first.endswith("_site") and mine == "/mine"
    assert run.environment(made, content=False) == made


def test_run_content_and_the_operators_switch():
    assert run.environment({}, content=True)["BACKSPAN"] == "content"
    assert run.environment({"BACKSPAN": "1"}, content=True)["BACKSPAN"] == "content"
    assert run.environment({"BACKSPAN": "0"}, content=True)["BACKSPAN"] == "0"


def test_run_without_a_program(capsys):
    assert cli.main(["run"]) == 2
    assert cli.main(["run", "--"]) == 2
    assert "which program?" in capsys.readouterr().err


# --- config ----------------------------------------------------------------------------------------------------------
def test_config_says_value_and_origin():
    found = {row["name"]: row for row in config.rows({"BACKSPAN": "content", "OTEL_SERVICE_NAME": "shop"})}
    assert (found["BACKSPAN"]["value"], found["BACKSPAN"]["origin"]) == (True, "environment")
    assert found["BACKSPAN_INSTRUMENT"]["origin"] == "default"
    assert found["OTEL_SERVICE_NAME"] == {"name": "OTEL_SERVICE_NAME", "value": "shop", "origin": "environment"}


@pytest.mark.parametrize("name", ["BACKSPAN_API_KEY", "BACKSPAN_TOKEN_KEYS", "OTEL_EXPORTER_OTLP_HEADERS"])
def test_config_masks_secrets(name):
    found = {row["name"]: row["value"] for row in config.rows({name: "hunter2"})}
    assert found[name] == "(set)"
    assert "hunter2" not in json.dumps(found, default=str)


def test_config_prints_a_table_or_json(capsys, monkeypatch):
    monkeypatch.setenv("BACKSPAN_INSTRUMENT", "httpx,-openai")
    assert cli.main(["config"]) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("BACKSPAN_INSTRUMENT ")]
    assert line.split(None, 1)[1].startswith("httpx, -openai") and line.endswith("environment")
    assert cli.main(["config", "--json"]) == 0
    assert {row["name"] for row in json.loads(capsys.readouterr().out)} >= {"BACKSPAN", "BACKSPAN_DATA_DIR"}


# --- doctor ----------------------------------------------------------------------------------------------------------
def _checks(**environ: str) -> dict[str, doctor.Check]:
    return {check.name: check for check in doctor.checks(environment(**environ))}


def test_doctor_finds_everything_well(monkeypatch, capsys):
    with OtlpSink() as sink:
        monkeypatch.setenv("BACKSPAN", "1")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", sink.endpoint)
        assert cli.main(["doctor", "--json"]) == 0
    found = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert {row["status"] for row in found.values()} == {"ok"}, found
    assert found["door: the variable"]["detail"] == "BACKSPAN=1 opens it in a new interpreter"


@pytest.mark.parametrize(("said", "status"), [(None, "ok"), ("off", "ok"), ("SSE", "ok"), ("on", "warn")])
def test_doctor_knows_what_puts_tokens_on_answers(said, status):
    given = {} if said is None else {"BACKSPAN_TOKEN": said}
    found = _checks(**given)
    assert found["tokens on answers"].status == status and "token keys" not in found


def test_doctor_finds_a_token_key_that_cannot_be_used():
    found = _checks(BACKSPAN_TOKEN_KEYS="my-secret")["token keys"]
    assert found.status == "fail" and "my-secret" not in found.detail + found.fix


def test_doctor_sends_a_test_span(monkeypatch):
    with OtlpSink() as sink:
        env = environment(BACKSPAN="1", OTEL_EXPORTER_OTLP_ENDPOINT=sink.endpoint)
        command = [sys.executable, "-m", "backspan", "doctor", "--send"]
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stdout
        (span,) = sink.wait_spans(1)
    assert span.name == "backspan doctor" and span.trace_id in done.stdout


def test_doctor_finds_what_is_wrong(capsys, monkeypatch):
    with hold() as port:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{port}")
        assert cli.main(["doctor"]) == 1
    said = capsys.readouterr().out
    assert "warn  switch" in said and "-> set BACKSPAN=1" in said
    assert "fail  endpoint" in said and "Connection refused" in said and "`backspan up`" in said


@pytest.mark.parametrize(
    ("environ", "name", "status"),
    [
        ({"OTEL_SDK_DISABLED": "true"}, "switch", "warn"),
        ({"BACKSPAN": "maybe"}, "switch", "warn"),
        ({"OTEL_CONFIG_FILE": "x.yaml"}, "otel config file", "warn"),
        ({"OTEL_EXPORTER_OTLP_PROTOCOL": "carrier-pigeon"}, "exporter", "fail"),
        ({"OTEL_TRACES_EXPORTER": "console"}, "exporter", "ok"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:99999"}, "endpoint", "fail"),
        ({"BACKSPAN_GATEWAY_URL": "http://127.0.0.1:1"}, "gateway", "fail"),
        ({"BACKSPAN_DATA_DIR": "/dev/null/data"}, "data folder", "warn"),
    ],
)
def test_doctor_on_settings(environ, name, status):
    assert _checks(**environ)[name].status == status


def test_doctor_on_names_that_nobody_instruments(monkeypatch):
    monkeypatch.setenv("BACKSPAN_INSTRUMENT", "httpx,no_such_library")
    assert _checks()["instrument no_such_library"].status == "fail"
    assert "instrument httpx" not in _checks()


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, ("http/protobuf", "http://localhost:4318")),
        ({"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, ("grpc", "http://localhost:4317")),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://a:1", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://b:2/v1/traces"},
         ("http/protobuf", "http://b:2/v1/traces")),
    ],
)  # fmt: skip
def test_doctor_knows_where_spans_go(environ, expected):
    assert doctor.endpoint(environ) == expected


@pytest.mark.parametrize(
    ("name", "first", "beyond", "status"),
    [("pytest", "1", "99", "ok"), ("pytest", "99", None, "warn"), ("pytest", None, "2", "warn"),
     ("not-installed-at-all", "1", "2", "ok")],
)  # fmt: skip
def test_doctor_knows_versions(name, first, beyond, status):
    assert doctor._library(name, first, beyond).status == status
