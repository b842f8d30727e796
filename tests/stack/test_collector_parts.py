"""Which components the shipped files use, and that the public contrib image of the same version has them all."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.stack.collectors import PROFILES, PROGRAM, SHIPPED

CONTRIB = SHIPPED.with_name("contrib-0.159.0.txt")
BUILDER = SHIPPED.with_name("build") / "otelcol/otelcol-builder.yaml"
COMPOSE = SHIPPED.parents[1] / "docker-compose.yml"
KINDS = ("receivers", "processors", "connectors", "exporters", "extensions")
Used = set[tuple[str, str]]


def contrib() -> set[tuple[str, str]]:
    """Kind, and module with version, of each component in the public image."""
    lines = CONTRIB.read_text(encoding="utf-8").splitlines()
    return {(kind, gomod) for kind, _, gomod in (line.partition(" ") for line in lines if not line.startswith("#"))}


def built() -> set[tuple[str, str]]:
    """The same of our own distribution, as its builder reads it."""
    manifest = yaml.safe_load(BUILDER.read_text(encoding="utf-8"))
    return {(kind[:-1], one["gomod"]) for kind in (*KINDS, "providers") for one in manifest[kind]}


def used(paths: Iterable[Path]) -> Used:
    """Kind and type of every component that the files configure."""
    documents: list[dict[str, Any]] = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in paths]
    return {(kind[:-1], name.partition("/")[0]) for one in documents for kind in KINDS for name in one.get(kind, {})}


def types() -> dict[tuple[str, str], str]:
    """Kind and type of every component of the built Collector -> its module with version."""
    said = subprocess.run([PROGRAM, "components"], capture_output=True, text=True, timeout=60, check=True).stdout
    return {(kind[:-1], one["name"]): one["module"] for kind, found in yaml.safe_load(said).items()
            if kind in KINDS for one in found}


def unknown(paths: Iterable[Path]) -> Used:
    """What the files use and the public image does not have."""
    modules, public = types(), contrib()
    return {part for part in used(paths) if (part[0], modules.get(part, "")) not in public}


def test_the_built_distribution_is_a_part_of_the_public_one() -> None:
    assert built() - contrib() == set()


def test_the_list_is_of_the_version_in_the_compose_file() -> None:
    version = re.search(r"collector-contrib:([0-9.]+)", COMPOSE.read_text(encoding="utf-8"))
    assert version and CONTRIB.name == f"contrib-{version[1]}.txt"
    assert yaml.safe_load(BUILDER.read_text(encoding="utf-8"))["dist"]["version"] == version[1]


@pytest.mark.stack
def test_the_public_image_has_every_component_that_is_used() -> None:
    files = [SHIPPED, *PROFILES.glob("*.yaml")]
    assert len(used(files)) > 15
    assert unknown(files) == set()


@pytest.mark.stack
def test_a_component_that_the_public_image_lacks_is_noticed(tmp_path: Path) -> None:
    spoilt = tmp_path / "spoilt.yaml"
    spoilt.write_text("processors: {gen_ai_normalizer: {}}\nexporters: {nop: {}}\n", encoding="utf-8")
    assert unknown([spoilt]) == {("processor", "gen_ai_normalizer")}
