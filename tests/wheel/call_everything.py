"""Import every module of the installed package, then call every public name. Run by the wheel's own interpreter."""

import importlib
import pkgutil
import sys

import backspan

for module in pkgutil.walk_packages(backspan.__path__, "backspan."):
    if module.name != "backspan.__main__":
        importlib.import_module(module.name)


def turn():
    with backspan.turn("ask"):
        return backspan.current_turn()


def retrieval():
    with backspan.retrieval("shoes", index="catalogue", version="7", top_k=2) as found:
        found.add(id="a", score=0.5, source="catalogue", version="1", content="text")
        found.documents([{"id": "b", "score": 0.25}])


def session():
    with backspan.session("s-1", user="anna", role="buyer", segment="gold", region="eu", consent=("training",)):
        pass


def prompt():
    with backspan.prompt("support", version="3"):
        pass


def variant():
    with backspan.variant("new-ranker", "b"):
        pass


CALLS = {
    "turn": turn,
    "current_turn": backspan.current_turn,
    "retrieval": retrieval,
    "session": session,
    "prompt": prompt,
    "variant": variant,
    "record_feedback": lambda: backspan.record_feedback(("ab" * 16, "cd" * 8), thumbs="up", source="operator"),
    "record_outcome": lambda: backspan.record_outcome(("ab" * 16, "cd" * 8), "outcome_resolved", True),
    "feedback_token": lambda: backspan.feedback_token(turn()),
    "feedback_headers": lambda: backspan.feedback_headers(turn()),
    "feedback_fields": lambda: backspan.feedback_fields(turn()),
    "feedback_event": lambda: backspan.feedback_event(turn()),
    "redactor": lambda: backspan.redactor(lambda text: text),
    "flush": lambda: backspan.flush(1.0),
}
assert set(CALLS) == set(backspan.__all__), set(CALLS) ^ set(backspan.__all__)
for name, call in CALLS.items():
    print(name, "->", type(call()).__name__)
print("modules:", sum(name.startswith("backspan.") for name in sys.modules))
