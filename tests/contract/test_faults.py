"""Every function of ours that runs inside a call is made to raise, one after the other; the application is unharmed.

The functions are found in the loaded code, so a new one is covered by being there.
"""

from __future__ import annotations

import gc
import inspect
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import copy_context
from types import CodeType, FunctionType, ModuleType
from typing import Any

import openai
import pytest

import backspan.instrument
from backspan import _guard, config, telemetry
from backspan.instrument import openai as integration
from tests.contract.calls import CASES, observe
from tests.contract.conftest import MESSAGES, Seen
from tests.contract.scenarios import shows
from tests.contract.versions import has

CALLS = [name for name in (
    "chat", "chat history", "chat raw", "chat streaming response", "chat 429", "chat error body", "parse length",
    "stream", "stream tools", "stream raw", "stream lines", "stream cut", "stream first", "responses",
    "responses stream", "responses stream failed", "responses stream cut", "embeddings", "completions",
) if has(CASES[name].needs)]
CALLS += [name for name in CASES if name.startswith("resource ")]  # each resource of the table, plain and streamed
ENTRIES = {
    "openai:_request", "openai:_request_async", "openai:instrument", "openai:uninstrument", "_stream:Hold.close",
    "_stream:Hold.aclose", "_stream:Hold.read", "_stream:Hold.aread", "_patch:Patches.wrap", "_patch:Patches.undo",
    "_patch:Patches.__init__", "_attempts:_process", "_attempts:_retry",
}
"""What the client calls in our place, and what installs that: these call the rest."""


def _modules() -> list[ModuleType]:
    names = [name for name in sys.modules if name.startswith("backspan.instrument._")]
    kept = [sys.modules[name] for name in sorted(names)]
    return [integration, *(module for module in kept if "qdrant" not in module.__name__)]


def _functions(module: ModuleType) -> Iterator[tuple[Any, str, FunctionType]]:
    """The functions that ``module`` defines: owner, attribute, function."""
    for name, value in vars(module).items():
        if inspect.isfunction(value) and value.__module__ == module.__name__:
            yield module, name, value
        elif inspect.isclass(value) and value.__module__ == module.__name__:
            for inner, method in vars(value).items():
                method = getattr(method, "__func__", method)
                if inspect.isfunction(method) and not inner.startswith("__annot"):
                    yield value, inner, method


def _place(module: ModuleType, owner: Any, name: str) -> str:
    return f"{module.__name__.rpartition('.')[2]}:{name if owner is module else f'{owner.__name__}.{name}'}"


ALL = {_place(module, owner, name): (owner, name, function)
       for module in _modules() for owner, name, function in _functions(module)}
FUNCTIONS = {place: known for place, known in ALL.items() if place not in ENTRIES}
FILES = sorted({name.partition(":")[0] for name in FUNCTIONS})


def boom(*args: Any, **kwargs: Any) -> Any:
    raise RuntimeError("a fault of ours that quotes xyzzy")


def _spoil(patch: pytest.MonkeyPatch, owner: Any, name: str, function: Any) -> None:
    """Make ``function`` raise wherever it is known: where it is defined, imported, or in the table of resources."""
    broken = _guard.guarded(boom) if hasattr(function, "__wrapped__") else boom  # a fault inside a guard, not of it
    patch.setattr(owner, name, broken)
    for module in [module for key, module in sys.modules.items() if key.startswith("backspan")]:
        for known, value in list(vars(module).items()):
            if value is function:
                patch.setattr(module, known, broken)
    for api in integration.APIS.values():
        for name, value in list(vars(api).items()):
            if value is function:
                patch.setitem(vars(api), name, broken)


@contextmanager
def _installed() -> Iterator[None]:
    backspan.instrument.imported(openai)
    try:
        assert hasattr(openai._base_client.SyncAPIClient.request, "__wrapped__")
        yield
    finally:
        backspan.instrument.uninstrument()


