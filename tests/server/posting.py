"""Votes posted without an end to servers that are killed and starved, and what must then be true of those accepted."""

from __future__ import annotations

import http.client
import itertools
import json
import threading
import time
from urllib.parse import urlsplit

import sqlalchemy as sa

from backspan import semconv

from .conftest import token, until

CONNECTION_FAULTS = (OSError, http.client.HTTPException)
_AFTER_FAULT_S = 0.02


class Posting:
    """Posts votes to whichever server answers, each until it is answered; ``answered`` has the ids it was told."""

    def __init__(self, servers, posters=4, comment=None):
        self.servers = servers
        self.answered: dict[int, str] = {}
        self.refused = 0
        self._comment = {"comment": comment} if comment else {}
        self._numbers = itertools.count(1)
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._work, args=(k,)) for k in range(posters)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        """Post no more; returns when what was posted is answered."""
        self._stop.set()
        for thread in self._threads:
            thread.join(60)

    def _work(self, first):
        turns, connection = itertools.count(first), None
        while not self._stop.is_set():
            number = next(self._numbers)
            body = json.dumps({"thumbs": False, "token": token(number), **self._comment})
            while number not in self.answered and not self._stop.is_set():
                try:
                    connection = connection or self._connected(next(turns))
                    if self._post(connection, number, body):
                        continue
                except CONNECTION_FAULTS:
                    pass
                connection = _closed(connection)
        _closed(connection)

    def _connected(self, turn):
        server = self.servers[turn % len(self.servers)]
        return http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=30)

    def _post(self, connection, number, body):
        connection.request("POST", "/v1/feedback", body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        said = json.loads(response.read())
        assert response.status in (200, 201, 503), said
        if response.status == 503:
            self.refused += 1
            return False
        self.answered[number] = said["id"]
        return True

    def more(self, number, seconds=120):
        """Wait until so many more were answered."""
        goal = len(self.answered) + number
        until(lambda: len(self.answered) >= goal, seconds)


def _closed(connection):
    if connection is not None:
        connection.close()
    time.sleep(_AFTER_FAULT_S)


# --- what is stored ---------------------------------------------------------------------------------------------------
def rows(url, statement):
    """Run one statement on a database; its rows."""
    engine = sa.create_engine(url)
    with engine.begin() as conn:
        found = conn.exec_driver_sql(statement)
        got = found.all() if found.returns_rows else []
    engine.dispose()
    return got


def logged(url):
    """Ids of all votes that are stored, in the order in which they came."""
    return [row[0] for row in rows(url, "SELECT id FROM vote_log ORDER BY seq")]


def counted(url, where="1 = 1"):
    """How many votes the counters say."""
    text = f"SELECT coalesce(sum(value), 0) FROM counters WHERE metric = '{semconv.PROM_FEEDBACK}' AND {where}"
    return rows(url, text)[0][0]


def waiting(url):
    """How many votes the back end has not taken."""
    return rows(url, "SELECT count(*) FROM outbox WHERE emitted IS NULL")[0][0]


def lacking(url, answered, sink):
    """What is not as it must be: each vote that was accepted is stored, counted and sent as a span, once."""
    stored = logged(url)
    until(lambda: waiting(url) == 0, 120)
    spans = sink.wait_spans(len(stored), 60)
    sent = {span.attributes[semconv.FEEDBACK_ID] for span in spans}
    found = {
        "accepted, not stored": set(answered) - set(stored),
        "stored twice": len(stored) - len(set(stored)),
        "counted wrongly": counted(url) - len(stored),
        "stored, not sent": set(stored) - sent,
        "sent, not stored": sent - set(stored),
        "sent under several ids": len({(span.trace_id, span.span_id) for span in spans}) - len(sent),
    }
    return {what: wrong for what, wrong in found.items() if wrong}
