"""What is leased: in which order, and how much of it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.frontier_shard import START, Leased, Shard, Worker, ended, numbers, page, pages, release, retry, settle


def test_higher_priorities_come_first_and_equal_ones_in_their_order(shard: Shard, worker: Worker) -> None:
    shard.set_domain(c=100)
    worker.crawl.set(arrivals=2**36 - 20)
    worker.enqueue(*pages(1, 2, 3), *pages(4, priority=-10), *pages(5, 6, priority=7))
    worker.enqueue(*pages(7, priority=7), *pages(8, 9, priority=65535), *pages(10, 11, priority=-65535))
    assert numbers(worker.lease()) == [8, 9, 5, 6, 7, 1, 2, 3, 4, 10, 11]


@pytest.mark.parametrize(("depth_first", "order"), [(0, [5, 1, 2, 3, 4]), (1, [5, 4, 3, 2, 1])])
def test_order_of_arrival_is_breadth_or_depth_first(
    new_shard: Callable[..., Shard], depth_first: int, order: list[int]
) -> None:
    shard = new_shard(concurrency=10)
    shard.crawl(depth_first=depth_first)
    worker = shard.worker()
    worker.enqueue(*pages(1, 2))
    worker.enqueue(*pages(3, 4), *pages(5, priority=1))
    assert numbers(worker.lease()) == order


@pytest.mark.parametrize("depth_first", [0, 1])
def test_open_requests_are_counted_by_the_minute_of_their_arrival(
    new_shard: Callable[..., Shard], depth_first: int
) -> None:
    shard = new_shard()
    shard.crawl(depth_first=depth_first)
    worker = shard.worker()
    worker.enqueue(page(1, priority=-3), page(2, "b.example"))
    shard.advance(150_000)
    worker.renew()
    worker.enqueue(page(3, "c.example", priority=2), page(4, "d.example", priority=65535))
    assert shard.check().crawls["spider:crawl"].ages == {0: 2, 2: 2}
    leases = {lease.data: lease for lease in worker.lease()}
    worker.settle(settle(leases[b"page 1"]), settle(leases[b"page 3"], "dead", "x"), retry(leases[b"page 4"], 999))
    assert shard.check().crawls["spider:crawl"].ages == {0: 1, 2: 1}
    worker.crawl.revive(page(3).id)
    assert shard.check().crawls["spider:crawl"].ages == {0: 1, 2: 2}
    worker.settle(release(leases[b"page 2"]))
    worker.crawl.set(state="cancelled")
    worker.ask()
    assert shard.check().crawls["spider:crawl"].ages == {}


def test_requests_that_arrive_faster_than_one_a_millisecond_age_no_slower(shard: Shard, worker: Worker) -> None:
    worker.enqueue(*pages(*range(400)))
    shard.advance(60_000)
    worker.enqueue(page(1000))
    shard.advance(1)
    worker.enqueue(page(1001))
    assert shard.check().crawls["spider:crawl"].ages == {0: 400, 1: 2}


def test_a_lease_carries_the_request_and_is_held(worker: Worker) -> None:
    worker.enqueue(page(1, "a.example:8080"))
    reply = worker.ask()
    [lease] = reply.leases
    assert lease == Leased(page(1).id, lease.token, "a.example:8080", START, 0, 0, b"page 1")
    assert (reply.state, reply.open) == ("running", 1)
    assert worker.renew() == 1
    assert worker.lease() == []


def test_leases_are_spread_over_domains(worker: Worker) -> None:
    for first, name in enumerate(("a.example", "b.example", "c.example")):
        worker.enqueue(*pages(*range(first, 30, 3), domain=name))
    domains = [lease.domain for lease in worker.lease(8, per_domain=2)]
    assert {name: domains.count(name) for name in domains} == {"a.example": 4, "b.example": 2, "c.example": 2}
    assert domains[:6] == ["a.example"] * 2 + ["b.example"] * 2 + ["c.example"] * 2


def test_no_more_is_leased_than_asked_for_and_the_rest_stays(worker: Worker) -> None:
    worker.enqueue(*pages(*range(20)))
    assert len(worker.lease(3)) == 3
    assert len(worker.lease(100)) == 1


def test_a_call_leases_a_thousand_at_most_however_many_are_asked_for(shard: Shard, worker: Worker) -> None:
    shard.set_domain(c=10_000)
    for first in range(0, 6000, 400):
        worker.enqueue(*pages(*range(first, min(6000, first + 400))))
    assert [len(worker.lease(5000, per_domain=5000)) for _ in range(7)] == [1000] * 6 + [0]
    shard.check()


def test_the_fleet_never_exceeds_a_domains_concurrency(shard: Shard, worker: Worker) -> None:
    shard.set_domain(c=3)
    worker.enqueue(*pages(*range(10)))
    workers = [worker, shard.worker(), shard.worker()]
    assert [len(each.lease(2)) for each in workers] == [2, 1, 0]


def test_a_place_in_a_domain_is_free_when_the_download_ends_and_only_once(shard: Shard, worker: Worker) -> None:
    shard.set_domain(c=1)
    worker.enqueue(*pages(1, 2, 3))
    [first] = worker.lease()
    assert worker.lease() == []
    worker.settle(ended(first))
    [second] = worker.lease()
    worker.settle(settle(first))
    assert worker.lease() == []
    assert shard.domain()["f"] == "1"
    worker.settle(settle(second))
    assert len(worker.lease()) == 1


def test_a_domain_that_nobody_asks_is_forgotten_after_a_week(shard: Shard, worker: Worker) -> None:
    worker.enqueue(*pages(1))
    worker.lease()
    assert 6 * 86400 < shard.client.ttl(f"{shard.root}:domain:shop.example") <= 7 * 86400


def test_two_crawls_share_a_domains_concurrency(shard: Shard, worker: Worker) -> None:
    shard.set_domain(c=2)
    other = shard.worker("another")
    worker.enqueue(*pages(1, 2, 3))
    other.enqueue(*pages(1, 2, 3))
    [first, _] = worker.lease()
    assert other.lease() == []
    worker.settle(ended(first))
    assert "w" not in shard.domain(), "woken, nobody waits any more"
    assert len(other.lease()) == 1
    assert worker.lease() == []


def test_an_answer_tells_when_there_will_be_something_to_lease(shard: Shard, worker: Worker) -> None:
    assert worker.ask().due == -1
    worker.enqueue(*pages(1))
    worker.settle(*(retry(lease, after=7000) for lease in worker.lease()))
    assert worker.ask().due == 7000
    shard.advance(1000)
    assert worker.ask().due == 6000


@pytest.mark.parametrize("state", ["paused", "draining", "complete"])
def test_only_a_running_crawl_leases(worker: Worker, state: str) -> None:
    worker.enqueue(*pages(1))
    worker.crawl.set(state=state)
    assert worker.ask()[:2] == (state, 1)
    assert worker.lease() == []


def test_a_crawl_that_is_not_there_leases_nothing(shard: Shard, worker: Worker) -> None:
    shard.client.delete(f"{worker.crawl.root}:meta")
    assert worker.ask().state == "gone"
