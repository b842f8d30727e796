"""Our entry point for OpenTelemetry's auto-instrumentation, and the entry points of others that we switch on."""

from __future__ import annotations

import sys
from importlib.metadata import EntryPoint, entry_points
from types import ModuleType

import pytest

from backspan import _boot, _guard, _hook, _instrumentor


@pytest.fixture(autouse=True)
def as_it_was(monkeypatch):
    monkeypatch.setattr(_instrumentor, "_switched", set())
    monkeypatch.setattr(_boot, "_running", False)
    yield
    _hook.uninstall()
    _guard.forget()


class Theirs:
    """An instrumentor of somebody else."""

    is_instrumented_by_opentelemetry = False
    calls: list[dict] = []

    def instrument(self, **kwargs):
        self.calls.append(kwargs)


class Broken(Theirs):
    def instrument(self, **kwargs):
        raise RuntimeError("no")


@pytest.fixture
def theirs(monkeypatch):
    """Installs entry points `flask` and `kaputt`; returns the calls that reached the first."""
    module = ModuleType("their_instrumentation")
    module.Theirs, module.Broken = Theirs, Broken
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(Theirs, "calls", [])
    found = [
        EntryPoint("flask", "their_instrumentation:Theirs", _instrumentor.GROUP),
        EntryPoint("kaputt", "their_instrumentation:Broken", _instrumentor.GROUP),
    ]
    monkeypatch.setattr(_instrumentor, "entry_points", lambda group: found)
    return Theirs.calls


def test_the_entry_point_is_installed_and_loads():
    (entry,) = [entry for entry in entry_points(group=_instrumentor.GROUP) if entry.name == "backspan"]
    assert entry.load() is _instrumentor.BackspanInstrumentor


def test_instrument_opens_the_gate_and_uninstrument_closes_it(monkeypatch):
    monkeypatch.setenv("BACKSPAN_INSTRUMENT", "-openai,-qdrant_client")
    instrumentor = _instrumentor.BackspanInstrumentor()
    instrumentor.instrument()
    assert _boot.is_running() and instrumentor.is_instrumented_by_opentelemetry
    instrumentor.uninstrument()
    assert not _boot.is_running()


@pytest.mark.parametrize("off", [{"BACKSPAN": "0"}, {"OTEL_SDK_DISABLED": "true"}], ids=["variable", "sdk"])
def test_an_operator_keeps_the_last_word(off, monkeypatch):
    for name, value in off.items():
        monkeypatch.setenv(name, value)
    assert _boot.start() is False and not _boot.is_running()


def test_an_instrumentation_of_others_is_switched_on_once(theirs, monkeypatch):
    monkeypatch.setenv("BACKSPAN_INSTRUMENT", "flask")
    _instrumentor.switch_on(ModuleType("flask"))
    _instrumentor.switch_on(ModuleType("flask"))
    assert [sorted(call) for call in theirs] == [["tracer_provider"]]


def test_only_the_one_of_the_module_just_imported(theirs, monkeypatch):
    monkeypatch.setenv("BACKSPAN_INSTRUMENT", "flask")
    _instrumentor.switch_on(ModuleType("django"))
    assert theirs == []


def test_one_that_is_active_already_is_left_alone(theirs, monkeypatch):
    monkeypatch.setenv("BACKSPAN_INSTRUMENT", "flask")
    monkeypatch.setattr(Theirs, "is_instrumented_by_opentelemetry", True)
    _instrumentor.switch_on(ModuleType("flask"))
    assert theirs == []


def test_one_that_is_not_installed_is_said(theirs, monkeypatch, caplog):
    monkeypatch.setenv("BACKSPAN_INSTRUMENT", "django")
    _instrumentor.switch_on(ModuleType("django"))
    assert "names django, but no installed package instruments it" in caplog.text


def test_one_that_fails_is_counted_and_breaks_nothing(theirs, monkeypatch, caplog):
    monkeypatch.delenv("BACKSPAN_RAISE")
    monkeypatch.setenv("BACKSPAN_INSTRUMENT", "kaputt")
    _instrumentor.switch_on(ModuleType("kaputt"))
    assert _guard.failures() == {"instrumentation kaputt": 1}
