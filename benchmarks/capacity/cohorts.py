"""An instrumented application that answers twice with each of so many prompt versions; prints their tokens."""

import json
import sys

import openai

import backspan


def main() -> None:
    tokens = []
    with openai.OpenAI(max_retries=0) as client:
        for version in range(int(sys.argv[1])):
            with backspan.prompt("cohorts", version=f"c{version}"):
                for _ in range(2):
                    with backspan.turn("answer"):
                        client.chat.completions.create(
                            model="gpt-test", messages=[{"role": "user", "content": "Hello there?"}])
                        tokens.append(backspan.feedback_token())
        backspan.flush()
    print(json.dumps(tokens))


if __name__ == "__main__":
    main()
