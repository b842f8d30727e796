"""What every test gets: a clean environment, our own faults raised, and skips that nobody can overlook."""

from __future__ import annotations

import fnmatch
import os
import sys
from pathlib import Path

import pytest

from tests.support import databases

SKIPS = Path(__file__).with_name("skips.txt")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--strict-skips", action="store_true", help="fail on a skipped test that skips.txt does not list")
    parser.addoption("--database", default="sqlite", help="what tests of the store and of servers run on: `sqlite`, "
                     "`postgresql` (of the group `postgres`), or a folder of PostgreSQL's programs")


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No setting of the developer's shell reaches a test, and no test writes outside its own folder."""
    for name in list(os.environ):
        if name == "BACKSPAN" or name.startswith(("BACKSPAN_", "OTEL_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("BACKSPAN_RAISE", "1")
    monkeypatch.setenv("BACKSPAN_DATA_DIR", str(tmp_path / "data"))
    config = sys.modules.get("backspan.config")
    if config is not None:
        config.reload()


def allowed_skips() -> list[tuple[str, str]]:
    """The lines of skips.txt: a pattern of test ids and the reason, parted by two spaces or more."""
    lines = [line.strip() for line in SKIPS.read_text(encoding="utf-8").splitlines()]
    pairs = [line.partition("  ") for line in lines if line and not line.startswith("#")]
    return [(pattern.strip(), reason.strip()) for pattern, _, reason in pairs]


def unlisted(skipped: list[str]) -> list[str]:
    """Those of the skipped test ids that no line with a reason covers."""
    patterns = [pattern for pattern, reason in allowed_skips() if reason]
    return [nodeid for nodeid in skipped if not any(fnmatch.fnmatchcase(nodeid, pattern) for pattern in patterns)]


class StrictSkips:
    """Turns a session with an unlisted skip into a failed one."""

    def __init__(self) -> None:
        self.skipped: dict[str, str] = {}

    def _note(self, report: pytest.TestReport | pytest.CollectReport) -> None:
        if report.skipped and not hasattr(report, "wasxfail"):
            reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
            self.skipped[report.nodeid] = reason

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._note(report)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        self._note(report)

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if unlisted(list(self.skipped)) and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        for nodeid in unlisted(list(self.skipped)):
            said = f"SKIP NOT LISTED in tests/skips.txt: {nodeid}: {self.skipped[nodeid]}"
            terminalreporter.write_line(said, red=True)


def pytest_unconfigure() -> None:
    databases.close()


def pytest_configure(config: pytest.Config) -> None:
    databases.wanted = config.getoption("--database")
    if config.getoption("--strict-skips"):
        config.pluginmanager.register(StrictSkips(), "strict-skips")
