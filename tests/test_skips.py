"""The plug-in in conftest.py that lets no skip go unnoticed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests import conftest
from tests.support.processes import environment

SKIPPING = "import pytest\n\ndef test_it():\n    pytest.skip('no reason')\n"


def test_every_line_has_a_reason():
    assert all(reason for _, reason in conftest.allowed_skips())


def _run(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    conftest_text = Path(conftest.__file__).read_text(encoding="utf-8")
    (folder / "conftest.py").write_text(conftest_text)
    (folder / "test_it.py").write_text(SKIPPING)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_it.py", *options]
    env = environment(PYTHONPATH=str(conftest.SKIPS.parents[1]))
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize(
    ("skips", "code"),
    [("", 1), ("test_it.py::test_it", 1), ("test_it.py::test_it  needs a moon", 0), ("other.py::*  a reason", 1)],
)
def test_an_unlisted_skip_fails_the_session(skips, code, tmp_path):
    (tmp_path / "skips.txt").write_text(skips + "\n")
    done = _run(tmp_path, "--strict-skips")
    assert done.returncode == code, done.stdout
    assert ("SKIP NOT LISTED" in done.stdout) is bool(code)


def test_without_the_option_skips_are_only_shown(tmp_path):
    (tmp_path / "skips.txt").write_text("")
    assert _run(tmp_path).returncode == 0
