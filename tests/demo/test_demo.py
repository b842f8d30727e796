"""The whole command, with its processes, over real HTTP."""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from tests.support.processes import hear_ctrl_c

from backspan.cli import demo
from backspan.cli._demo import cast
from backspan.cli._local import answers, fetch

COMMAND = [sys.executable, "-c", "import sys; from backspan.cli import main; sys.exit(main())", "demo"]
TIMEOUT_S = 240
"""Far above the minute it may take: a busy machine must not fail the test."""


@contextmanager
def started(tmp_path: Path, *options: str, **variables: str) -> Iterator[subprocess.Popen[str]]:
    """The demo, running; whatever happens it is ended afterwards."""
    env = {**os.environ, "TMPDIR": str(tmp_path), "COLUMNS": "80", "NO_COLOR": "1", **variables}
    process = subprocess.Popen(
        [*COMMAND, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env, text=True, encoding="utf-8",
        preexec_fn=hear_ctrl_c,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
        process.communicate(timeout=60)


def wait_for_line(process: subprocess.Popen[str], wanted: str) -> str:
    """Read the demo's stderr up to the line that holds ``wanted``."""
    assert process.stderr
    for line in process.stderr:
        if wanted in line:
            return line
    raise AssertionError(f"no line with {wanted!r}")


def children_of(process: subprocess.Popen[str]) -> dict[int, str]:
    """Process ids and command lines of the demo's children."""
    found: dict[int, str] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(FileNotFoundError, ProcessLookupError):  # one may end while we look
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == process.pid:
                found[int(entry.name)] = (entry / "cmdline").read_text().replace("\0", " ")
    return found


def gone(pids: Any) -> bool:
    return not any(Path(f"/proc/{pid}").exists() for pid in pids)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """The outcome of `--keep --json`, everything still up; afterwards Ctrl-C."""
    folder = tmp_path_factory.mktemp("kept")
    with started(folder, "--keep", "--json") as process:
        assert process.stdout
        text = ""
        for line in process.stdout:
            text += line
            if line == "}\n":
                break
        pids = children_of(process)
        yield json.loads(text)
        process.send_signal(signal.SIGINT)
        assert 0 == process.wait(60)
        assert 3 == len(pids)
        assert gone(pids)
        assert [] == list(folder.iterdir())


@pytest.mark.demo
def test_the_bad_version_is_found_after_its_release(kept: dict[str, Any]) -> None:
    assert (True, True) == (kept["alarm"], kept["as_intended"])
    assert "v2" == kept["guilty"]["value"]
    assert kept["released_at_rating"] <= kept["alarm_at_rating"] <= kept["ratings"]
    assert kept["by_version"]["v1"]["down"] / kept["by_version"]["v1"]["ratings"] < 0.1


@pytest.mark.demo
def test_the_worst_turns_lead_to_their_traces(kept: dict[str, Any]) -> None:
    """Each has the model's call and the retrieval in its trace, and the votes on it."""
    assert 3 == len(kept["worst_turns"])
    for turn in kept["worst_turns"]:
        stored = json.loads(fetch(f"{kept['urls']['up']}/api/turns/{turn['turn_id']}"))
        assert (turn["trace_id"], "v2") == (stored["trace_id"], stored["prompt_version"])
        assert {"chat", "retrieval"} <= {call["operation"] for call in stored["calls"]}
        assert "user_thumbs" in {vote["name"] for vote in stored["feedback"]}
        assert turn["votes"][0].startswith("thumbs down")


@pytest.mark.demo
def test_kept_servers_answer(kept: dict[str, Any]) -> None:
    assert all(answers(f"{kept['urls'][name]}/healthz") for name in ("up", "application", "model"))
    assert b'prompt_version":"v2"' in fetch(f"{kept['urls']['application']}/healthz")
    assert b"backspan_feedback_total" in fetch(f"{kept['urls']['up']}/metrics")


@pytest.mark.demo
def test_the_same_seed_gives_the_same_alarm(kept: dict[str, Any], tmp_path: Path) -> None:
    """And the text says what the data say."""
    with started(tmp_path) as process:
        text, progress = process.communicate(timeout=TIMEOUT_S)
    assert 0 == process.returncode, progress
    assert f"ALARM  BackspanQualityRegression  at rating {kept['alarm_at_rating']}\n" in text
    assert f"v2 went out at rating {kept['released_at_rating']}" in " ".join(text.split())
    assert [turn["question"] for turn in kept["worst_turns"]] == [
        " ".join(asked.split()) for asked in re.findall(r"\d asked   ((?:.|\n)*?)\n    answer", text)
    ]
    assert max(map(len, text.splitlines()[:-1])) <= 80
    assert "\x1b" not in text + progress


@pytest.mark.demo
def test_without_a_regression_nothing_alarms(tmp_path: Path) -> None:
    """The twin: the same users and the good prompt."""
    with started(tmp_path, "--no-regression", "--json") as process:
        text, progress = process.communicate(timeout=TIMEOUT_S)
    told = json.loads(text)
    assert (0, False, True) == (process.returncode, told["alarm"], told["as_intended"]), progress
    assert (None, []) == (told["alarm_at_rating"], told["worst_turns"])
    assert told["ratings"] > 300


@pytest.mark.demo
def test_ctrl_c_ends_everything(tmp_path: Path) -> None:
    with started(tmp_path) as process:
        wait_for_line(process, "are ready")
        pids = children_of(process)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert 130 == process.returncode
    assert "interrupted" in said
    assert 3 == len(pids)
    assert gone(pids)
    assert [] == list(tmp_path.iterdir())


@pytest.mark.demo
def test_a_crashed_child_is_reported(tmp_path: Path) -> None:
    with started(tmp_path) as process:
        wait_for_line(process, "are ready")
        pids = children_of(process)
        os.kill(next(pid for pid, args in pids.items() if "app.py" in args), signal.SIGKILL)
        _, said = process.communicate(timeout=60)
    assert 2 == process.returncode
    assert "application ended with signal SIGKILL" in said
    assert gone(pids)


@pytest.mark.demo
def test_without_the_variable_the_demo_notices(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The twin: the same application with `BACKSPAN` unset answers, but nothing of it can be judged."""
    variables = cast._app_variables
    monkeypatch.setattr(cast, "_app_variables", lambda *urls: {**variables(*urls), "BACKSPAN": ""})
    parser = argparse.ArgumentParser()
    demo.add_arguments(parser)
    assert 2 == demo.run(parser.parse_args([]))
    assert "no feedback token: is it running with BACKSPAN=1?" in capsys.readouterr().err


def test_a_missing_package_is_named_with_the_line_that_installs_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("backspan.cli._demo.cast._NEEDS", ("no_such_package",))
    parser = argparse.ArgumentParser()
    demo.add_arguments(parser)
    assert 2 == demo.run(parser.parse_args([]))
    assert re.search(r"pip install 'backspan\[all\]' -r \S+requirements\.txt", capsys.readouterr().err)


def test_the_temporary_folder_is_the_environment_s(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the tests above rely on when they look for leftovers."""
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    assert tempfile.gettempdir() == str(tmp_path)
