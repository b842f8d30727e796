"""The rollback contract: Alertmanager's payload reaches the receiver of the how-to, which turns an OpenFeature flag's
variant off. The code is taken from docs/how-to/canary.md as it stands there."""

from __future__ import annotations

import json
import re
import threading
import urllib.error
import urllib.request
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from openfeature import api
from openfeature.evaluation_context import EvaluationContext
from openfeature.flag_evaluation import FlagResolutionDetails
from openfeature.provider.in_memory_provider import InMemoryFlag, InMemoryProvider
from tests.rules.alertmanagers import BINARIES, alertmanager, raised
from tests.rules.promtools import found, passes
from tests.rules.test_canary import BY, canary_of, spec_of, thumbs
from tests.stack.backend import until
from tests.stack.pager import Pager

import backspan
from backspan.rules import canary, stories
from backspan.rules.canary_oracle import Comparison

DOC = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "canary.md"
BLOCKS = dict(re.findall(r"```(\w+)\n(.*?)```", DOC.read_text(encoding="utf-8"), re.DOTALL)[::-1])
TOKEN = "a secret of the test"


def from_the_doc() -> SimpleNamespace:
    """Everything that the python blocks of the how-to define."""
    names: dict[str, Any] = {}
    for block in re.findall(r"```python\n(.*?)```", DOC.read_text(encoding="utf-8"), re.DOTALL):
        exec(compile(block, str(DOC), "exec"), names)
    return SimpleNamespace(**names)


def assigned(flag: InMemoryFlag[str], context: EvaluationContext) -> FlagResolutionDetails[str]:
    """Users whose key is even get the treatment."""
    variant = "treatment" if int(context.targeting_key or "1") % 2 == 0 else "control"
    return FlagResolutionDetails(flag.variants[variant], variant=variant)


@pytest.fixture
def app() -> Generator[SimpleNamespace]:
    """The code of the how-to, with a flag whose treatment is on for every second user."""
    code = from_the_doc()
    code.flags["answer-prompt"] = InMemoryFlag("control", {"control": "v1", "treatment": "v2"},
                                               context_evaluator=assigned)
    api.set_provider(InMemoryProvider(code.flags))
    yield code
    api.clear_providers()


def prompts(code: SimpleNamespace) -> list[str]:
    """The prompt that each of four users is answered with."""
    return [code.answer("why?", str(user), lambda question, prompt: prompt) for user in range(4)]


@contextmanager
def listening(code: SimpleNamespace) -> Generator[str]:
    """The receiver of the how-to, on a free port."""
    server = code.server(code.turn_off, TOKEN, ("127.0.0.1", 0))
    server.RequestHandlerClass.log_message = lambda *arguments: None
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/rollback"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def sent(url: str, body: bytes, token: str = TOKEN) -> int:
    request = urllib.request.Request(url, body, {"Authorization": f"Bearer {token}"})
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=60) as response:
            return response.status
    except urllib.error.HTTPError as error:
        error.close()
        return error.code


def payload(**changed: str) -> dict[str, Any]:
    """The payload that the how-to shows."""
    shown = json.loads(BLOCKS["json"])
    shown["alerts"][0]["labels"].update({key: value for key, value in changed.items() if key != "status"})
    shown["alerts"][0]["status"] = changed.get("status", "firing")
    return shown


def test_the_receiver_turns_the_variant_off(app: SimpleNamespace) -> None:
    assert prompts(app) == ["v2", "v1", "v2", "v1"]
    with listening(app) as url:
        assert sent(url, json.dumps(payload()).encode()) == 200
        assert prompts(app) == ["v1"] * 4
        assert sent(url, json.dumps(payload()).encode()) == 200  # Alertmanager repeats itself
    assert prompts(app) == ["v1"] * 4


@pytest.mark.parametrize("changed", [
    {"status": "resolved"}, {"alertname": "BackspanSampleRatioMismatch"}, {"verdict": "better"},
    {"canary": "another"}, {"variant": "control"},
], ids=str)
def test_what_is_not_worse_changes_nothing(app: SimpleNamespace, changed: dict[str, str]) -> None:
    with listening(app) as url:
        assert sent(url, json.dumps(payload(**changed)).encode()) == 200
    assert prompts(app) == ["v2", "v1", "v2", "v1"]


@pytest.mark.parametrize(("body", "token", "status"), [
    (b"{", TOKEN, 400), (b"[]", TOKEN, 400), (b'{"alerts": [{}]}', TOKEN, 400), (b"{}", "wrong", 401),
])
def test_what_is_refused(app: SimpleNamespace, body: bytes, token: str, status: int) -> None:
    with listening(app) as url:
        assert sent(url, body, token) == status
    assert prompts(app) == ["v2", "v1", "v2", "v1"]


