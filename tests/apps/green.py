"""Greenlets instead of threads: everything is patched first, as gevent wants it."""

from gevent import monkey

monkey.patch_all()

import gevent  # noqa: E402
import openai  # noqa: E402


def ask(number: int) -> str | None:
    with openai.OpenAI() as client:
        question = [{"role": "user", "content": f"number {number}"}]
        return client.chat.completions.create(model="gpt-test", messages=question).choices[0].message.content


answers = gevent.joinall([gevent.spawn(ask, number) for number in range(20)], timeout=60, raise_error=True)
print(len({job.value for job in answers}))
