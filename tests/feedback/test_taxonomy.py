"""What the taxonomy declares is held to; what it does not is accepted or refused, as it says."""

import json

import pytest
import yaml
from jsonschema import Draft202012Validator

from backspan import _guard, config, record_feedback
from backspan.feedback import taxonomy_file
from backspan.feedback.model import InvalidFeedback, parse
from backspan.feedback.taxonomy_file import TaxonomyError, default, read

LANGUAGES = ["en", "de", "fr", "es"]
EASE = {
    "version": 1, "revision": "ours-2",
    "names": {"user_ease": {"type": "numeric", "scale": "ease"},
              "user_clear": {"type": "boolean"},
              "user_mood": {"type": "categorical", "labels": {"glad": "positive", "angry": "negative"}},
              "user_wish": {"type": "text"}},
    "scales": {"ease": {"min": 0, "max": 1, "step": 0.25,
                        "bands": [{"to": 0.5, "label": "hard", "polarity": "negative"},
                                  {"to": 1, "label": "easy", "polarity": "positive"}]}},
    "reasons": [{"code": "late", "polarity": ["negative"]}, {"code": "kind", "polarity": ["positive"]}],
    "undeclared": {"names": "refuse", "reasons": "refuse"},
}


def said(taxonomy=None, **given):
    (one,) = parse(given, taxonomy=taxonomy)
    return one.value, one.label, one.polarity


def refused(taxonomy=None, **given):
    with pytest.raises(InvalidFeedback) as caught:
        parse(given, taxonomy=taxonomy)
    return caught.value.field, caught.value.message


@pytest.mark.parametrize(("given", "expected"), [
    ({"name": "user_nps", "value": 0}, (0.0, "detractor", "negative")),
    ({"name": "user_nps", "value": 6}, (6.0, "detractor", "negative")),
    ({"name": "user_nps", "value": 7}, (7.0, "passive", "neutral")),
    ({"name": "user_nps", "value": 8.0}, (8.0, "passive", "neutral")),
    ({"name": "user_nps", "value": 9}, (9.0, "promoter", "positive")),
    ({"name": "user_csat", "value": 2}, (2.0, "dissatisfied", "negative")),
    ({"name": "user_csat", "value": 5}, (5.0, "satisfied", "positive")),
    ({"name": "user_effort", "value": 1, "scale": "csat"}, (1.0, "dissatisfied", "negative")),
    ({"name": "user_factual", "value": False}, (0.0, "fail", "negative")),
    ({"name": "user_factual", "label": "neutral"}, (None, "neutral", "neutral")),
    ({"name": "user_preference", "label": "tie"}, (None, "tie", "neutral")),
    # not declared: booleans and words as they come, numbers of anybody but a user too
    ({"name": "user_quick", "value": True}, (1.0, "pass", "positive")),
    ({"name": "user_quick", "label": "so-so"}, (None, "so-so", "neutral")),
    ({"name": "evaluator_grounded", "value": 0.82}, (0.82, None, "neutral")),
])
def test_the_default_gives_values_their_meaning(given, expected):
    assert said(default(), **given) == expected


@pytest.mark.parametrize(("given", "field", "message"), [
    ({"name": "user_nps", "value": 11}, "value", "must be a whole number from 0 to 10"),
    ({"name": "user_nps", "value": 7.5}, "value", "must be a whole number from 0 to 10"),
    ({"name": "user_nps", "value": True}, "value", "must be a whole number from 0 to 10"),
    ({"name": "user_nps", "value": 3, "polarity": "positive"}, "polarity", "follows from the value of user_nps"),
    ({"name": "user_nps", "value": 3, "scale": "csat"}, "scale", "user_nps has the scale nps"),
    ({"name": "user_effort", "value": 4}, "scale", "user_effort has no declared scale: declare it in the taxonomy, or "
                                                   "give scale, one of csat, nps, stars"),
    ({"name": "user_effort", "value": 4, "scale": "likert"}, "scale", "must be one of csat, nps, stars"),
    ({"name": "user_factual", "value": 0.5}, "value",
     "user_factual is boolean: give true or false, or the label neutral"),
    ({"name": "user_preference", "label": "best"}, "label",
     "user_preference is comparison: give one of win, loss, tie"),
    ({"thumbs": True, "scale": "nps"}, "scale", "needs a name"),
    ({"thumbs": True, "reasons": ["inaccurate"]}, "reasons", "inaccurate does not go with a positive judgement"),
    ({"stars": 5, "reasons": ["other", "too_vague"]}, "reasons", "too_vague does not go with a positive judgement"),
])
def test_what_is_not_on_the_scale_or_of_the_polarity_is_refused_and_said(given, field, message):
    assert refused(default(), **given) == (field, message)


def test_reasons_follow_the_polarity():
    for given in ({"thumbs": False}, {"stars": 1}, {"name": "user_nps", "value": 2}):
        (one,) = parse({**given, "reasons": ["other", "inaccurate"]}, taxonomy=default())
        assert one.reasons == ("inaccurate", "other")
    assert parse({"thumbs": True, "reasons": ["my_own"]}, taxonomy=default())[0].reasons == ("my_own",)