def test_the_app_names_its_variant() -> None:
    assert BY == "feature_flag_result_variant" and callable(backspan.variant)


# --- what Prometheus says -------------------------------------------------------------------------------------------
def said() -> tuple[dict[str, str], dict[str, str]]:
    """Labels and annotations of a bad variant, as the oracle knows them."""
    spec = spec_of(min_n=100, severity="page", runbook="docs/how-to/canary.md")
    arms = [("control", [(10, 1)] * 40), ("treatment", [(10, 3)] * 40)]
    comparison, rows = Comparison(spec, canary_of(spec), thumbs(spec, *arms)), {}
    for step in range(41):
        rows = comparison.step(step * 30)
    row = next(row for (_, _, variant), row in rows.items() if variant == "treatment")
    labels = {**payload()["alerts"][0]["labels"], "canary": "release"}
    numbers = {"evidence": row.evidence, "limit": row.limit, "variant_bad": row.bad, "variant_rate": row.rate,
               "control_bad": row.control_bad, "control_rate": row.control_rate, "difference": row.difference}
    whole = {"variant_n": row.n, "control_n": row.control_n, "since": row.since}
    return labels, {
        "variant": "treatment", "verdict": "worse", "control": "control", "by": "feature_flag.result.variant",
        **{key: f"{value:.6g}" for key, value in numbers.items()}, **{key: f"{v:.0f}" for key, v in whole.items()},
        "summary": "release: variant treatment is worse than control by thumbs_down: 30% (120 of 400) against 10%"
        " (40 of 400); service_name=chat deployment_environment_name=production",
        "promise": "a variant that is no worse is called so, by any of thumbs_down, with a chance of 0.05 at most,"
        " however often it is looked at",
        "first_seen": "1970-01-01 00:00:30 +0000 UTC",
        "action": "turn the variant off; the alert ends 2h after its last event",
        "runbook_url": "docs/how-to/canary.md",
    }


@pytest.mark.promtool
@pytest.mark.parametrize("tool", found(), ids=lambda path: Path(path).parent.name)
def test_the_alert_carries_the_contract(tool: str, tmp_path: Path) -> None:
    spec = spec_of(min_n=100, severity="page", runbook="docs/how-to/canary.md")
    arms = [("control", [(10, 1)] * 40), ("treatment", [(10, 3)] * 40)]
    labels, annotations = said()
    assert set(payload()["alerts"][0]["annotations"]) <= set(annotations)
    test = {
        "interval": "30s",
        "input_series": stories.written(thumbs(spec, *arms), 30),
        "alert_rule_test": [
            {"eval_time": "1m", "alertname": "BackspanCanaryWorse", "exp_alerts": []},
            {"eval_time": "20m", "alertname": "BackspanCanaryWorse",
             "exp_alerts": [{"exp_labels": labels, "exp_annotations": annotations}]},
        ],
    }
    document = {"rule_files": ["rules.yml"], "evaluation_interval": "30s", "tests": [test]}
    passes(tool, tmp_path, canary.rule_file(spec, canary_of(spec)), document)


# --- what Alertmanager sends ----------------------------------------------------------------------------------------
def add_rollback(document: dict[str, Any], url: str, token_file: Path) -> None:
    """The receiver and the route that the shipped file holds as comments."""
    route = {"receiver": "rollback", "matchers": ["alertname = BackspanCanaryWorse"], "group_wait": "0s",
             "group_by": ["service_name", "deployment_environment_name", "canary", "variant"], "continue": True}
    document["route"]["routes"].insert(0, route)
    authorization = {"authorization": {"credentials_file": str(token_file)}}
    document["receivers"].append({"name": "rollback", "webhook_configs": [
        {"url": url, "send_resolved": False, "http_config": authorization}]})


@pytest.mark.stack
def test_alertmanager_turns_the_variant_off_and_calls_people(
    app: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BACKSPAN_STACK_DIR", str(BINARIES.parent))
    token_file = tmp_path / "token"
    token_file.write_text(TOKEN, encoding="utf-8")
    alert = {key: payload()["alerts"][0][key] for key in ("labels", "annotations")}
    with listening(app) as url, Pager() as pager:
        with alertmanager(tmp_path, pager.url, lambda document: add_rollback(document, url, token_file)) as port:
            raised(port, [alert])
            until(lambda: prompts(app) == ["v1"] * 4 or None, "the variant is off")
            pages = until(lambda: pager.of("chat") or None, "a page for people")
    assert set(payload()["alerts"][0]) <= set(pages[0])  # the payload that the how-to shows has the real shape
    assert pages[0]["labels"]["variant"] == "treatment" and pages[0]["annotations"]["control"] == "control"
