"""An application that does a little of everything that the catalogue counts, then ends."""

import contextlib
import random
import threading

import httpx
import openai

import backspan

CHANCE = random.Random(11)
SIGNALS = ("regenerate", "reformulation", "stop", "escalation", "abandonment", "copy", "accept")


def ask(client: openai.OpenAI, model: str = "gpt-test", system: str | None = None) -> openai.types.chat.ChatCompletion:
    first = [{"role": "system", "content": system}] if system else []
    return client.chat.completions.create(model=model, messages=[*first, {"role": "user", "content": "Hello there?"}])


def answers(client: openai.OpenAI) -> list[object]:
    """Named prompts of two versions, a nameless one, turns of two calls, variants, streams."""
    found: list[object] = []
    for n in range(12):
        variant = "treatment" if n % 3 else "control"
        with backspan.prompt("support", version=1 + n % 2), backspan.variant("model", variant):
            found.append(ask(client))
    with backspan.prompt("hashed"):
        found += [ask(client, system="Be brief."), ask(client, system="Be kind.")]
    found.append(ask(client, model="gpt-other", system="Be brief."))
    for _ in range(3):
        with backspan.turn("two calls") as turn, backspan.session(segment="pro"):
            ask(client)
            ask(client, model="gpt-other")
        found.append(turn)
    for _ in range(2):
        with client.chat.completions.create(
                model="gpt-test", messages=[{"role": "user", "content": "Hello"}], stream=True) as stream:
            found.append(list(stream)[0])
    found.append(client.responses.create(model="gpt-test", input="Hello"))
    return found


def failures(client: openai.OpenAI) -> None:
    for model in ("error-500", "error-429", "garbage", "cut-after-2"):
        with contextlib.suppress(openai.OpenAIError, httpx.HTTPError, ValueError):  # what an application sees of them
            for _ in client.chat.completions.create(
                    model=model, messages=[{"role": "user", "content": "Hello"}], stream=model == "cut-after-2"):
                pass


def judge(answers: list[object]) -> None:
    """First votes, votes of several people, changes, retractions, reasons, signals, verdicts."""
    for n, answer in enumerate(answers):
        up = CHANCE.random() < 0.6
        reasons = () if up else tuple(CHANCE.sample(("wrong", "slow", "rude"), CHANCE.randint(0, 2)))
        backspan.record_feedback(answer, thumbs=up, reasons=reasons, rater="one")
        if n % 2:
            backspan.record_feedback(answer, thumbs=not up, reasons=("wrong",), rater="one")
        if n % 3 == 0:
            backspan.record_feedback(answer, stars=CHANCE.randint(1, 5), rater="two")
        if n % 4 == 0:
            backspan.record_feedback(answer, thumbs=up, retract=True, rater="one")
            backspan.record_feedback(answer, name="evaluator_grounded", value=CHANCE.random() < 0.5)
        if n % 5 == 0:
            backspan.record_feedback(answer, name="review_policy", value=CHANCE.random() < 0.5)
            backspan.record_feedback(answer, name="outcome_order", value=CHANCE.random() < 0.5)
        signal = SIGNALS[n % len(SIGNALS)]
        backspan.record_feedback(answer, name=f"implicit_{signal}", value=True,
                                 polarity="positive" if signal in ("copy", "accept") else "negative")


def main() -> None:
    with openai.OpenAI(max_retries=0) as client:
        slow = threading.Thread(target=ask, args=(client, "slow-10400"))
        slow.start()
        given = answers(client)
        failures(client)
        judge(given)
        slow.join()
    backspan.flush()


if __name__ == "__main__":
    main()
