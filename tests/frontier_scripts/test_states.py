"""States of a crawl, and of Redis."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import pytest
from redis import Redis
from redis.exceptions import ResponseError

from tests.frontier_shard import LIVES, Shard, Worker, began, crawl_delay, ended, pages, release, retry, settle


@contextlib.contextmanager
def full(client: Redis) -> Iterator[None]:
    """Redis at maxmemory."""
    client.config_set("maxmemory", 1)
    try:
        yield
    finally:
        client.config_set("maxmemory", 0)


def test_a_cancelled_crawl_takes_its_requests_off(shard: Shard, worker: Worker) -> None:
    worker.enqueue(*pages(*range(250)))
    late, held = worker.lease(2)
    worker.settle(retry(late, after=1_000_000))
    worker.crawl.set(state="cancelled")
    left = []
    while (reply := worker.ask()).open > 1:
        assert reply.leases == []
        left.append(reply.open)
    assert left == [150, 50]
    assert worker.crawl.counts == {"discovered": 250, "retried": 1, "filtered": 249, "filtered:cancelled": 249}
    assert worker.settle(settle(held)) == (0, [])


def test_what_waits_for_a_busy_domain_is_taken_off_when_a_place_is_free(shard: Shard, worker: Worker) -> None:
    shard.set_domain(c=1)
    worker.enqueue(*pages(1, 2, 3))
    [held] = worker.lease()
    assert worker.lease() == []
    worker.crawl.set(state="cancelled")
    assert worker.ask().open == 3
    worker.settle(settle(held))
    assert worker.ask().open == 0


def test_totals_tell_the_whole_equation(worker: Worker) -> None:
    worker.enqueue(*pages(1, 2, 3))
    worker.enqueue(*pages(4, 5, domain="b.example"))
    first, second, _ = worker.lease(3)
    worker.settle(settle(first), retry(second, after=1000))
    state, counts, leased, delayed, ready, workers, letters = worker.crawl.totals()
    assert counts.pop("version") > 0
    assert (state, leased, delayed, ready, workers, letters) == ("running", 1, 1, 1, 1, 0)
    assert counts == {"discovered": 5, "pending": 2, "delivered": 1, "retried": 1}


def test_every_change_of_what_is_open_changes_the_version(worker: Worker) -> None:
    def version() -> int:
        return worker.crawl.totals()[1]["version"]

    versions = [version()]
    worker.enqueue(*pages(1))
    versions.append(version())
    leases = worker.lease()
    versions.append(version())
    worker.settle(*map(retry, leases))
    versions.append(version())
    leases = worker.lease()
    versions.append(version())
    worker.settle(settle(leases[0], "dead", "why"))
    versions.append(version())
    worker.crawl.revive(leases[0].id)
    versions.append(version())
    worker.lease()
    versions.append(version())
    worker.reconcile()
    versions.append(version())
    worker.lease()
    versions.append(version())
    worker.shard.lose(worker)
    versions.append(version())
    assert versions == sorted(set(versions))
    assert worker.ask().version == versions[-1]


def test_a_full_redis_takes_and_leases_nothing(shard: Shard, worker: Worker) -> None:
    worker.enqueue(*pages(1, 2, 3, 4, 5))
    lease, delayed = worker.lease(2)
    worker.settle(retry(delayed))
    before = shard.dump()
    with full(shard.client):
        with pytest.raises(ResponseError, match="maxmemory"):
            worker.enqueue(*pages(6))
        with pytest.raises(ResponseError, match="maxmemory"):
            worker.lease()
    assert shard.dump() == before
    assert worker.enqueue_again(*pages(6)) == (1, 0, 0)
    assert worker.settle(settle(lease)) == (0, [])
    assert len(worker.lease()) == 4


@pytest.mark.parametrize("outcome", ["delivered", "dead"])
def test_a_full_redis_still_settles(shard: Shard, worker: Worker, outcome: str) -> None:
    worker.enqueue(*pages(1, 2, 3))
    first, second, third = worker.lease()
    with full(shard.client):
        worker.settle(ended(first), settle(first, outcome, "why"), retry(second), release(third))
    assert worker.crawl.counts[outcome] == 1
    assert worker.crawl.counts["pending"] == 1


def test_a_full_redis_still_hears_of_starts_and_of_robots(slow: Shard) -> None:
    worker = slow.worker()
    worker.enqueue(*pages(1))
    [lease] = worker.lease()
    with full(slow.client):
        worker.settle(began(lease))
        worker.settle(crawl_delay("shop.example", 700))
    assert (slow.domain()["s"], slow.domain()["r"]) == (str(slow.now), "700")


def test_a_full_redis_keeps_its_workers_and_knows_the_dead(shard: Shard, worker: Worker) -> None:
    dead = shard.worker()
    dead.enqueue(*pages(1, 2, 3))
    dead.lease(1)
    known, _ = worker.lease(2)
    shard.client.zadd(f"{shard.root}:workers", {dead.name: shard.now - 1})
    with full(shard.client):
        assert worker.renew() == 2
        worker.register()
        assert worker.reconcile(known) == []
        assert shard.reap() == (1, 1)
    assert worker.crawl.counts["pending"] == 2


def test_a_cancelled_crawl_empties_a_full_redis(shard: Shard, worker: Worker) -> None:
    worker.enqueue(*pages(1, 2, 3))
    worker.crawl.set(state="cancelled")
    with full(shard.client):
        worker.lease()
    assert worker.crawl.counts == {"discovered": 3, "filtered": 3, "filtered:cancelled": 3}


def test_the_scripts_go_by_the_clock_of_redis(new_shard: Callable[..., Shard]) -> None:
    shard = new_shard(test_clock=False, delay=1)
    worker = shard.worker()
    seconds, microseconds = shard.client.time()
    worker.enqueue(*pages(1, 2))
    leases = worker.lease()
    worker.settle(began(leases[0]), ended(leases[0]), settle(leases[0]), release(leases[1]))
    life = shard.client.zscore(f"{shard.root}:workers", worker.name)
    assert life - (seconds * 1000 + microseconds // 1000) == pytest.approx(LIVES, abs=5000)
    assert int(shard.domain()["s"]) == pytest.approx(seconds * 1000, abs=5000)
    assert worker.crawl.counts == {"discovered": 2, "delivered": 1, "pending": 1}


def test_what_an_older_connection_still_delivers_changes_nothing(new_shard: Callable[..., Shard]) -> None:
    worker = new_shard().worker()
    worker.enqueue(*pages(*range(10)))
    [lease] = worker.lease(want=1)
    worker.register()
    assert worker.reconcile(lease) == []
    current, worker.session = worker.session, 1
    assert worker.lease() == []
    for late in (lambda: worker.reconcile(), lambda: worker._run("register", LIVES, "{}", 1)):
        with pytest.raises(ResponseError, match="LATE"):
            late()
    worker.session = current
    assert worker.settle(settle(lease)) == (0, [])
    assert worker.lease()
