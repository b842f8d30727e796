"""Variants against their control, from what the store keeps."""

import random

from backspan import semconv
from backspan.server.charts import canary
from backspan.spc.sequential import Arm, compare

from .charting import DIMS, house, vote
from .test_counting import call, chart, send, spec


def canaries(**more):
    return spec(chart("thumbs_down"), canaries=[{"name": "new_model", "indicators": ["thumbs_down", "errors"], **more}])


def shown(up):
    with up.store.reading() as conn:
        return canary.verdicts(conn, up.book.spec.canaries[0], up.clock.now)


def put(up, worse):
    """400 votes and calls for each of two variants."""
    chance, votes = random.Random(5), []
    for n in range(800):
        variant = "control" if n % 2 else "treatment"
        bad = chance.random() < (0.1 if n % 2 else worse)
        votes.append(up.store.put_votes([vote(n, bad, "1", dims={**DIMS, semconv.VARIANT: variant},
                                              time=up.clock.now)]))
    for waiting in votes:
        waiting.result()
    send(up, *(call(10_000 + n, variant="control" if n % 2 else "treatment", ended=up.clock.now - 1,
                    started=up.clock.now - 2) for n in range(300)))


def test_a_worse_variant_is_found_and_an_equal_one_is_not(tmp_path):
    for name, rate, verdict in (("a", 0.35, "worse"), ("b", 0.1, "continue")):
        with house(tmp_path / f"{name}.db", canaries()) as up:
            put(up, rate)
            said = shown(up)
            votes, errors = said["comparisons"]
            assert (votes["indicator"], votes["variant"], votes["within"]) == (
                "thumbs_down", "treatment", {semconv.SERVICE_NAME: "chat", semconv.ENVIRONMENT: "test"})
            arms = Arm(**votes["variant_arm"]), Arm(**votes["control"])
            assert (arms[0].n, arms[1].n, errors["variant_arm"]["n"]) == (400, 400, 150)
            expected = compare(*arms)
            assert (votes["verdict"], votes["evidence"]) == (expected.verdict, expected.evidence)
            assert votes["verdict"] == verdict or verdict == "continue" and votes["verdict"] == "no_difference_yet"


def test_a_split_that_is_off_is_told(tmp_path):
    with house(tmp_path / "s.db", canaries(expect={"control": 0.9, "treatment": 0.1})) as up:
        put(up, 0.1)
        checks = [one["sample_ratio"] for one in shown(up)["comparisons"] if "sample_ratio" in one]
        assert [one["mismatch"] for one in checks] == [True, True]


def test_without_a_control_nothing_is_compared(tmp_path):
    with house(tmp_path / "s.db", canaries(control="baseline")) as up:
        put(up, 0.1)
        assert shown(up)["comparisons"] == []
