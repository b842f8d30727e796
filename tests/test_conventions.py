"""Rules of the house that no linter knows."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import backspan

ROOT = Path(__file__).resolve().parents[1]
SRC = ROOT / "src" / "backspan"
MODULES = sorted(module.name for module in pkgutil.walk_packages([str(SRC)], "backspan."))
MOST_LINES = 500
STDLIB_ONLY = ["_boot.py", "_hook.py", "_guard.py", *(f"spc/{path.name}" for path in (SRC / "spc").glob("*.py"))]


def imports(path: Path) -> Iterator[str]:
    """The top-level name of everything that a file imports, inside functions too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield (node.module or "").partition(".")[0]


@pytest.mark.parametrize("name", STDLIB_ONLY)
def test_standard_library_only(name):
    assert set(imports(SRC / name)) <= sys.stdlib_module_names | {"backspan"}


def test_the_check_above_notices(tmp_path):
    (tmp_path / "bad.py").write_text("def f():\n    import wrapt.importer\n")
    assert set(imports(tmp_path / "bad.py")) - sys.stdlib_module_names == {"wrapt"}


@pytest.mark.parametrize("name", MODULES)
def test_every_module_can_be_imported(name):
    importlib.import_module(name)


def test_public_names_are_no_modules_and_are_documented():
    for name in backspan.__all__:
        assert getattr(backspan, name).__doc__, name
    assert not {name.rpartition(".")[2] for name in MODULES if name.count(".") == 1} & set(backspan.__all__)


@pytest.mark.parametrize("path", sorted(SRC.rglob("*.py")), ids=lambda path: str(path.relative_to(SRC)))
def test_files_are_short_and_say_what_they_are(path):
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= MOST_LINES
    assert ast.get_docstring(ast.parse(text)), "no docstring"


def test_versions_agree():
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    newest = re.search(r"^## \[?(\d+\.\d+\.\d+)", text, re.MULTILINE)
    declared = re.search(r'^version = "(.+)"', (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE)
    assert newest and declared and newest[1] == declared[1]


def test_every_room_is_on_the_map():
    """CONTRIBUTING names each package and module of the top level."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    names = {name.removeprefix("backspan.") for name in MODULES if name.count(".") == 1} - {"__main__"}
    assert not {name for name in names if not re.search(rf"`{re.escape(name)}(\.py|/)?`", text)}