@pytest.fixture(scope="module")
def without(server):
    """What the application sees without us."""
    return {(name, kind): observe(server, CASES[name], kind) for name in CALLS for kind in (False, True)}


def _codes(server: Any, name: str, kind: bool) -> set[CodeType]:
    """The code of all functions that run in one call."""
    found: set[CodeType] = set()
    sys.setprofile(lambda frame, event, _: found.add(frame.f_code) if event == "call" else None)
    try:
        observe(server, CASES[name], kind)
    finally:
        sys.setprofile(None)
    return found


@pytest.fixture(scope="module")
def ways(server, without):
    """For each function some calls in which it runs: plain and streamed, synchronous and asynchronous."""
    with pytest.MonkeyPatch.context() as patch, _installed():
        patch.setenv("BACKSPAN", "content")
        config.reload()
        telemetry._state.tracer_provider, telemetry._state.meter_provider = Seen().provider, Seen().meters
        codes = {(name, kind): _codes(server, name, kind) for name in CALLS for kind in (False, True)}
    telemetry.reset_for_tests()
    return {place: _some({way for way, ran in codes.items() if inspect.unwrap(function).__code__ in ran})
            for place, (_, _, function) in FUNCTIONS.items()}


def _some(ways: set[tuple[str, bool]]) -> list[tuple[str, bool]]:
    chosen: dict[Any, tuple[str, bool]] = {}
    for name, kind in sorted(ways, key=lambda way: CALLS.index(way[0])):
        chosen.setdefault(("stream" in name, kind), (name, kind))
    return list(chosen.values())


def _apart(server: Any, name: str, kind: bool) -> Any:
    """`observe`, in a context of its own: a call whose span cannot be left would be the parent of later tests'."""
    return copy_context().run(observe, server, CASES[name], kind)


@shows("our-faults")
@pytest.mark.parametrize("file", FILES)
def test_our_faults_are_ours_alone(ways, without, server, seen, content, monkeypatch, caplog, file):
    monkeypatch.delenv("BACKSPAN_RAISE")
    harmed = []
    for place in (place for place in FUNCTIONS if place.partition(":")[0] == file):
        for name, kind in ways[place]:
            with monkeypatch.context() as patch, _installed():
                _spoil(patch, *FUNCTIONS[place])
                if _apart(server, name, kind) != without[name, kind]:
                    harmed.append((place, name, kind))
    gc.collect()
    assert harmed == []
    ours = [record.getMessage() for record in caplog.records if record.name == "backspan"]
    assert len(ours) == len(_guard.failures())  # once per place
    assert "xyzzy" not in "".join(ours)


def test_each_extractor_of_the_table_runs_and_is_counted(ways, server, seen, content, monkeypatch):
    """Every way of reading a request or an answer that the table of resources knows."""
    monkeypatch.delenv("BACKSPAN_RAISE")
    extractors = {getattr(api, name) for api in integration.APIS.values() for name in ("asked", "answered")}
    places = [place for place, (_, _, function) in FUNCTIONS.items() if function in extractors]
    assert len(places) == len(extractors)
    for place in places:
        for name, kind in ways[place]:
            _guard.forget()
            with monkeypatch.context() as patch, _installed():
                _spoil(patch, *FUNCTIONS[place])
                _apart(server, name, kind)
            assert list(_guard.failures().values()) == [1], (place, name)
        assert ways[place], place


def test_twin_our_tests_see_our_faults(client, patched, monkeypatch):
    """While faults are raised, as in our own tests, a broken extractor is an error."""
    _spoil(monkeypatch, *FUNCTIONS["_openai_chat:asked"])
    with pytest.raises(RuntimeError, match="xyzzy"):
        client.chat.completions.create(model="m", messages=MESSAGES)


def test_the_functions_are_found():
    assert {"openai:_begin", "_openai_chat:asked", "_stream:Fold.ended", "_call:Call.end"} <= set(FUNCTIONS)
    assert ENTRIES <= set(ALL)  # nothing is left out that is not there
