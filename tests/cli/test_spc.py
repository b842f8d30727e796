"""`backspan spc`: every flag's bad input is one line and 2, and what goes over HTTP is what a user would want."""

from __future__ import annotations

import json
import threading
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from tests.support.held import hold

from backspan import cli
from backspan.cli._spc import alerts, options
from backspan.cli._spc.alerts import Alert, fingerprint
from backspan.cli._spc.errors import Fault
from backspan.cli._spc.http import Api, Refused
from backspan.cli._spc.prometheus import Prometheus
from backspan.rules.spec import load

CHART = load().charts[0]


def faults(capsys, *arguments):
    """The one line of stderr of a command that ends with 2."""
    code = cli.main(["spc", *arguments])
    said = capsys.readouterr()
    assert code == 2 and said.out == "" and "Traceback" not in said.err, said
    assert said.err.startswith(f"backspan spc {arguments[0]}: ")
    return said.err


SHOW, SIM = ["show", "--chart", "thumbs_down"], ["simulate", "--chart", "errors"]
FIT, TEST, WHY = ["fit"], ["backtest"], ["explain"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([*SHOW, "--prometheus", "localhost:9090"], "no address"),
        ([*SHOW, "--prometheus", "ftp://x"], "no address"),
        ([*SHOW, "--prometheus", "http://me:secret@x"], "--header 'Authorization"),
        ([*SHOW, "--up", "http://127.0.0.1:1"], "does not answer"),
        ([*SHOW, "--up", "http://127.0.0.1:1", "--history", "raw"], "--history is for Prometheus"),
        ([*SHOW, "--prometheus", "http://127.0.0.1:1", "--header", "X"], "'Name: value'"),
        ([*SHOW, "--prometheus", "http://127.0.0.1:1", "--token-from", "NO_SUCH_THING"], "NO_SUCH_THING is not set"),
        ([*SHOW, "--prometheus", "http://127.0.0.1:1", "--timeout", "0"], "--timeout"),
        ([*SHOW, "--prometheus", "http://127.0.0.1:1", "--step", "7m"], "--step"),
        ([*SHOW, "--prometheus", "http://127.0.0.1:1", "--step", "7s"], "must divide the window"),
        ([*SHOW, "--since", "yesterday"], "--since: 'yesterday' is no moment"),
        ([*SHOW, "--until", "soon"], "--until"),
        ([*SHOW, "--since", "2020-01-02", "--until", "2020-01-01"], "is not before"),
        ([*SHOW, "--since", "2999-01-01", "--until", "2999-01-02"], "lies in the future"),
        (["show"], "which one? thumbs_down"),
        (["show", "--chart", "nothing"], "no chart 'nothing' in the spec; it has thumbs_down"),
        ([*SHOW, "--spec", "/no/such/spec.yaml"], "/no/such/spec.yaml"),
        ([*FIT, "--rebase"], "--rebase needs --reason"),
        ([*FIT, "--rebase", "--reason", " "], "--rebase needs --reason"),
        ([*FIT, "--reason", "x"], "--reason is for --rebase"),
        ([*FIT, "--prometheus", "http://127.0.0.1:1", "--exclude", "x"], "--exclude"),
        ([*FIT, "--prometheus", "http://127.0.0.1:1", "--reasons", "/no/such"], "--reasons"),
        ([*TEST, "--at", "2020-01-01"], "--at says where --shift begins"),
        ([*TEST, "--shift", "1"], "--shift: must be a factor"),
        ([*TEST, "--shift", "0"], "--shift: must be a factor"),
        ([*TEST, "--shift", "nan"], "--shift: must be a factor"),
        ([*TEST, "--places", "0"], "--places"),
        ([*TEST, "--baselines", "x", "--no-baselines"], "contradict"),
        ([*SIM, "--volume", "100"], "--volume: '100' is no volume"),
        ([*SIM, "--volume=-1/h"], "--volume"),
        ([*SIM, "--volume", "1/y"], "--volume"),
        ([*SIM, "--volume", "1/h", "--p0", "1.5"], "--p0"),
        ([*SIM, "--volume", "1/h", "--p0", "0"], "--p0"),
        ([*SIM, "--volume", "1/h", "--p0", "nan"], "--p0"),
        ([*SIM, "--volume", "1/h", "--p0", "0.1", "--promise", "5"], "--promise"),
        ([*SIM, "--volume", "1/h", "--p0", "0.1", "--promise", "often"], "--promise"),
        ([*SIM, "--volume", "1/h", "--p0", "0.1", "--phi", "0.5"], "--phi"),
        ([*SIM, "--volume", "1/h", "--p0", "0.1", "--shifts", "1"], "--shifts"),
        ([*SIM, "--volume", "1/h", "--p0", "0.1", "--shifts", "a,b"], "--shifts"),
        ([*SIM, "--volume", "1/h", "--p0", "0.1", "--runs", "1"], "--runs"),
        ([*SIM, "--volume", "1/h", "--p0", "0.1", "--fall", "100"], "--fall"),
        ([*WHY, "--before", "long"], "--before"),
        ([*WHY, "--up", "http://127.0.0.1:1", "--labels", "x"], "--labels"),
        ([*WHY, "--up", "http://127.0.0.1:1", "--alertmanager", "http://x"], "--alertmanager goes with --prometheus"),
    ],
)
def test_bad_input_is_one_line_and_2(arguments, said, capsys):
    assert said in faults(capsys, *arguments)


