"""Settings come from one table."""

import os
import stat
import subprocess
import sys
import threading

import pytest

from backspan import config
from backspan._assets import asset


@pytest.mark.parametrize(("value", "on"), [("1", True), ("true", True), ("ON", True), ("content", True),
                                           ("0", False), ("yes", False), ("", False), ("false", False)])
def test_the_variable_has_four_words_and_anything_else_is_off(value, on):
    assert config.read({"BACKSPAN": value}).enabled is on


def test_the_sdk_switch_switches_us_off():
    assert config.read({"BACKSPAN": "1", "OTEL_SDK_DISABLED": "true"}).enabled is False


@pytest.mark.parametrize(("ours", "standard", "content"), [
    ("1", None, False), ("content", None, True), ("content", "NO_CONTENT", False), ("1", "SPAN_ONLY", True),
    ("1", "true", True), ("content", "EVENT_ONLY", False), ("content", "nonsense", True),
])
def test_the_standard_content_switch_wins(ours, standard, content):
    environ = {"BACKSPAN": ours}
    if standard is not None:
        environ["OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"] = standard
    assert config.read(environ).content is content


def test_a_library_can_be_added_and_left_out():
    read = config.read({"BACKSPAN_INSTRUMENT": "httpx, -qdrant_client"})
    assert read.instruments("openai")
    assert read.instruments("httpx", default=False)
    assert not read.instruments("qdrant_client")
    assert not read.instruments("fastapi", default=False)


def test_the_key_file_is_made_once_and_for_its_owner_only(tmp_path):
    keys = config.token_keys()
    path = config.settings().data_dir / "token.key"
    assert (path.read_text(),) == keys == config.token_keys()
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600


def test_of_many_that_start_together_one_makes_the_key(tmp_path):
    found, barrier = [], threading.Barrier(16)

    def start():
        barrier.wait()
        found.append(config.token_keys())

    threads = [threading.Thread(target=start) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 1
    assert [p.name for p in config.settings().data_dir.iterdir()] == ["token.key"]


def test_without_a_folder_to_write_there_is_no_key(monkeypatch):
    monkeypatch.setenv("BACKSPAN_DATA_DIR", "/dev/null/nowhere")
    config.reload()
    assert config.token_keys() == ()


def test_what_ships_is_found():
    assert asset("collector").is_dir()
    with pytest.raises(FileNotFoundError):
        asset("nothing-of-that-name")


def test_boot_modules_import_nothing_but_the_standard_library():
    code = "import sys, backspan, backspan._boot, backspan._hook, backspan._guard;" \
           "print(sorted(m for m in sys.modules if m.split('.')[0] in {'opentelemetry', 'wrapt', 'openai', 'logging'}))"
    out = subprocess.run([sys.executable, "-S", "-c", code], capture_output=True, text=True, check=True,
                         env={"PYTHONPATH": os.path.dirname(os.path.dirname(config.__file__))})
    assert out.stdout.strip() == "[]"
