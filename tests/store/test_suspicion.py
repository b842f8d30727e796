"""The rules against spam: what each finds, and what an honest crowd does not set off."""

import random

import pytest

from backspan.store.suspicion import Rules, Suspicion, rules_of

NOW = 1_795_000_000.0
OFF = {"fast": 0, "burst": 0, "one_sided": 0, "comment": 0, "influence": 0}
ATTACKS = {
    "fast": [{"time": NOW + 60 * n, "began": NOW + 60 * n - 0.4} for n in range(3)],
    "burst": [{"time": NOW + n, "polarity": ("negative", "positive")[n % 2]} for n in range(20)],
    "one_sided": [{"time": NOW + 3600 * n} for n in range(20)],
    "comment": [{"rater": f"p{n}", "comment": text} for n, text in enumerate((
        "This bot sold my data, avoid!", "this bot sold  MY data, avoid!", "Avoid! this bot sold my data"))],
    "influence": [{"time": NOW + 100 * n, "polarity": ("negative", "positive")[n % 2]} for n in range(103)],
}


def votes(rows):
    return [{"id": f"v{n}", "rater": "mallory", "time": NOW, "began": row.get("time", NOW) - 30, "polarity": "negative",
             "comment": None, **row} for n, row in enumerate(rows)]


def crowd(suspicion, people=300, seed=5):
    """Honest people: eight of ten votes are good, a few words, some seconds of reading."""
    draw, found = random.Random(seed), {}
    for n in range(people):
        for m in range(draw.randint(1, 4)):
            good = draw.random() < 0.8
            found.update(suspicion.observe({
                "id": f"h{n}-{m}", "rater": f"h{n}", "time": NOW + n + 30 * m, "began": NOW + n + 30 * m - 9,
                "polarity": "positive" if good else "negative", "comment": draw.choice([None, "thanks", f"case {n}"])}))
    return found


def found(rules, rows):
    suspicion, seen = Suspicion(rules), {}
    crowd(suspicion)
    for vote in votes(rows):
        seen.update(suspicion.observe(vote))
    return seen


@pytest.mark.parametrize("rule", list(ATTACKS))
def test_each_attack_is_found_by_its_rule_and_by_no_other(rule):
    default = Rules()
    seen = found(Rules(**{**OFF, rule: getattr(default, rule)}), ATTACKS[rule])
    assert set(seen.values()) == {rule}
    assert sorted(seen) == sorted({"influence": ["v100", "v101", "v102"]}.get(rule, [f"v{n}" for n in range(
        len(ATTACKS[rule]))]))
    assert not found(Rules(**{**vars(default), rule: 0}), ATTACKS[rule])  # the twin: without the rule


@pytest.mark.parametrize("rule", ["fast", "burst", "one_sided", "comment"])
def test_one_less_is_no_attack(rule):
    assert not found(Rules(), ATTACKS[rule][:-1])


def test_an_honest_crowd_sets_off_nothing():
    assert not crowd(Suspicion(Rules()))


def test_who_votes_like_everybody_is_not_one_sided():
    rows = [{"polarity": "positive", "time": NOW + 3600 * n} for n in range(30)]
    assert not found(Rules(), rows)  # 0.8 to the power of 30 is one in a thousand


def test_votes_without_a_rater_and_changed_minds_are_not_suspected():
    suspicion = Suspicion(Rules())
    for n in range(50):
        assert not suspicion.observe(votes([{"rater": None, "id": f"a{n}"}])[0] | {"id": f"a{n}"})
        assert not suspicion.observe({**votes([{}])[0], "id": "the same", "time": NOW + n})


def test_the_setting():
    assert rules_of(()) == Rules() and rules_of(("off",)) is None
    assert rules_of(("burst=50", "fast=off", "colour=3")) == Rules(burst=50, fast=0)
