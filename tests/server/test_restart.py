"""What a killed server must not lose, and what its successor goes on with."""

import http.client
import json
import random
import threading
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import sqlalchemy as sa

from tests.support import databases

from .charting import NO_TICKETS
from .conftest import Server, token, until

POSTS, WORKERS = 1000, 8


def _rows(server: Server, statement: str):
    """What a statement finds, or changes, behind the server's back."""
    engine = sa.create_engine(databases.at(Path(server.env["BACKSPAN_DATA_DIR"]) / f"{server.command}.db"))
    with engine.begin() as conn:
        done = conn.exec_driver_sql(statement)
        rows = done.all() if done.returns_rows else []
    engine.dispose()
    return rows


def _post_all(server: Server, tokens, answered, on_answer):
    """Post from several threads over kept connections; a broken connection ends its thread."""

    def work(share):
        connection = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=30)
        try:
            for number in share:
                connection.request("POST", "/v1/feedback", json.dumps({"thumbs": False, "token": tokens[number]}),
                                   {"Content-Type": "application/json"})
                response = connection.getresponse()
                answer = json.loads(response.read())
                assert response.status == 201, answer
                answered[number] = answer["id"]
                on_answer(len(answered))
        except (OSError, http.client.HTTPException):
            pass
        finally:
            connection.close()

    threads = [threading.Thread(target=work, args=(range(k, POSTS, WORKERS),)) for k in range(WORKERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@pytest.mark.parametrize("killed_after", [100, 600])
def test_kill_9_in_the_middle_of_a_thousand_posts_loses_nothing_answered(servers, killed_after):
    server = servers().start()
    tokens, answered, lock = [token(n + 1) for n in range(POSTS)], {}, threading.Lock()

    def kill_once(count):
        if count >= killed_after and lock.acquire(blocking=False):
            server.kill()

    _post_all(server, tokens, answered, kill_once)
    assert killed_after <= len(answered) < POSTS, "it was killed in the middle"
    server.start()
    stored = _logged(server)
    assert set(answered.values()) <= set(stored) and len(stored) == len(set(stored))
    again = {number: server.vote({"thumbs": False, "token": tokens[number]})[1]["status"] for number in answered}
    assert set(again.values()) == {"unchanged"}
    rest = [server.vote({"thumbs": False, "token": tokens[n]})[1]["id"] for n in range(POSTS) if n not in answered]
    assert len(_logged(server)) == len(set(_logged(server))) == POSTS == len(set(rest) | set(answered.values()))
    assert _counted(server) == POSTS
    assert _charted(server) == POSTS


def _charted(server):
    """Ratings in the open window of the whole service and in what was learnt from the windows before."""
    [service] = [cohort for cohort in server.json("/api/charts/thumbs_down")[1]["cohorts"]
                 if cohort["partition"] == "service"]
    assert service["phase"] == "learning" and service["ratings"] == POSTS
    return service["window"]["n"] + service["learning"]["n"]


def test_the_test_above_would_notice_a_lost_vote(servers):
    """Its twin: a vote taken out of the file behind the server's back is missed."""
    server = servers().start()
    kept = [server.vote({"thumbs": False, "token": token(n)})[1]["id"] for n in (1, 2)]
    server.kill()
    _rows(server, f"DELETE FROM vote_log WHERE id = '{kept[0]}'")
    server.start()
    assert not set(kept) <= set(_logged(server))


def _logged(server):
    return [row[0] for row in _rows(server, "SELECT id FROM vote_log")]


def _counted(server):
    until(lambda: "\nbackspan_feedback_total{" in server.metrics())  # a replica waits until the killed one's lease ends
    for _ in range(3):
        text = server.metrics()
    return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines()
               if line.startswith("backspan_feedback_total{"))


def test_a_detector_goes_on_where_it_stopped(servers, tmp_path):
    """Two servers get the same ratings, one of them killed on the way: same statistic, same alarm."""
    chance = random.Random(1)
    ratings = [chance.random() < (0.08 if n < 150 else 0.45) for n in range(260)]
    (tmp_path / "spc.yaml").write_text(NO_TICKETS)
    steady, broken = (servers("up", "--spec", str(tmp_path / "spc.yaml")).start() for _ in range(2))
    for n, bad in enumerate(ratings):
        for server in (steady, broken):
            assert server.vote({"thumbs": not bad, "token": token(n + 1)})[0] == 201
        if n in (60, 170):
            broken.kill()
            broken.start()
    states = [server.json("/api/charts/thumbs_down")[1] for server in (steady, broken)]
    alerts = [[(alert["cohort"], alert["rating"], alert["statistic"], alert["state"])
               for alert in state["alerts"]] for state in states]
    assert alerts[0] == alerts[1] != []
    cohorts = [[(c["labels"], c["ratings"], c["bad"], c["statistic"], [p["n"] for p in c["points"]])
                for c in state["cohorts"]] for state in states]
    assert cohorts[0] == cohorts[1]


TICKETS = """
version: 1
interval: 1s
charts:
  - name: thumbs_down
    indicator: thumbs_down
    cohorts: {service: [service.name, deployment.environment.name]}
    false_alarm_every: 100000
    baseline: {kind: given, p0: 0.5}
    window: 10s
    keep_firing_for: 1h
"""


def test_a_ticket_is_still_there_after_kill_9(servers, tmp_path):
    (tmp_path / "spc.yaml").write_text(TICKETS)
    server = servers("up", "--spec", str(tmp_path / "spc.yaml")).start()
    for n in range(24):  # enough of them in one window, wherever it ends
        server.vote({"thumbs": False, "token": token(n + 1)})

    def tickets():
        return [alert for alert in server.json("/api/alerts")[1]["alerts"] if alert.get("rule") == "we_1"]

    [before] = until(tickets)
    server.kill()
    server.start()
    [after] = tickets()
    # Ten bad ones are beyond three sigma, so the window that ends among the votes may be the one that says so.
    assert (before["state"], before["fired"] % 10, before["window_bad"] >= 10) == ("firing", 0, True)
    assert after == before


def test_stopping_is_clean(servers):
    server = servers().start()
    server.vote({"thumbs": True, "token": token(1)})
    assert server.stop() == 0
    assert len(server.lines) == 1, server.lines