@pytest.mark.parametrize("arguments", [[], ["fix"], ["fit", "--no-such"], ["simulate", "--runs", "many"],
                                       ["fit", "--up", "http://x", "--prometheus", "http://y"]])
def test_argparse_refuses_the_rest(arguments, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(["spc", *arguments])
    assert ended.value.code == 2 and capsys.readouterr().out == ""


# --- HTTP -----------------------------------------------------------------------------------------------------------
@contextmanager
def answering(*answers, **headers) -> Generator[tuple[str, list]]:
    """A server that gives these (status, body) in turn, the last one again and again; and what it was asked."""
    seen, left = [], list(answers)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            said = {name.lower(): value for name, value in self.headers.items()}
            seen.append((self.command, self.path, said, body))
            status, said = left.pop(0) if len(left) > 1 else left[0]
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(said if isinstance(said, bytes) else json.dumps(said).encode())

        do_PUT = do_GET

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", seen
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (400, {"status": "error", "error": "parse error: unexpected {"}, "400: parse error: unexpected {"),
        (422, {"title": "Unprocessable", "detail": "since: must be before until"}, "422: since: must be before until"),
        (401, b"no token", "401: no token"),
        (502, b"<html>Bad Gateway</html>", "502: Bad Gateway"),
        (200, b"<html>hello</html>", "does not speak JSON; it says: <html>hello</html>"),
    ],
)
def test_errors_are_quoted(status, body, said):
    with answering((status, body)) as (url, _), pytest.raises(Fault) as caught:
        Api(url).get("/x")
    assert said in str(caught.value) and isinstance(caught.value, Refused) == (status >= 400)


def test_headers_and_bodies_arrive():
    with answering((200, {"ok": 1})) as (url, seen):
        assert Api(f"{url}/prefix/", {"X-Scope-OrgID": "team"}).get("/a", q="x y", none=None) == {"ok": 1}
        Api(url).put("/b", {"c": 1})
    (_, path, headers, _), (method, _, _, body) = seen
    assert path == "/prefix/a?q=x+y" and headers["x-scope-orgid"] == "team"
    assert method == "PUT" and json.loads(body) == {"c": 1}


def test_a_token_is_not_carried_to_another_host():
    with answering((200, {})) as (other, seen), answering((302, {}), Location=f"{other}/stolen") as (url, _):
        with pytest.raises(Fault, match="redirects to"):
            Api(url, {"Authorization": "Bearer secret"}).get("/x")
        assert seen == []


def test_a_bearer_token_from_the_environment(monkeypatch, capsys):
    monkeypatch.setenv("MY_TOKEN", "secret")
    with answering((401, {"error": "no"})) as (url, seen):
        said = faults(capsys, *SHOW, "--prometheus", url, "--token-from", "MY_TOKEN", "--header", "X-Scope-OrgID: a")
    assert seen[0][2]["authorization"] == "Bearer secret" and seen[0][2]["x-scope-orgid"] == "a"
    assert "401: no" in said and "secret" not in said


def test_silence_is_bounded():
    with hold() as port, pytest.raises(Fault, match="does not answer"):
        Api(f"http://127.0.0.1:{port}").get("/")


# --- Prometheus's API -----------------------------------------------------------------------------------------------
def page(*values):
    rows = [{"metric": {"__name__": "x", "a": "1"}, "values": [[at, str(value)] for at, value in values]}]
    return 200, {"status": "success", "data": {"resultType": "matrix", "result": rows}}


def test_pages_meet_without_a_sample_twice():
    with answering(page((0, 1), (60, 2)), page((120, 3), (180, "NaN"))) as (url, seen):
        found = Prometheus(Api(f"{url}/api/v1")).over("x", 0, 1440 * 60, 60)
    assert found == {(("a", "1"),): [(0, 1), (60, 2), (120, 3)]}
    assert all(path.startswith("/api/v1/query_range") for _, path, _, _ in seen)


def test_no_page_asks_for_more_than_prometheus_gives():
    empty = (200, {"status": "success", "data": {"resultType": "matrix", "result": []}})
    with answering(empty) as (url, seen):
        Prometheus(Api(url)).over("x", 0, 40_000 * 60, 60)
    asked = [dict(part.split("=") for part in path.partition("?")[2].split("&")) for _, path, _, _ in seen]
    spans = [(float(one["start"]), float(one["end"])) for one in asked]
    assert spans[0][0] == 0 and spans[-1][1] == 40_000 * 60
    assert all((end - start) / 60 < 11_000 for start, end in spans)
    assert all(b[0] == a[1] + 60 for a, b in zip(spans, spans[1:], strict=False))


