"""Running rule documents under every promtool at hand: that of Debian (2.42) and the one that `make stack` builds."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from backspan.rules.generate import write

BUILT = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "backspan" / "stack" / "bin" / "promtool"


def found() -> list[str]:
    """Every promtool: on PATH, and built."""
    candidates = [shutil.which("promtool"), str(BUILT) if BUILT.is_file() else None]
    return list(dict.fromkeys(os.path.realpath(path) for path in candidates if path)) or ["none"]


def need(tool: str) -> str:
    """``tool``, if there is one; the test fails otherwise and says how to get one."""
    if tool == "none":
        hint = "run `make stack`, or install Debian's package `prometheus`"
        pytest.fail(f"no promtool on PATH nor at {BUILT}: {hint}", pytrace=False)
    return tool


def run(tool: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """What promtool says."""
    command = [need(tool), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


def verdict(tool: str, folder: Path, rules: Any, test: Any) -> subprocess.CompletedProcess[str]:
    """promtool's verdict on the document ``rules`` under the test file or document ``test``.

    Its rule file must be rules.yml.
    """
    (folder / "rules.yml").write_text(write(rules), encoding="utf-8")
    (folder / "test.yml").write_text(test if isinstance(test, str) else write(test), encoding="utf-8")
    return run(tool, "test", "rules", folder / "test.yml")


def passes(tool: str, folder: Path, rules: Any, test: Any) -> None:
    """The test succeeds."""
    result = verdict(tool, folder, rules, test)
    assert result.returncode == 0, (result.stdout + result.stderr)[:6000]


def fails(tool: str, folder: Path, rules: Any, test: Any) -> None:
    """The test fails by what it expects, not by a fault in the documents."""
    result = verdict(tool, folder, rules, test)
    said = result.stdout + result.stderr
    assert result.returncode == 1 and ("FAILED" in said) and "exp:" in said.lower(), said[:3000]


def broken(rules: Any, record: str, old: str, new: str) -> Any:
    """``rules`` with a part of one recording rule (or alert) replaced; it must be there."""
    touched = [r for group in rules["groups"] for r in group["rules"]
               if record in (r.get("record"), r.get("alert")) and old in r["expr"]]
    assert touched, f"{record} does not contain {old}"
    for rule in touched:
        rule["expr"] = rule["expr"].replace(old, new)
    return rules
