"""A request that was sent and is to be sent once more, as by a browser, takes its turn among all workers."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest

from tests.frontier_shard import (
    START,
    THROTTLED,
    Leased,
    Shard,
    Worker,
    began,
    crawl_delay,
    ended,
    pages,
    release,
    retry,
    settle,
)


def sent(worker: Worker, number: int = 20) -> Leased:
    """The first of so many requests, leased and sent."""
    worker.enqueue(*pages(*range(number)))
    [lease] = worker.lease(1)
    worker.settle(began(lease))
    return lease


def test_without_a_delay_it_is_sent_at_once(shard: Shard, worker: Worker) -> None:
    worker.enqueue(*pages(1))
    [lease] = worker.lease(1)
    assert worker.again(lease) == ("go", shard.now, 0)
    assert "u" not in shard.domain()


def test_the_domain_is_the_workers_until_it_is_sent_and_the_next_start_keeps_its_distance(slow: Shard) -> None:
    first, second = slow.worker(), slow.worker()
    lease = sent(first)
    assert first.again(lease) == ("go", START + 100, 100)
    assert second.lease() == []
    slow.advance(105)
    first.settle(began(lease))
    assert [other.start - START for other in second.lease(2)] == [200, 300]
    slow.check()


def test_it_comes_after_the_workers_own_planned_starts(slow: Shard) -> None:
    worker = slow.worker()
    lease = sent(worker)
    planned = worker.lease(2)
    what, start, _ = worker.again(lease)
    later = worker.ask(2, go_on=("shop.example",)).leases
    starts = [START, *(one.start for one in planned), start, *(one.start for one in later)]
    assert what == "go"
    assert starts == sorted(starts)
    assert min(after - before for before, after in pairwise(starts)) >= 90


def test_another_workers_planned_starts_are_waited_for_and_no_more_are_planned_meanwhile(slow: Shard) -> None:
    asking, other, third = (slow.worker() for _ in range(3))
    lease = sent(asking)
    planned = other.lease(3)
    assert [one.start - START for one in planned] == [100, 200, 300]
    assert asking.again(lease)[0] == "wait"
    assert other.ask(2, go_on=("shop.example",)).leases == third.lease() == asking.lease() == []
    for one in planned:
        slow.advance(100)
        other.settle(began(one))
    assert other.lease() == third.lease() == []
    assert asking.again(lease) == ("go", START + 400, 100)
    slow.advance(100)
    asking.settle(began(lease))
    assert [one.start - START for one in third.lease(1)] == [500]


def test_a_domain_is_not_kept_for_a_worker_that_asks_no_more(slow: Shard) -> None:
    asking, other = slow.worker(), slow.worker()
    lease = sent(asking)
    [planned] = other.lease(1)
    assert asking.again(lease)[0] == "wait"
    slow.advance(100)
    other.settle(began(planned))
    assert other.lease() == []
    slow.advance(900)
    assert other.lease(1) != []
    slow.check()


def test_a_start_too_far_off_is_waited_for_so_that_a_retry_after_still_comes_before_it(slow: Shard) -> None:
    slow.set_domain(d=5_000)
    asking, other = slow.worker(), slow.worker()
    asking.enqueue(*pages(1, 2, 3))
    [lease] = asking.lease(1)
    asking.settle(began(lease))
    assert asking.again(lease) == ("wait", START + 4_500, 5_000)
    slow.advance(4_500)
    assert other.lease() == []
    asking.settle(ended(lease, verdict=THROTTLED, retry_after=60_000))
    assert asking.again(lease)[:2] == ("shut", START + 64_500)


def test_an_open_circuit_shuts_a_domain(slow: Shard) -> None:
    worker = slow.worker()
    lease = sent(worker)
    slow.set_domain(q="open", v=slow.now + 700)
    assert worker.again(lease) == ("shut", START + 700, 100)


def test_asked_twice_it_gets_the_same_start(slow: Shard) -> None:
    worker, other = slow.worker(), slow.worker()
    lease = sent(worker)
    assert worker.again(lease) == worker.again(lease) == ("go", START + 100, 100)
    assert slow.domain()["u"] == "1"
    slow.advance(100)
    worker.settle(began(lease))
    assert len(other.lease(1)) == 1


def test_a_second_more_time_is_a_start_of_its_own(slow: Shard) -> None:
    worker = slow.worker()
    lease = sent(worker)
    for number in (1, 2, 3):
        assert worker.again(lease) == ("go", START + number * 100, 100)
        slow.advance(100)
        worker.settle(began(lease))
    slow.check()


def test_a_delay_that_came_after_the_lease_is_kept(shard: Shard, worker: Worker) -> None:
    other = shard.worker()
    worker.enqueue(*pages(1, 2, 3))
    [lease] = worker.lease(1)
    worker.settle(crawl_delay("shop.example", 300))
    assert worker.again(lease) == ("go", START, 300)
    assert other.lease() == []
    worker.settle(began(lease))
    assert [one.start - START for one in other.lease(1)] == [300]


@pytest.mark.parametrize("end", [settle, retry, release])
def test_a_start_that_is_not_used_is_free_again(slow: Shard, end: Callable[..., Any]) -> None:
    worker, other = slow.worker(), slow.worker()
    lease = sent(worker)
    worker.again(lease)
    worker.settle(end(lease, started=True))
    assert [one.start - START for one in other.lease(1)] == [100]
    slow.check()


def test_one_that_was_worked_on_without_it_hands_its_domain_on_once(slow: Shard) -> None:
    worker, other = slow.worker(), slow.worker()
    lease = sent(worker)
    worker.again(lease)
    worker.settle(("done", lease.id, lease.token, 1))
    [of_other] = other.lease(1)
    worker.settle(settle(lease))
    assert slow.domain()["o"] == other.name
    other.settle(release(of_other))
    slow.check()


def test_a_lost_lease_has_no_other_start(slow: Shard) -> None:
    worker, other = slow.worker(), slow.worker()
    lease = sent(worker)
    worker.again(lease)
    slow.lose(worker)
    assert worker.again(lease)[0] == "lost"
    assert len(other.lease(1)) == 1
    slow.check()
