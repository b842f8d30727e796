"""The wheel as users get it: what is in it, what installing and removing it does."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import zipfile
from collections import Counter
from email.parser import Parser
from pathlib import Path

import pytest
from tests.support.openai_server import OpenAIServer
from tests.support.otlp_sink import OtlpSink
from tests.support.processes import APPS, environment, run

HERE = Path(__file__).parent
COMMANDS = [
    ["--help"],
    ["config", "--json"],
    ["rules", "generate", "--out", "rules"],
    ["dashboards", "generate", "--out", "dashboards"],
    ["up", "--help"],
    ["demo", "--help"],
    ["stack", "--help"],
]


@pytest.fixture(scope="module")
def names(wheel) -> list[str]:
    with zipfile.ZipFile(wheel) as archive:
        return archive.namelist()


@pytest.fixture(scope="module")
def metadata(wheel, names):
    (path,) = [name for name in names if name.endswith(".dist-info/METADATA")]
    with zipfile.ZipFile(wheel) as archive:
        return Parser().parsestr(archive.read(path).decode())


# --- contents --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "name",
    [
        "backspan.pth",
        "backspan.start",
        "backspan/py.typed",
        "backspan/_site/sitecustomize.py",
        "backspan/rules/spc.yaml",
        "backspan/assets/collector/collector.yaml",
        "backspan/assets/collector/build/otelcol/go.sum",
        "backspan/assets/grafana/dashboards/control-charts.json",
        "backspan/assets/examples/rag_chat/app.py",
    ],
)
def test_what_must_be_inside(name, names):
    assert name in names


def test_nothing_else_is_inside(names):
    tops = {name.partition("/")[0] for name in names}
    assert tops == {"backspan", "backspan.pth", "backspan.start", "backspan-0.1.0.dist-info"}
    strays = re.compile(r"(^|/)(\.|__pycache__|[^/]*\.(pyc|db|db-wal|log)$|secrets/)")
    assert not [name for name in names if strays.search(name)]


def test_metadata(metadata):
    assert metadata["Requires-Python"] == ">=3.10" and metadata["License-Expression"] == "Apache-2.0"
    assert metadata["License-File"] == "LICENSE"
    assert {"server", "postgres", "rules", "all"} <= set(metadata.get_all("Provides-Extra"))
    required = metadata.get_all("Requires-Dist")
    core = {re.split(r"[^\w.-]", line)[0] for line in required if "extra ==" not in line}
    assert core == {
        "opentelemetry-sdk",
        "opentelemetry-exporter-otlp",
        "opentelemetry-instrumentation-httpx",
        "wrapt",
        "prometheus-client",
    }
    assert not any(line.startswith("openai") for line in required)


# --- a new environment, by the README --------------------------------------------------------------------------------
def test_the_five_lines_of_the_readme(readme):
    assert readme.done.returncode == 0, readme.done.stderr
    assert "chat: You said: Where is my parcel?" in readme.done.stdout
    turns = json.loads(readme.turns)["turns"]
    assert len(turns) >= 4, turns


def test_the_variable_alone(readme, tmp_path):
    with OpenAIServer() as model, OtlpSink() as sink:
        env = environment(
            BACKSPAN="1",
            OPENAI_BASE_URL=model.base_url,
            OTEL_EXPORTER_OTLP_ENDPOINT=sink.endpoint,
            BACKSPAN_DATA_DIR=str(tmp_path),
        )
        done = run([readme.python, "chat.py"], env)
        assert (done.returncode, done.stderr) == (0, "")
        found = Counter(span.name for span in sink.wait_spans(5))
    assert found == {"chat gpt-test": 4, "embeddings embed-test": 1}


@pytest.mark.parametrize("variable", [None, "1"], ids=["off", "on"])
def test_every_module_is_imported_and_every_public_name_called(variable, readme, tmp_path):
    env = environment(
        BACKSPAN=variable, BACKSPAN_RAISE="1", BACKSPAN_DATA_DIR=str(tmp_path), OTEL_TRACES_EXPORTER="none",
        OTEL_METRICS_EXPORTER="none",
    )  # fmt: skip
    done = run([readme.python, "-W", "error", "-W", "ignore:Prefer using", HERE / "call_everything.py"], env)
    assert (done.returncode, done.stderr) == (0, "")
    assert "record_feedback -> Receipt" in done.stdout


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_commands_from_the_wheel(command, readme, tmp_path):
    done = run([readme.python, "-m", "backspan", *command], environment(), cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


# --- installing and removing -----------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def bare(tmp_path_factory) -> Path:
    """The interpreter of an environment that holds pip and nothing else."""
    folder = tmp_path_factory.mktemp("bare") / "venv"
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True, timeout=120)
    return folder / "bin" / "python"


def _left(python: Path) -> list[str]:
    code = "import sysconfig, os; print(*sorted(os.listdir(sysconfig.get_path('purelib'))))"
    return [name for name in run([python, "-c", code], environment()).stdout.split() if "backspan" in name]


def test_uninstalling_leaves_nothing(wheel, bare):
    quiet = ["--quiet", "--disable-pip-version-check", "--no-input"]
    run([bare, "-m", "pip", "install", *quiet, "--no-deps", wheel], environment()).check_returncode()
    assert {"backspan", "backspan.pth", "backspan.start"} < set(_left(bare))
    run([bare, "-m", "pip", "uninstall", *quiet, "--yes", "backspan"], environment(BACKSPAN="1")).check_returncode()
    assert _left(bare) == []
    assert run([bare, "-c", "pass"], environment(BACKSPAN="1")).stderr == ""


def test_where_pth_files_are_not_read_backspan_run_opens_the_door(wheel, bare, tmp_path):
    folder = tmp_path / "target"
    install = [bare, "-m", "pip", "install", "--quiet", "--no-deps", "--target", folder, wheel]
    run(install, environment()).check_returncode()
    code = "import sys; boot = sys.modules.get('backspan._boot'); print(bool(boot and boot.is_running()))"
    env = environment(PYTHONPATH=str(folder), BACKSPAN="1")
    assert run([bare, "-c", code], env).stdout == "False\n"
    assert run([bare, "-m", "backspan", "run", "--", bare, "-c", code], env).stdout == "True\n"


def test_a_program_of_another_python_is_told(wheel, bare, tmp_path):
    """`backspan run` given a Python that has no backspan: it runs, and one line says that nothing is traced."""
    folder = tmp_path / "target"
    run([bare, "-m", "pip", "install", "--quiet", "--no-deps", "--target", folder, wheel], environment())
    env = environment(PYTHONPATH=str(folder / "backspan" / "_site"))
    done = run([bare, "-c", "print('runs')"], env, cwd=APPS)
    assert done.stdout == "runs\n" and "nothing is traced there" in done.stderr
