"""Each file is accepted by its program's own validator, and a spoilt one is not."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from backspan._assets import asset
from backspan.cli._stack.build import bin_dir
from backspan.cli._stack.plan import Plan, free_ports
from backspan.cli._stack.render import render

pytestmark = pytest.mark.stack
_BINARIES = bin_dir()  # before the tests' clean environment hides where the developer's are


def accepts(*command: str | Path) -> bool:
    """Run a validator, by name and arguments; whether it exited with 0."""
    program, *rest = command
    env = {**os.environ, "REDACTION_HMAC_KEY": "k" * 64}
    done = subprocess.run([_BINARIES / program, *rest], env=env, capture_output=True, text=True, timeout=120)
    print(done.stdout, done.stderr)
    return done.returncode == 0


def collector(path: Path) -> bool:
    return accepts("otelcol-backspan", "validate", "--config", path)


def tempo(path: Path) -> bool:
    return accepts("tempo", f"-config.file={path}", "-config.verify=true")


def prometheus(path: Path) -> bool:
    return accepts("promtool", "check", "config", path)


def prometheus_syntax(path: Path) -> bool:
    """Without the rule files, which are elsewhere in a container."""
    return accepts("promtool", "check", "config", "--syntax-only", path)


def alertmanager(path: Path) -> bool:
    return accepts("amtool", "check-config", path)


CHECKS = {
    "collector.yaml": collector,
    "tempo.yaml": tempo,
    "prometheus.yml": prometheus_syntax,
    "alertmanager.yml": alertmanager,
}


@pytest.mark.parametrize("name", CHECKS)
def test_the_shipped_file_is_accepted(name: str) -> None:
    assert CHECKS[name](asset("collector") / name)


@pytest.mark.parametrize("name", CHECKS)
def test_an_unknown_key_is_refused(name: str, tmp_path: Path) -> None:
    spoilt = tmp_path / name
    spoilt.write_text((asset("collector") / name).read_text(encoding="utf-8") + "\nno_such_key: 1\n", encoding="utf-8")
    assert not CHECKS[name](spoilt)


@pytest.mark.parametrize(("name", "check"), [*CHECKS.items(), ("prometheus.yml", prometheus)])
def test_the_rendered_file_is_accepted(name: str, check: Callable[[Path], bool], tmp_path: Path) -> None:
    plan = Plan(tmp_path, free_ports(), asset("collector/rules"), pager="http://127.0.0.1:1/page")
    render(plan)
    assert check(plan.config / name)


def test_the_generated_rules_are_accepted() -> None:
    """Their tests run with those of the rules (`tests/rules`)."""
    assert accepts("promtool", "check", "rules", *sorted(asset("collector/rules").glob("*.yml")))


def compose(path: Path) -> bool:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", path]
    return subprocess.run(command, timeout=120, check=False).returncode == 0


def test_the_compose_file_is_accepted(tmp_path: Path) -> None:
    assert compose(asset("docker-compose.yml"))
    spoilt = tmp_path / "docker-compose.yml"
    text = asset("docker-compose.yml").read_text(encoding="utf-8")
    spoilt.write_text(text.replace("mem_limit:", "memory:"), encoding="utf-8")
    assert not compose(spoilt)
