"""The mind of the simulated model: pure functions from a prompt to an answer. No network, no learning.

Like a real model it does what its instructions say. Told to answer only from documents, it picks the sentence
that fits the question best; told to answer from what it knows, it mostly recites `memory.json`, which is general
knowledge and often wrong for this shop. It never sees which version of a prompt is in use.
"""

import hashlib
import json
import math
import random
import re
from pathlib import Path

DIMENSIONS = 256
SLIP = 0.03  # share of answers that ignore an instruction to use the documents
LUCK = 0.5  # share of answers that use the documents although nothing told the model to
UNKNOWN = "I do not know: the documents do not say."

_MEMORY: list[str] = json.loads((Path(__file__).parent / "memory.json").read_text(encoding="utf-8"))
_STOP_WORDS = frozenset(
    "a an and any are as at be by can do does for from how i in is it my of off on or our so that the they to "
    "until up was we what when which with you your hello hi hey please thanks thank tell me know question quick "
    "could would there just one about wondering".split()
)
_DOCUMENT = re.compile(r"^\[([\w-]+)\] (.+)$", re.MULTILINE)
_QUESTION = re.compile(r"^Question: (.+)$", re.MULTILINE)
_GROUNDED = re.compile(r"\bonly from the documents\b", re.IGNORECASE)
_CITING = re.compile(r"\bcite\b", re.IGNORECASE)

Message = dict[str, str]


def stems(text: str) -> list[str]:
    """The words of a text that carry meaning, in lower case, with common English endings cut."""
    words = re.findall(r"\w+", text.lower())
    return [re.sub(r"(ings?|ed|es|s|e)$", "", word) or word for word in words if word not in _STOP_WORDS]


def embed(text: str, dimensions: int = DIMENSIONS) -> list[float]:
    """A bag of hashed words as a vector of length 1; texts that share words lie close together."""
    vector = [0.0] * dimensions
    for stem in stems(text):
        digest = hashlib.blake2b(stem.encode(), digest_size=8).digest()
        sign = 1.0 if digest[-1] % 2 else -1.0
        vector[int.from_bytes(digest[:4], "big") % dimensions] += sign
    length = math.hypot(*vector) or 1.0
    return [value / length for value in vector]


def answer(messages: list[Message], seed: int) -> str:
    """The answer to a conversation. The same messages and seed always give the same answer."""
    chance = random.Random(f"{seed}:{json.dumps(messages, sort_keys=True)}")
    instructions = " ".join(m["content"] for m in messages if m["role"] in ("system", "developer"))
    asked = " ".join(m["content"] for m in messages if m["role"] == "user")
    question = (_QUESTION.findall(asked) or [asked])[-1]
    documents = _DOCUMENT.findall(asked)
    told_to = bool(_GROUNDED.search(instructions))
    if documents and (chance.random() > SLIP if told_to else chance.random() < LUCK):
        return _from_documents(question, documents, cite=bool(_CITING.search(instructions)))
    if told_to and not documents:
        return UNKNOWN
    return _from_memory(question, chance)


def _from_documents(question: str, documents: list[tuple[str, str]], *, cite: bool) -> str:
    sentences = [(name, s) for name, text in documents for s in re.split(r"(?<=\.) ", text)]
    best = _closest(question, [sentence for _, sentence in sentences])
    if best is None:
        return UNKNOWN
    name, sentence = sentences[best]
    return f"{sentence} [{name}]" if cite else sentence


def _from_memory(question: str, chance: random.Random) -> str:
    opening = chance.choice(["Sure!", "Good question!", "Happy to help!", "Of course!"])
    best = _closest(question, _MEMORY)
    return f"{opening} {_MEMORY[best] if best is not None else 'It depends, but it is usually no problem.'}"


def _closest(question: str, sentences: list[str]) -> int | None:
    """The index of the sentence that shares the most, and the rarest, words with the question."""
    bags = [set(stems(sentence)) for sentence in sentences]
    wanted = set(stems(question))
    weight = {stem: math.log(1 + len(bags) / sum(stem in bag for bag in bags)) for stem in set().union(*bags)}
    scores = [sum(weight[stem] for stem in bag & wanted) for bag in bags]
    best = max(range(len(scores)), key=scores.__getitem__, default=None)
    return best if best is not None and scores[best] > 0 else None