def test_a_file_of_ones_own_replaces_sections_and_may_close_them():
    ours = read(EASE)
    assert said(ours, name="user_ease", value=0.75) == (0.75, "easy", "positive")
    assert said(ours, name="user_mood", label="angry") == (None, "angry", "negative")
    assert said(ours, name="user_wish", comment="shorter") == (None, None, "neutral")
    assert said(ours, stars=4) == (4.0, "pass", "positive")  # built in
    assert refused(ours, name="user_ease", value=0.6) == ("value", "must be from 0 to 1 in steps of 0.25")
    assert refused(ours, name="user_mood", value=1) == ("value", "user_mood is categorical: give label alone")
    assert refused(ours, name="user_wish") == ("comment", "user_wish is a text: give it as comment")
    assert refused(ours, name="user_quick", value=True) == ("name", "user_quick is not declared in the taxonomy")
    assert refused(ours, name="user_quick", skip=True) == ("name", "user_quick is not declared in the taxonomy")
    assert parse({"name": "user_quick", "retract": True}, taxonomy=ours)[0].retract  # said before it was closed
    assert refused(ours, thumbs=False, reasons=["my_own"]) == ("reasons", "must be among late")
    assert said(ours, name="evaluator_quick", value=True) == (1.0, "pass", "positive")
    assert set(ours.texts) == set(default().texts)


def test_the_default_has_nine_reasons_and_every_text_in_four_languages():
    one = default()
    assert len(one.reasons) == 9 + 1 and [*one.reasons][-2:] == ["other", "not_said"]  # the last one is no reason
    assert [code for code, reason in one.reasons.items() if reason.last] == ["other", "not_said"]
    texts = [*one.texts.values(), *(r.label for r in one.reasons.values()), *(n.question for n in one.names.values()),
             *(text for n in one.names.values() for text in n.texts.values())]
    assert all(list(text) == LANGUAGES for text in texts)


def wrong(**more):
    return {"version": 1, **more}


BAD = [
    (wrong(names={"thumbs": {"type": "boolean"}}), "names.thumbs"),
    (wrong(names={"user_x": {"type": "emoji"}}), "names.user_x.type"),
    (wrong(names={"user_x": {"type": "numeric"}}), "names.user_x.scale"),
    (wrong(names={"user_x": {"type": "boolean", "labels": {"a": "positive"}}}), "names.user_x.labels"),
    (wrong(names={"user_x": {"type": "boolean", "colour": 1}}), "names.user_x"),
    (wrong(scales={"s": {"min": 1, "max": 5}}), "scales.s.bands"),
    (wrong(scales={"s": {"min": 1, "max": 5, "step": 0, "bands": EASE["scales"]["ease"]["bands"]}}), "scales.s"),
    (wrong(reasons=[{"code": "Not One", "polarity": ["negative"]}]), "reasons[0].code"),
    (wrong(reasons=[{"code": "one", "polarity": ["bad"]}]), "reasons[0].polarity"),
    (wrong(undeclared={"names": "maybe"}), "undeclared.names"),
    (wrong(languages=[]), "languages"),
    (wrong(revision=7), "revision"),
    (wrong(tags=[]), "taxonomy"),
    ({"version": 2}, "version"),
]


@pytest.mark.parametrize(("document", "path"), BAD)
def test_a_wrong_file_is_refused_with_the_place_by_us_and_by_the_schema(document, path):
    with pytest.raises(TaxonomyError) as caught:
        read(document)
    assert caught.value.path == path
    assert list(Draft202012Validator(json.loads(taxonomy_file.SCHEMA.read_text())).iter_errors(document))


@pytest.mark.parametrize("document", [EASE, json.loads(taxonomy_file.DEFAULT.read_text()), {"version": 1}])
def test_what_we_read_the_schema_allows(document):
    schema = json.loads(taxonomy_file.SCHEMA.read_text())
    Draft202012Validator.check_schema(schema)
    assert not list(Draft202012Validator(schema).iter_errors(document))
    read(document)


def test_bands_that_leave_a_gap_at_the_top_are_refused():
    with pytest.raises(TaxonomyError, match="the last must end at max"):
        read(wrong(scales={"s": {"min": 1, "max": 5, "bands": [{"to": 4, "label": "a", "polarity": "neutral"}]}}))


def test_an_application_uses_the_file_of_its_setting_and_is_not_stopped_by_a_wrong_one(setenv, tmp_path, out, caplog):
    path = tmp_path / "taxonomy.yaml"
    path.write_text(yaml.safe_dump(EASE))
    setenv(BACKSPAN_TAXONOMY=str(path))
    record_feedback("chatcmpl-1", name="user_ease", value=0.25)
    (span,) = out.spans
    assert span.attributes["gen_ai.evaluation.score.label"] == "hard"
    assert span.attributes["backspan.feedback.scale"] == "ease"
    path.write_text("version: [")
    _guard.forget()
    config.reload()
    assert record_feedback("chatcmpl-1", thumbs=True).status == "add"
    assert caplog.text.count("BACKSPAN_TAXONOMY is not used") == 1


def test_a_quotation_leaves_as_a_hash_and_a_place(out):
    quote = {"text": "write to anna@example.com", "start": 10, "end": 35}
    record_feedback("chatcmpl-1", correction="no", quote=quote)
    (span,) = out.spans
    shown = dict(span.attributes)
    assert (shown["backspan.feedback.quote.start"], shown["backspan.feedback.quote.end"]) == (10, 35)
    assert len(shown["backspan.feedback.quote.hash"]) == 32 and "anna" not in str(shown)
    record_feedback("chatcmpl-2", correction="no", quote={**quote, "text": "write to bert@example.com"})
    assert out.spans[1].attributes["backspan.feedback.quote.hash"] == shown["backspan.feedback.quote.hash"]
    for bad in ({"text": "a"}, {"text": "", "start": 0, "end": 1}, {"text": "a", "start": 5, "end": 5}, "a"):
        assert refused(thumbs=False, quote=bad)[0] == "quote"
