"""Run rules: textbook signals, histories as other engines compute them, memory. Equality with another package on random
series is in test_equals_shewhart.py, exact run lengths in test_arl.py."""

from __future__ import annotations

import json
from math import sqrt
from random import Random

import pytest

from backspan.spc.runs import NELSON, WESTERN_ELECTRIC, Rule, RunRules, involved, select, signals

LATER = [9, 6, 12, 5, 6, 4, 6, 3, 7, 6, 2, 4, 3, 6, 5, 4, 8, 5, 6, 7, 5, 6, 3, 5]
"""Orange juice, samples 31-54 of 50 cans (Montgomery), after the machine was adjusted."""
BY_NAME = {(rule.name, rule.side): rule for rule in (*WESTERN_ELECTRIC, *NELSON)}


def juice(centre: float = 0.2150) -> list[float]:
    return [(d / 50 - centre) / sqrt(centre * (1 - centre) / 50) for d in LATER]


def check_the_orange_juice(rules: tuple[Rule, ...]) -> None:
    found = signals(juice(), rules)
    assert [i + 31 for i, names in enumerate(found) if "we_1" in names] == [41]
    assert [i + 31 for i, names in enumerate(found) if "we_4" in names] == list(range(41, 55))
    assert involved(juice(), rules)["we_4"] == tuple(range(3, 24)), "samples 34 to 54 lie below the centre"


def test_the_orange_juice() -> None:
    """Against the old centre .2150: sample 41 is below its limit, and 41 to 54 are each the eighth below in a row."""
    check_the_orange_juice(WESTERN_ELECTRIC)


def changed(rule: Rule, **fields: object) -> Rule:
    return Rule(**{**{name: getattr(rule, name) for name in Rule.__dataclass_fields__}, **fields})  # type: ignore[arg-type]


@pytest.mark.parametrize("fields", [{"needs": 7, "of": 7}, {"needs": 7}, {"of": 9}, {"flag": lambda m: m.z < -1.0}])
def test_another_rule_is_noticed(fields: dict[str, object]) -> None:
    broken = tuple(changed(r, **fields) if (r.name, r.side) == ("we_4", "down") else r for r in WESTERN_ELECTRIC)
    with pytest.raises(AssertionError):
        check_the_orange_juice(broken)


def test_the_run_of_seven_that_qcc_flags() -> None:
    """R's qcc asks for seven in a row: 40 to 54."""
    seven = changed(BY_NAME["we_4", "down"], needs=7, of=7)
    assert [i + 31 for i, names in enumerate(signals(juice(), [seven])) if names] == list(range(40, 55))


def test_histories_for_other_engines() -> None:
    firing = {name: BY_NAME[name, "up"].firing for name in ("we_1", "we_2", "we_3", "we_4")}
    assert firing == {"we_1": (1,), "we_2": (3, 5, 7), "we_3": (15, 23, 27, 29, 31), "we_4": (255,)}
    assert [BY_NAME[name, "up"].modulus for name in firing] == [2, 8, 32, 256]
    assert BY_NAME["nelson_7", "both"].firing == (2**15 - 1,)


@pytest.mark.parametrize("key", BY_NAME)
def test_a_history_is_the_last_flags(key: tuple[str, str]) -> None:
    rule, random = BY_NAME[key], Random(3)
    flags: list[bool] = []
    history = 0
    for _ in range(300):
        flags.append(random.random() < 0.8)
        history = rule.push(history, flags[-1])
        assert history == sum(flag << age for age, flag in enumerate(reversed(flags[-rule.of :])))
        assert rule.fires(history) == (flags[-1] and sum(flags[-rule.of :]) >= rule.needs)
    assert all(rule.fires(h) == (h in firing) for firing in [set(rule.firing)] for h in range(min(rule.modulus, 4096)))


def first(z: list[float], *names: str, rules: tuple[Rule, ...] = NELSON) -> list[int]:
    return [i for i, found in enumerate(signals(z, select(rules, *names))) if found]


