"""The import hook, on made-up packages: it patches, it shows no trace, and it never breaks an import."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import os
import pickle
import subprocess
import sys
import threading
from importlib import resources
from pathlib import Path

import pytest
from tests.support.processes import environment

from backspan import _guard, _hook

PATCH = """
import sys

def patch(module):
    module.PATCHED = getattr(module, "PATCHED", 0) + 1
    sys.modules[__name__].calls.append(module.__name__)

def broken(module):
    raise AttributeError("the attribute to be patched is missing")

calls = []
"""


@pytest.fixture
def packages(tmp_path, monkeypatch):
    """A folder on the path with the targets `victim` (a package with data) and `lone`, and the module `patches`."""
    (tmp_path / "victim").mkdir()
    (tmp_path / "victim" / "__init__.py").write_text("VALUE = 1\n\ndef speak():\n    return 'hello'\n")
    (tmp_path / "victim" / "part.py").write_text("class Thing:\n    pass\n")
    (tmp_path / "victim" / "data.txt").write_text("data")
    (tmp_path / "lone.py").write_text("import victim\nVALUE = victim.VALUE\n")
    (tmp_path / "failing.py").write_text("import os\nif 'LET' not in os.environ:\n    raise ImportError('not yet')\n")
    (tmp_path / "patches.py").write_text(PATCH)
    monkeypatch.syspath_prepend(str(tmp_path))
    before = dict(sys.modules)
    targets, patched = dict(_hook._targets), dict(_hook._patched)
    yield tmp_path
    _hook.uninstall()
    for name in set(sys.modules) - set(before):
        del sys.modules[name]
    if targets:
        _hook.install(targets)
    _hook._patched.update(patched)
    _guard.forget()


def test_a_target_is_patched_when_it_is_imported(packages):
    _hook.install({"victim": "patches:patch"})
    assert "patches" not in sys.modules
    import victim

    assert victim.PATCHED == 1


def test_a_target_that_is_there_already_is_patched_at_once(packages):
    import victim

    _hook.install({"victim": "patches:patch"})
    _hook.install({"victim": "patches:patch"})
    assert victim.PATCHED == 1


def test_other_packages_and_submodules_are_left_alone(packages):
    _hook.install({"lone": "patches:patch"})
    import victim.part

    assert not hasattr(victim, "PATCHED") and not hasattr(victim.part, "PATCHED")


def _traces() -> str:
    """What a program can see of how `victim` was imported."""
    import victim
    import victim.part

    spec = victim.__spec__
    seen = [
        type(victim.__loader__).__name__,
        type(spec.loader).__name__,
        spec.loader is victim.__loader__,
        spec.origin == victim.__file__,
        inspect.getsource(victim.speak),
        resources.files("victim").joinpath("data.txt").read_text(),
        pickle.loads(pickle.dumps(victim.part.Thing())).__class__ is victim.part.Thing,
        importlib.reload(victim) is victim,
        type(victim.__loader__).__name__,
    ]
    return repr(seen)


def test_the_module_looks_as_it_does_without_us(packages):
    without = _traces()
    for name in ("victim", "victim.part"):
        del sys.modules[name]
    _hook.install({"victim": "patches:patch"})
    assert _traces() == without
    import victim

    assert victim.PATCHED == 1


def test_asking_whether_a_target_is_installed_does_not_import_it(packages):
    _hook.install({"victim": "patches:patch", "absent": "patches:patch"})
    spec = importlib.util.find_spec("victim")
    assert spec is not None and spec.origin == str(packages / "victim" / "__init__.py")
    assert spec.loader.get_source("victim").startswith("VALUE = 1")  # ours passes on what it does not know
    assert importlib.util.find_spec("absent") is None
    assert "victim" not in sys.modules


def test_an_import_that_fails_fails_the_same_and_can_be_tried_again(packages, monkeypatch):
    _hook.install({"failing": "patches:patch", "absent": "patches:patch"})
    with pytest.raises(ImportError, match="not yet"):
        import failing
    with pytest.raises(ModuleNotFoundError, match="No module named 'absent'"):
        import absent  # noqa: F401
    monkeypatch.setenv("LET", "1")
    import failing

    assert failing.PATCHED == 1


@pytest.mark.parametrize("where", ["patches:broken", "patches:absent", "no_such_module:patch"])
def test_a_patch_that_fails_does_not_break_the_import(where, packages, monkeypatch, caplog):
    monkeypatch.delenv("BACKSPAN_RAISE")
    _hook.install({"victim": where})
    import victim

    assert victim.speak() == "hello"
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert _guard.failures() == {"patch of victim": 1}


def test_our_own_tests_would_see_it(packages):
    _hook.install({"victim": "patches:broken"})
    with pytest.raises(AttributeError):
        import victim  # noqa: F401


def test_a_package_imported_anew_is_patched_anew(packages):
    _hook.install({"victim": "patches:patch"})
    import patches
    import victim

    del sys.modules["victim"]
    import victim as again

    assert again is not victim and again.PATCHED == 1 and patches.calls == ["victim", "victim"]


def test_a_namespace_package_of_that_name_is_not_touched(packages):
    (packages / "victim" / "__init__.py").unlink()
    _hook.install({"victim": "patches:patch"})
    import victim

    assert victim.__file__ is None


def test_a_patch_that_imports_another_target_is_finished_first(packages):
    """As opentelemetry-instrumentation-httpx imports httpx2 while we patch httpx."""
    (packages / "nested.py").write_text(
        "import lone\norder = []\ndef patch(module):\n    order.append(module.__name__)\n"
    )
    _hook.install({"victim": "nested:patch", "lone": "nested:patch"})
    import victim  # noqa: F401

    assert sys.modules["nested"].order == ["victim", "lone"]


def test_uninstall(packages):
    _hook.install({"victim": "patches:patch"})
    _hook.uninstall()
    import victim

    assert not hasattr(victim, "PATCHED")
    assert not any(isinstance(finder, _hook._Finder) for finder in sys.meta_path)


def test_wrapt_hooks_before_and_after_ours(packages):
    from wrapt.importer import register_post_import_hook

    seen: list[str] = []
    register_post_import_hook(lambda module: seen.append("before"), "victim")
    _hook.install({"victim": "patches:patch"})
    register_post_import_hook(lambda module: seen.append("after"), "victim")
    import victim

    assert sorted(seen) == ["after", "before"] and victim.PATCHED == 1
    assert inspect.getsource(victim.speak).startswith("def speak")


def test_many_threads_import_at_once(packages):
    _hook.install({"victim": "patches:patch", "lone": "patches:patch"})
    barrier, found = threading.Barrier(8), []

    def work() -> None:
        barrier.wait()
        found.append(importlib.import_module("lone").victim.PATCHED)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert found == [1] * 8


@pytest.mark.parametrize("command", [["-m", "victim"], ["-c", "import victim.__main__"]], ids=["runpy", "import"])
def test_running_a_target_as_a_program(command, packages):
    (packages / "victim" / "__main__.py").write_text("import victim; print(victim.PATCHED)\n")
    install = "from backspan import _hook; _hook.install({'victim': 'patches:patch'})\n"
    (packages / "sitecustomize.py").write_text(install)
    env = environment(PYTHONPATH=os.pathsep.join([str(packages), str(Path(_hook.__file__).parents[1])]))
    done = subprocess.run([sys.executable, *command], env=env, capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("1\n", "")