def test_raw_samples_on_an_edge_are_taken_once():
    """Prometheus 2 puts a sample on the edge of two ranges into both, Prometheus 3 into one."""
    with answering(page((100, 1), (21600, 2)), page((21600, 2), (21700, 3))) as (url, seen):
        found = Prometheus(Api(url)).raw("x", 0, 30_000)
    assert found == {(("a", "1"),): [(100, 1), (21600, 2), (21700, 3)]} and len(seen) == 2


def test_what_speaks_another_language_is_named(capsys):
    with answering((200, {"charts": []})) as (url, _):
        assert "does not speak Prometheus's API" in faults(capsys, *SHOW, "--prometheus", url)
    with answering((200, {"status": "success"})) as (url, _):
        assert "no `backspan up`" in faults(capsys, *SHOW, "--up", url)
    with answering((200, {"evaluated_by": "prometheus", "charts": []})) as (url, _):
        assert "ask that one, by --prometheus" in faults(capsys, *SHOW, "--up", url)


def test_warnings_are_passed_on(capsys):
    body = {"status": "success", "warnings": ["slow"], "data": {"resultType": "scalar", "result": [0, "1"]}}
    with answering((200, body)) as (url, _):
        prometheus = Prometheus(Api(url))
        assert prometheus.query("1", 0) == prometheus.query("1", 0) == [({}, 1.0)]
    assert capsys.readouterr().err.count("warns: slow") == 1


# --- where the history is -------------------------------------------------------------------------------------------
def test_the_server_that_answers_is_used_and_said(monkeypatch, capsys):
    up = (200, {"evaluated_by": "backspan", "charts": []})
    with answering(up) as (url, _):
        monkeypatch.setattr(options, "UP", url)
        assert cli.main(["spc", *SHOW]) == 2
        said = capsys.readouterr().err
    assert f"using a `backspan up` at {url}" in said and "no chart thumbs_down" in said
    monkeypatch.setattr(options, "UP", "http://127.0.0.1:1")
    scalar = {"status": "success", "data": {"resultType": "matrix", "result": []}}
    with answering((200, scalar)) as (url, _):
        monkeypatch.setattr(options, "PROMETHEUS", url)
        assert cli.main(["spc", *SHOW]) == 2
        said = capsys.readouterr().err
    assert f"using a Prometheus at {url}; --prometheus URL or --up URL chooses another" in said
    assert "has no events in backspan_feedback_total{" in said and 'nor in spc:n{chart="thumbs_down"}' in said


def test_nobody_answers(monkeypatch, capsys):
    monkeypatch.setattr(options, "UP", "http://127.0.0.1:1")
    monkeypatch.setattr(options, "PROMETHEUS", "http://127.0.0.1:1")
    assert "neither `backspan up`" in faults(capsys, *SHOW)


# --- which alert ----------------------------------------------------------------------------------------------------
def an_alert(number, firing=True, version="2"):
    cohort = ("prompt", (("gen_ai.prompt.version", version), ("service.name", "chat")))
    return Alert(str(number), "BackspanQualityRegression", CHART, cohort, 1000.0 + number, firing)


def test_the_only_one_that_fires_is_taken():
    found = [an_alert(1), an_alert(2, firing=False)]
    assert alerts.choose(found, None, {}).id == "1" and alerts.choose(found, "2", {}).id == "2"
    assert alerts.choose([an_alert(2, False), an_alert(3, False)], None, {"service_name": "chat"}).id == "3"
    assert alerts.choose([an_alert(1), an_alert(2, version="3")], None, {"gen_ai.prompt.version": "3"}).id == "2"
    assert alerts.choose(found, None, {"partition": "prompt", "chart": "thumbs_down"}).id == "1"


@pytest.mark.parametrize(("wanted", "labels", "said"), [
    (None, {}, "which one? 2 alerts fire"), ("9", {}, "no alert 9; there are:"),
    (None, {"service.name": "x"}, "no alert has these labels")])
def test_otherwise_they_are_listed(wanted, labels, said):
    with pytest.raises(Fault) as caught:
        alerts.choose([an_alert(1), an_alert(2)], wanted, labels)
    assert said in str(caught.value) and "gen_ai.prompt.version=2" in str(caught.value)


def test_the_fingerprint_is_alertmanagers():
    """The second as a real Alertmanager showed it."""
    seen = {"alertname": "BackspanQualityRegression", "chart": "thumbs_down", "partition": "service",
            "service_name": "chät"}
    assert (fingerprint({}), fingerprint(seen)) == ("cbf29ce484222325", "1671f976eeabb48d")
    assert fingerprint({"a": "b"}) != fingerprint({"ab": ""}) != fingerprint({"a": "b", "c": ""})
    assert fingerprint({"b": "2", "a": "1"}) == fingerprint({"a": "1", "b": "2"})