def test_each_of_nelsons_tests_by_hand() -> None:
    assert first([3.0, 3.01, -3.0, -3.01], "nelson_1") == [1, 3]
    assert first([0.1] * 10, "nelson_2") == [8, 9] and first([0.1] * 8 + [0.0] + [0.1] * 8, "nelson_2") == []
    assert first([0, 1, 2, 3, 4, 5, 5], "nelson_3") == [5] and first([0, -1, -2, -3, -4, -5], "nelson_3") == [5]
    assert first([0, 1, 2, 2, 3, 4, 5], "nelson_3") == [], "level is not rising"
    zigzag = [float(i % 2) for i in range(15)]
    assert first(zigzag, "nelson_4") == [13, 14] and first([*zigzag[:7], *zigzag[6:]], "nelson_4") == []
    assert first([2.1, 0, 2.1, 0, 0], "nelson_5") == [2], "the quiet points after it do not signal again"
    assert first([2.1, -2.1, 0, 2.1], "nelson_5") == [], "both on the same side"
    assert first([2.1, 2.1], "nelson_5") == [1], "two suffice"
    assert first([1.1, 1.1, 0, 1.1, 1.1, 1.0], "nelson_6") == [4]
    assert first([0.9, -0.9] * 8, "nelson_7") == [14, 15] and first([0.9] * 14 + [1.0, 0.9], "nelson_7") == []
    assert first([1.1, -1.1] * 5, "nelson_8") == [7, 8, 9] and first([1.1] * 8, "nelson_8") == [7]


def test_one_side_looks_at_one_side() -> None:
    up = select(WESTERN_ELECTRIC, side="up")
    assert signals([-3.5] * 9, up) == ((),) * 9
    assert signals([3.5, 3.5], up) == (("we_1",), ("we_1", "we_2"))
    assert {r.name for r in select(NELSON, side="down")} == {f"nelson_{i}" for i in (1, 2, 3, 5, 6)}
    assert {r.name for r in select(NELSON)} == {f"nelson_{i}" for i in range(1, 9)}


def test_both_sides_are_the_union_of_one_and_the_other() -> None:
    random = Random(9)
    zs = [random.gauss(0, 1.4) for _ in range(600)]
    up, down = (signals(zs, select(WESTERN_ELECTRIC, side=side)) for side in ("up", "down"))
    assert [set(a) | set(b) for a, b in zip(up, down, strict=True)] == [set(c) for c in signals(zs)]


def test_the_state_goes_on_where_it_stopped() -> None:
    random = Random(2)
    whole, parts = RunRules(NELSON), RunRules(NELSON)
    fired = 0
    for _ in range(500):
        z = round(random.gauss(0, 1.3), 1)
        parts = RunRules(NELSON, state=json.loads(json.dumps(parts.state)))
        names = parts.step(z)
        fired += len(names)
        assert names == whole.step(z)
    assert fired > 20 and parts.state == whole.state


def test_the_twin_that_forgets_is_noticed() -> None:
    random = Random(2)
    zs = [round(random.gauss(0, 1.3), 1) for _ in range(500)]
    assert signals(zs, NELSON) != tuple(RunRules(NELSON).step(z) for z in zs)


def test_what_signals_now_knows_its_side() -> None:
    detector = RunRules()
    detector.step(-2.5)
    assert detector.firing == ()
    detector.step(-3.5)
    assert [(r.name, r.side, h) for r, h in detector.firing] == [("we_1", "down", 1), ("we_2", "down", 3)]


def test_a_state_is_a_copy() -> None:
    detector = RunRules()
    before = detector.state
    detector.step(2.5)
    assert before["histories"] == [0] * 8 and detector.state != before


def test_rules_without_a_pattern_are_not_marked() -> None:
    assert involved([0.5, -0.5, 3.2]) == {"we_1": (2,)}


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: select(WESTERN_ELECTRIC, "we_5"), "unknown run rules: we_5"),
        (lambda: select(NELSON, "nelson_7", side="up"), "none of the run rules nelson_7 has the side up"),
        (lambda: select(NELSON, side="left"), "side must be one of"),  # type: ignore[arg-type]
        (lambda: RunRules(()), "at least one rule"),
        (lambda: RunRules(state={"last": None, "step": None, "histories": [0]}), "does not fit"),
        (lambda: RunRules(state={"last": None, "step": None, "histories": [2] + [0] * 7}), "does not fit"),
        (lambda: RunRules().step(float("nan")), "finite"),
    ],
)
def test_bad_input_is_refused(call: object, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        call()  # type: ignore[operator]
