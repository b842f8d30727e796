"""Work that is done once, with its answer, in one transaction."""

import asyncio

import pytest
import sqlalchemy as sa

from backspan.store import idempotency
from backspan.store.idempotency import KEPT_SECONDS, Claim, Done, Once
from backspan.store.schema import meta

from .conftest import thumb


def _stored(store):
    with store.reading() as conn:
        return conn.execute(sa.select(sa.func.count()).select_from(idempotency.idempotency)).scalar_one()


def _vote(store, key, digest="d", **fields):
    return asyncio.run(store.accept_once([thumb(**fields)], Claim(key, digest)))


def test_the_first_answer_stands(store):
    first = _vote(store, "k")
    assert not first.again and [receipt.status for receipt in first.result] == ["add"]
    assert [receipt.status for receipt in store.put_votes([thumb(up=False)]).result()] == ["change"]
    assert _vote(store, "k") == Done(first.result, True)
    assert _vote(store, "k", digest="other") == Done(None, True)
    assert _vote(store, "other", up=False).result[0].status == "unchanged"


def test_equal_claims_of_one_commit(store):
    async def together():
        return await asyncio.gather(*(store.accept_once([thumb(id=f"f{number % 3}")], Claim(f"k{number % 3}", "d"))
                                      for number in range(30)))

    done = asyncio.run(together())
    assert sum(not one.again for one in done) == 3
    assert {receipt.status for one in done for receipt in one.result} == {"add"}
    assert {one.result[0].version for one in done} == {1}


def test_what_fails_takes_no_key(store):
    """Killed between the key and the work, or between the work and the answer: it is one transaction."""
    def fail(conn, items):
        conn.execute(meta.insert().values(key="half done", value=1))
        raise RuntimeError("power cut")

    broken = Once(fail, list, list, lambda: 0.0)
    with pytest.raises(RuntimeError, match="power cut"):
        asyncio.run(store.once(broken, Claim("k", "d"), "work"))
    with store.reading() as conn:
        assert conn.execute(sa.select(meta).where(meta.c.key == "half done")).all() == []
    assert _stored(store) == 0 and not _vote(store, "k").again


def test_an_answer_is_forgotten_after_its_time(store, clock):
    _vote(store, "k")
    clock.now += KEPT_SECONDS - 1
    assert _vote(store, "k").again
    clock.now += 1
    again = _vote(store, "k")
    assert not again.again and again.result[0].status == "unchanged"
    clock.now += KEPT_SECONDS
    store.write(lambda conn: idempotency.expire(conn, clock.now)).result()
    assert _stored(store) == 0
