"""Calls from the parent and from child processes; the start method (fork, spawn, forkserver) is the argument."""

import multiprocessing
import os
import sys

import openai


def ask(question: str) -> int:
    with openai.OpenAI() as client:
        client.chat.completions.create(model="gpt-test", messages=[{"role": "user", "content": question}])
    return os.getpid()


def main(method: str) -> None:
    context = multiprocessing.get_context(method)
    pids = {ask("parent")}
    with context.Pool(2) as pool:
        pids |= set(pool.map(ask, ["one", "two", "three", "four"], chunksize=1))
        pool.close()
        pool.join()
    child = context.Process(target=ask, args=("alone",))
    child.start()
    child.join()
    print("processes:", len(pids) > 1, "exit:", child.exitcode)


if __name__ == "__main__":
    main(sys.argv[1])
