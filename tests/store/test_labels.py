"""Labels have a limited number of values; the rest is one, and counts stay exact."""

import json

from backspan import semconv
from backspan.context import Target
from backspan.store import Policy
from backspan.store.counters import totals
from backspan.store.labels import KEPT, OVERFLOW, Labels

from .conftest import DIMS, NOW, SPAN, counts, put, thumb

DAY = 86400.0


def value(store, labels, label, said, now=NOW):
    return store.write(lambda conn: labels.value(conn, label, said, now)).result()


def test_the_first_values_have_the_places_and_every_process_agrees(store):
    labels = Labels(limit=3)
    assert [value(store, labels, "v", str(n)) for n in range(5)] == ["0", "1", "2", OVERFLOW, OVERFLOW]
    assert [value(store, Labels(limit=3), "v", str(n)) for n in (4, 2, 0)] == [OVERFLOW, "2", "0"]
    assert value(store, labels, "w", "4") == "4"  # another label has places of its own
    assert value(store, labels, "v", "") == ""


def test_a_value_that_nobody_uses_gives_its_place(store):
    labels = Labels(limit=2)
    for said, now in (("a", NOW), ("b", NOW), ("b", NOW + KEPT / 2)):
        value(store, labels, "v", said, now)
    assert value(store, labels, "v", "c", NOW + KEPT - 1) == OVERFLOW
    assert value(store, labels, "v", "c", NOW + KEPT + 1) == "c"
    assert value(store, labels, "v", "d", NOW + KEPT + 1) == OVERFLOW  # b was used meanwhile


def by_version(store, metric=semconv.PROM_FEEDBACK):
    with store.reading() as conn:
        rows = totals(conn)
    found = {}
    for (name, labels), number in rows.items():
        said = json.loads(labels)
        if name == metric and number:
            key = said.get(semconv.PROMPT_VERSION, said.get("label"))
            found[key] = found.get(key, 0) + (-number if said.get("op") == "retract" else number)
    return found


def flood(make, limit):
    store = make(policy=Policy(count_spans=True, emit=False, labels=Labels(limit)))
    for n in range(30):
        put(store, thumb(id=f"f{n}", dims={**DIMS, semconv.PROMPT_VERSION: f"v{n}"}))
    return store


def test_a_flood_of_versions_is_counted_as_one_and_a_change_meets_its_series(make):
    store = flood(make, 10)
    assert by_version(store) == {**{f"v{n}": 1 for n in range(10)}, OVERFLOW: 20}
    assert by_version(store, semconv.PROM_LABEL_OVERFLOW)[semconv.PROMPT_VERSION] == 20
    put(store, thumb(False, id="f29", dims=DIMS), thumb(id="f3", retract=True, dims=DIMS))
    found = by_version(store)
    assert found[OVERFLOW] == 20 and found.get("v3", 0) == 0
    with store.reading() as conn:
        assert len({labels for (metric, labels) in totals(conn) if metric == semconv.PROM_FEEDBACK}) < 20


def test_without_a_limit_each_is_a_series(make):
    """The twin."""
    assert len(by_version(flood(make, 1000))) == 30


def skipped(make, limit):
    store = make(policy=Policy(count_spans=True, emit=False, labels=Labels(limit)))
    for n in range(20):
        target = Target(f"{n + 1:032x}", SPAN, dims={**DIMS, semconv.VARIANT: f"v{n}"})
        assert store.skip(target, f"user_made_up_{n}", None).result()[1]
    with store.reading() as conn:
        found = {labels: number for (metric, labels), number in totals(conn).items()
                 if metric == semconv.PROM_FEEDBACK_SKIPS}
    assert sum(found.values()) == 20
    return len(found), by_version(store, semconv.PROM_LABEL_OVERFLOW)


def test_skipped_questions_with_made_up_names_are_one_series(make):
    assert skipped(make, 5) == (6, {semconv.LABEL_NAME: 15, semconv.VARIANT: 15})


def test_skipped_questions_without_a_limit_are_a_series_each(make):
    """The twin."""
    assert skipped(make, 1000) == (20, {})


def compared(make, limit):
    store = make(policy=Policy(count_spans=True, emit=False, labels=Labels(limit)))
    for n in range(20):
        pairs = [[f"v{n}", "control", "win"]]
        put(store, thumb(id=f"c{n}", name=semconv.USER_PREFERENCE,
                         details={"comparison": {"lead": True, "pairs": pairs}}))
    put(store, thumb(id="c19", name=semconv.USER_PREFERENCE, retract=True))
    with store.reading() as conn:
        found = {json.loads(labels)[semconv.LABEL_OP]: {} for (metric, labels) in totals(conn)
                 if metric == semconv.PROM_COMPARISONS}
        for (metric, labels), number in totals(conn).items():
            if metric == semconv.PROM_COMPARISONS:
                said = json.loads(labels)
                found[said[semconv.LABEL_OP]][said[semconv.LABEL_WINNER], said[semconv.LABEL_LOSER]] = number
    return found


def test_variants_that_are_compared_have_places_too(make):
    found = compared(make, 5)
    assert found["add"] == {**{(f"v{n}", "control"): 1 for n in (0, 1, 2, 3)}, (OVERFLOW, "control"): 16}
    assert found["retract"] == {(OVERFLOW, "control"): 1}


def test_variants_without_a_limit_are_a_series_each(make):
    """The twin."""
    assert len(compared(make, 1000)["add"]) == 20


def test_made_up_names_and_reasons_are_one_series_too(make):
    store = make(policy=Policy(count_spans=True, emit=False, labels=Labels(5)))
    for n in range(20):
        put(store, thumb(id=f"n{n}", name=f"user_made_up_{n}", reasons=(f"because_{n}", f"and_{n}")))
    assert {key[0] for key in counts(store)} == {*(f"user_made_up_{n}" for n in range(5)), OVERFLOW}
    assert sum(counts(store).values()) == 20
    assert len({key[-1] for key in counts(store, semconv.PROM_FEEDBACK_REASONS)}) == 6
    found = by_version(store, semconv.PROM_LABEL_OVERFLOW)
    assert found[semconv.LABEL_NAME] == 15 and found[semconv.LABEL_REASON] == 18
