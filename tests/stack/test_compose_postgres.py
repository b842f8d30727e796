"""docker-compose.postgres.yml over docker-compose.yml, merged as Compose does; each check has a twin."""

from __future__ import annotations

import argparse
import copy
import json
import re
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa
import yaml
from tests.stack import test_compose as base
from tests.stack.test_compose import ROOT, Document

from backspan.cli.gateway import add_arguments as gateway_arguments
from backspan.cli.worker import add_arguments as worker_arguments
from backspan.store.engines import postgres_url

PATH = ROOT / "docker-compose.postgres.yml"
GATEWAYS = ("gateway", "gateway-2")


def merged() -> Document:
    """Both files as Compose sees them."""
    document = _over(base.compose(), yaml.safe_load(PATH.read_text(encoding="utf-8")))
    assert document["services"]["worker"].pop("scale") == 0
    del document["services"]["worker"]
    return document


def _over(one: Any, other: Any, key: str = "") -> Any:
    """Mappings are merged, lists are joined; commands are replaced, and so is what is mounted at the same place."""
    if isinstance(one, dict) and isinstance(other, dict):
        return {**one, **{name: _over(one[name], value, name) if name in one else value for name, value in
                          other.items()}}
    if not isinstance(one, list) or key in ("command", "entrypoint", "test"):
        return other
    if key == "volumes":
        return [*{volume.removesuffix(":ro").rpartition(":")[2]: volume for volume in (*one, *other)}.values()]
    return [*one, *(value for value in other if value not in one)]


# --- the checks: each returns what is wrong ---------------------------------------------------------------------------
def unlike(document: Document) -> list[str]:
    """What two replicas have different that is not their port."""
    one, two = (copy.deepcopy(document["services"][name]) for name in GATEWAYS)
    for service in (one, two):
        service.pop("ports")
    return sorted(key for key in {*one, *two} if one.get(key) != two.get(key))


def unread(document: Document) -> list[str]:
    """Services on the database whose address, role or password is another than the database's."""
    postgres = document["services"]["postgres"]["environment"]
    wrong: list[str] = []
    for name in (*GATEWAYS, "worker-postgres"):
        service = document["services"][name]
        (given,) = (word for word in service["command"] if word.startswith("--db="))
        url = sa.make_url(postgres_url(given.removeprefix("--db=")))
        said = (url.host, url.username, url.database, url.password)
        wanted = ("postgres", postgres["POSTGRES_USER"], postgres["POSTGRES_DB"], None)
        ok = said == wanted and service["environment"]["PGPASSWORD"] == postgres["POSTGRES_PASSWORD"]
        wrong += [] if ok and "telemetry" in service["networks"] else [name]
    return wrong


def unscraped(document: Document) -> list[str]:
    """Gateways that the mounted Prometheus file does not name."""
    (mounted,) = (volume.split(":")[0] for volume in document["services"]["prometheus"]["volumes"]
                  if volume.endswith("/prometheus.yml:ro"))
    file = yaml.safe_load((ROOT / mounted).read_text(encoding="utf-8"))
    (job,) = (job for job in file["scrape_configs"] if job["job_name"] == "gateway")
    scraped = {target.split(":")[0] for target in job["static_configs"][0]["targets"]}
    return [name for name in GATEWAYS if name not in scraped]


CHECKS: dict[str, Callable[[Document], list[str]]] = {
    one.__name__: one for one in (base.unlocked, base.unlimited, base.unwatched, base.exposed, base.undeclared,
                                  unlike, unread, unscraped)}


# --- the files are fine -----------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", CHECKS)
def test_both_files_together_are_fine(name: str) -> None:
    assert CHECKS[name](merged()) == []


def test_images_files_and_addresses() -> None:
    text = base.COMPOSE.read_text(encoding="utf-8") + PATH.read_text(encoding="utf-8")
    assert base.unpinned(merged(), text) == []
    assert base.missing_files(merged(), ROOT) == []
    assert base.unrouted(merged(), lambda name: (ROOT / name).read_text(encoding="utf-8")) == []


def test_its_variables_are_documented() -> None:
    text = PATH.read_text(encoding="utf-8")
    head = text.partition("\nx-least: ")[0] + base.COMPOSE.read_text(encoding="utf-8").partition("\nname: ")[0]
    deploy = (ROOT / "docs/how-to/deploy.md").read_text(encoding="utf-8")
    scale = (ROOT / "docs/how-to/scale-out.md").read_text(encoding="utf-8")
    assert base.undocumented(text, {"head": head, "pages": deploy + scale}) == []


def test_gateways_and_worker_understand_their_command_lines() -> None:
    services = merged()["services"]
    entry = json.loads(re.findall(r"ENTRYPOINT (.+)", (ROOT / "collector/gateway.Dockerfile").read_text())[0])
    for name in GATEWAYS:
        asked = _parsed(gateway_arguments, [*entry[2:], *services[name]["command"]])
        assert (asked.host, asked.port, asked.db) == ("0.0.0.0", 8318, "postgresql://backspan@postgres/feedback")
    worker = services["worker-postgres"]
    told = _parsed(worker_arguments, worker["command"])
    assert (told.keep_days, told.db) == ({"turns": 30.0, "votes": 400.0}, "postgresql://backspan@postgres/feedback")
    checked = _parsed(worker_arguments, worker["healthcheck"]["test"][3:])
    assert worker["healthcheck"]["test"][1:3] == worker["entrypoint"] and (checked.check, checked.db) == (True, told.db)


def _parsed(add: Callable[[argparse.ArgumentParser], None], words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add(parser)
    return parser.parse_args(words)


# --- the twins --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("check", "change", "said"), [
    ("unlocked", lambda s: s["postgres"].pop("read_only"), ["postgres: read_only"]),
    ("unlimited", lambda s: s["gateway-2"].pop("mem_limit"), ["gateway-2: mem_limit"]),
    ("unwatched", lambda s: s["worker-postgres"].pop("healthcheck"), ["worker-postgres"]),
    ("exposed", lambda s: s["postgres"].update(ports=["5432:5432"]), ["5432:5432"]),
    ("undeclared", lambda s: s["postgres"].update(volumes=["pg:/var/lib/postgresql"]), ["pg"]),
    ("unlike", lambda s: s["gateway-2"].update(command=["--port=8318"]), ["command"]),
    ("unlike", lambda s: s["gateway-2"]["environment"].pop("BACKSPAN_FIELD_KEYS"), ["environment"]),
    ("unread", lambda s: s["postgres"]["environment"].update(POSTGRES_DB="other"),
     ["gateway", "gateway-2", "worker-postgres"]),
    ("unread", lambda s: s["worker-postgres"]["environment"].update(PGPASSWORD="x"), ["worker-postgres"]),
    ("unscraped", lambda s: s["prometheus"].update(volumes=["./collector/prometheus.yml:/prometheus.yml:ro"]),
     ["gateway-2"]),
])
def test_what_is_spoilt_is_noticed(check: str, change: Callable[[Any], object], said: list[str]) -> None:
    document = copy.deepcopy(merged())
    change(document["services"])
    assert CHECKS[check](document) == said
