"""The gate: what opens it, and what it asks the hook to patch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from tests.support.processes import environment

from backspan import _boot, config
from backspan.feedback import frameworks
from backspan.instrument import TARGETS

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("value", ["1", "true", "on", "content", "ON", " True ", "Content"])
def test_on(value):
    assert _boot.is_on({"BACKSPAN": value})


@pytest.mark.parametrize("value", ["", "0", "false", "off", "no", "2", "yes", "enable"])
def test_anything_else_is_off(value):
    assert not _boot.is_on({"BACKSPAN": value})


def test_unset_is_off():
    assert not _boot.is_on({})


@pytest.mark.parametrize(("value", "on"), [("true", False), ("TRUE", False), ("false", True), ("1", True), ("", True)])
def test_the_sdk_switch_counts_only_when_it_says_true(value, on):
    assert _boot.is_on({"BACKSPAN": "1", "OTEL_SDK_DISABLED": value}) is on


@pytest.mark.parametrize("value", ["1", "content", "0", "yes", " on"])
def test_gate_and_settings_agree(value):
    environ = {"BACKSPAN": value}
    assert _boot.is_on(environ) == config.read(environ).enabled


def test_the_names_are_those_that_the_registry_knows():
    assert set(_boot.OURS) == set(TARGETS)


@pytest.mark.parametrize(
    ("said", "patched"),
    [
        ("", {"openai", "qdrant_client"}),
        ("-qdrant_client", {"openai"}),
        ("httpx", {"openai", "qdrant_client", "httpx", "httpx2"}),
        (" httpx , -openai,-qdrant_client ", {"httpx", "httpx2"}),
        ("-httpx", {"openai", "qdrant_client"}),
        ("openai", {"openai", "qdrant_client"}),
    ],
)
def test_what_is_patched(said, patched):
    assert _boot.targets({"BACKSPAN_INSTRUMENT": said}) == dict.fromkeys(patched, _boot.PATCH)


def test_other_names_are_instrumentations_of_others():
    found = _boot.targets({"BACKSPAN_INSTRUMENT": "fastapi,aiohttp-client,-openai,-qdrant_client"})
    assert found == {"fastapi": _boot.FOREIGN, "aiohttp": _boot.FOREIGN}


def _python(code: str, **variables: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(**variables), capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.strip()


LOADED = "import sys; print(*sorted(n for n in sys.modules if n.startswith(('backspan', 'wrapt', 'typing'))))"


def test_off_loads_nothing_of_ours():
    assert _python(LOADED) == ""


def test_on_loads_the_hook_and_nothing_heavy():
    assert _python(LOADED, BACKSPAN="1") == "backspan backspan._boot backspan._hook"


def test_on_imports_no_module_that_was_not_there():
    """Only ours, and `__future__`: everything else would be paid by every interpreter."""
    listing = "import sys; print(*sys.modules)"
    more = set(_python(listing, BACKSPAN="1").split()) - set(_python(listing).split())
    assert more == {"backspan", "backspan._boot", "backspan._hook"} | more & {"__future__"}


def test_site_packages_read_twice_is_one_hook():
    """The line of the .pth runs once per reading; a virtual environment is read twice on some versions."""
    line = (ROOT / "boot" / "backspan.pth").read_text(encoding="utf-8")
    count = "import sys; print([type(finder).__name__ for finder in sys.meta_path].count('_Finder'))"
    code = f"exec({line!r}); exec({line!r}); {count}"
    assert _python(code, BACKSPAN="1") == "1"


def test_the_pth_is_one_plain_line():
    text = (ROOT / "boot" / "backspan.pth").read_text(encoding="utf-8")
    assert text.count("\n") == 1 and text.startswith("import ") and text.isascii()
    assert not any(word in text for word in ("exec", "eval", "compile", "base64", "decode"))


def test_the_start_file_names_a_callable():
    module, _, function = (ROOT / "boot" / "backspan.start").read_text(encoding="utf-8").strip().partition(":")
    assert callable(getattr(sys.modules[module], function))


@pytest.mark.parametrize(("value", "there"),
                         [("header", True), (" SSE ", True), ("off", False), ("1", False), ("", False)])
def test_web_frameworks_are_patched_for_tokens_alone(value, there):
    environ = {"BACKSPAN": "1", "BACKSPAN_TOKEN": value}
    patched = {name for name, by in _boot.targets(environ).items() if by == _boot.ANSWER}
    assert patched == (set(frameworks.TARGETS) if there else set())
    assert config.read(environ).token == (value.strip().lower() if there else None)
