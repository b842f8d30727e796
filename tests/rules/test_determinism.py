"""The generated files do not depend on Python's hash seed, which differs from run to run."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

SCRIPT = """
from hashlib import sha256
from backspan.rules.generate import generate
from backspan.rules.spec import load
print(sha256(repr(generate(load())).encode()).hexdigest())
"""


def digest(seed: str) -> str:
    environment = {**os.environ, "PYTHONHASHSEED": seed}
    command = [sys.executable, "-c", SCRIPT]
    return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout


@pytest.mark.promtool
def test_the_same_bytes_whatever_the_hash_seed() -> None:
    assert digest("1") == digest("2") == digest("3")
