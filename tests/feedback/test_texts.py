"""Texts compared: pairs that must be found, and pairs that must not, in English, German, French and Spanish."""

import pytest

from backspan.feedback import texts
from backspan.feedback.signals import CATALOGUE, Catalogue

CUES = Catalogue().cues
SIMILAR = CATALOGUE["reformulation"].limits["similar"]

REFORMULATED = [
    ("How do I reset my password?", "how can I reset the password"),
    ("What is the refund policy?", "No, I asked what the refund policy is for sale items"),
    ("Show me restaurants in Berlin", "Show me restaurants in Berlin with vegetarian options"),
    ("Why does my build fail on CI?", "why is the build failing on my CI"),
    ("Wie kündige ich meinen Vertrag?", "Wie kann ich meinen Vertrag kündigen?"),
    ("Wann ist die Rechnung fällig?", "Ich fragte, wann die Rechnung fällig ist"),
    ("Comment annuler ma commande ?", "comment puis-je annuler la commande"),
    ("¿Cómo cambio mi dirección de envío?", "cómo puedo cambiar la dirección de envío"),
]
NEW_TOPICS = [
    ("How do I reset my password?", "What are your opening hours?"),
    ("Show me restaurants in Berlin", "Thanks! And how is the weather tomorrow?"),
    ("Why does my build fail on CI?", "Write a haiku about autumn"),
    ("What is the refund policy?", "Do you ship to Norway?"),
    ("Wie kündige ich meinen Vertrag?", "Was kostet der Versand nach Österreich?"),
    ("Wann ist die Rechnung fällig?", "Schreib mir eine Einladung zum Geburtstag"),
    ("Comment annuler ma commande ?", "Quels sont vos horaires d'ouverture ?"),
    ("¿Cómo cambio mi dirección de envío?", "Cuéntame un chiste corto"),
]


@pytest.mark.parametrize(("one", "other"), REFORMULATED)
def test_reformulations_are_similar(one, other):
    assert texts.similarity(one, other) >= SIMILAR


@pytest.mark.parametrize(("one", "other"), NEW_TOPICS)
def test_new_topics_are_not(one, other):
    assert texts.similarity(one, other) < SIMILAR


def test_there_is_room_between_them():
    least = min(texts.similarity(*pair) for pair in REFORMULATED)
    most = max(texts.similarity(*pair) for pair in NEW_TOPICS)
    assert most + 3 < SIMILAR <= least, (most, least)


@pytest.mark.parametrize(("kind", "text"), [
    ("ack", "Thanks, that works!"), ("ack", "Danke, das klappt"), ("ack", "Merci, ça marche"), ("ack", "¡Gracias!"),
    ("correction", "No, that is wrong"), ("correction", "Nein, das stimmt nicht"), ("correction", "non, c’est faux"),
    ("correction", "no es correcto"), ("again", "try again"), ("again", "noch einmal bitte"),
    ("error", "Traceback (most recent call last)"), ("error", "it doesn't work"), ("error", "das funktioniert nicht"),
    ("error", "ça ne marche pas"), ("error", "no funciona"), ("error", "exit code 2")])
def test_cues_are_found(kind, text):
    assert texts.cue(text, CUES[kind])


@pytest.mark.parametrize(("kind", "text"), [
    ("ack", "What is the greatest common divisor?"), ("ack", "thanksgiving recipes"),
    ("correction", "what is a wrongdoer"), ("correction", "nowhere to go"),
    ("error", "terrors of the deep"), ("again", "against the rule"), ("ack", "")])
def test_other_words_are_none(kind, text):
    assert not texts.cue(text, CUES[kind])


def test_a_cue_at_the_beginning():
    assert texts.cue("  No, that is wrong", CUES["correction"], first=True)
    assert not texts.cue("Is that wrong?", CUES["correction"], first=True)


@pytest.mark.parametrize(("answer", "later", "shared"), [
    ("```python\nframe.to_parquet(path)\n```", "AttributeError: 'DataFrame' has no attribute to_parquet", True),
    ("Call `load_model` first.", "NameError: load_model is not defined", True),
    ("Set max_tokens in the call.", "unknown argument max_tokens", True),
    ("```python\nframe.to_parquet(path)\n```", "my login fails with an error", False),
    ("Just write to support.", "error: write failed", False)])
def test_identifiers_of_the_answer(answer, later, shared):
    assert texts.mentions(later, texts.identifiers(answer)) is shared


@pytest.mark.parametrize(("used", "low", "high"), [
    ("Dear Sir, thank you for your letter.", 0, 0), ("Dear  Sir,\nthank you for your letter.", 0, 0),
    ("Dear Madam, thank you for your letter.", 0.05, 0.2), ("What a wonderful day it is out there", 0.6, 1)])
def test_edit_distance(used, low, high):
    assert low <= texts.edit_distance("Dear Sir, thank you for your letter.", used) <= high


def test_edit_distance_of_code_goes_by_its_words():
    given = "```python\nresult = compute(first, second)\n```"
    renamed = "```python\nx = compute(first, second)\n```"
    assert texts.edit_distance(given, renamed) == pytest.approx(1 / 15, abs=0.02)


@pytest.mark.parametrize(("answer", "used"), [
    ("", "x"), ("a long answer of many words", "no"), ("no", "a long answer")])
def test_a_text_of_ones_own_has_no_distance(answer, used):
    assert texts.edit_distance(answer, used) is None
