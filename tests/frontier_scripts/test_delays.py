"""When what is leased may start: the delays of a domain, whoever asks it."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest

from tests.frontier_shard import (
    LIVES,
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


def gaps(leases: list[Leased]) -> list[int]:
    starts = sorted(lease.start for lease in leases)
    return [after - before for before, after in pairwise(starts)]


def test_starts_keep_to_a_grid_of_delays_within_the_look_ahead(slow: Shard) -> None:
    worker = slow.worker()
    worker.enqueue(*pages(*range(20)))
    leases = worker.lease()
    assert [lease.start - slow.now for lease in leases] == [0, 100, 200, 300, 400, 500]
    assert {lease.delay for lease in leases} == {100}
    assert worker.lease() == []
    slow.advance(200)
    assert [lease.start - START for lease in worker.lease()] == [600, 700]


def test_unstarted_leases_of_a_domain_belong_to_one_worker_and_the_last_start_hands_it_on(slow: Shard) -> None:
    first, second = slow.worker(), slow.worker()
    first.enqueue(*pages(*range(20)))
    leases = first.lease(2)
    assert second.lease() == []
    first.settle(began(leases[0]))
    assert second.lease() == []
    slow.advance(100)
    first.settle(began(leases[1]))
    assert [lease.start - START for lease in second.lease(2)] == [200, 300]
    assert first.lease() == []


def test_a_worker_that_has_starts_planned_plans_on_though_others_have_looked(slow: Shard) -> None:
    first, second = slow.worker(), slow.worker()
    first.enqueue(*pages(*range(20)))
    first.lease(3)
    assert second.lease() == []
    assert [lease.start - START for lease in first.ask(2, go_on=("shop.example",)).leases] == [300, 400]
    assert second.ask(2, go_on=("shop.example",)).leases == []
    slow.check()


def test_a_worker_whose_starts_are_over_has_nothing_to_go_on_with(slow: Shard) -> None:
    first, second = slow.worker(), slow.worker()
    first.enqueue(*pages(1, 2, 3))
    [lease] = first.lease(1)
    first.settle(began(lease))
    slow.advance(100)
    assert len(second.lease(1)) == 1
    assert first.ask(go_on=("shop.example", "unknown.example")).leases == []
    assert slow.domain()["o"] == second.name
    slow.check()


def test_a_released_start_is_free_again_for_others_and_for_its_own_crawl(slow: Shard) -> None:
    slow.set_domain(d=60_000)
    worker, other = slow.worker(), slow.worker("another")
    worker.enqueue(*pages(1, 2))
    other.enqueue(*pages(1))
    [lease] = worker.lease()
    assert other.lease() == []
    worker.settle(release(lease))
    assert worker.crawl.ready == other.crawl.ready == {"shop.example": slow.now}
    assert [lease.start for lease in worker.lease()] == [slow.now]


@pytest.mark.parametrize("end", [settle, retry, release])
def test_leases_that_end_without_a_start_hand_their_domain_on_too(slow: Shard, end: Callable[..., Any]) -> None:
    first, second = slow.worker(), slow.worker()
    first.enqueue(*pages(*range(20)))
    leases = first.lease(3)
    first.settle(*(end(lease, started=False) for lease in leases))
    assert [lease.start for lease in second.lease(1)] == [slow.now]


def test_a_late_start_moves_the_next_one_and_is_made_good_by_a_tenth_of_a_delay_at_a_time(slow: Shard) -> None:
    worker = slow.worker()
    worker.enqueue(*pages(*range(20)))
    [first] = worker.lease(1)
    slow.advance(60)
    worker.settle(began(first, since=10))
    assert [lease.start - START for lease in worker.lease()] == [140, 230, 320, 410, 500]


@pytest.mark.parametrize("late", [0, 5, 50, 99, 100, 101, 250, 1000])
@pytest.mark.parametrize("told_after", [0, 40, 400])
def test_a_start_is_never_nearer_than_nine_tenths_of_a_delay_after_the_real_one_before(
    slow: Shard, late: int, told_after: int
) -> None:
    first, second = slow.worker(), slow.worker()
    first.enqueue(*pages(*range(20)))
    leases = first.lease(2)
    slow.advance(100 + late)
    real = slow.now
    slow.advance(told_after)
    first.settle(began(leases[0], since=100 + told_after), began(leases[1], since=told_after))
    starts = [lease.start for lease in second.lease(3, look=1000)]
    assert starts[0] >= max(real + 90, slow.now)
    assert min(after - before for before, after in pairwise(starts)) >= 90


def test_starts_planned_by_one_call_keep_their_distance_from_those_of_the_call_before(slow: Shard) -> None:
    worker = slow.worker()
    worker.enqueue(*pages(*range(20)))
    [first] = worker.lease(1)
    slow.advance(60)
    worker.settle(began(first))
    leases = [lease for _ in range(4) for lease in worker.lease(1)]
    assert [lease.start - START for lease in leases] == [150, 240, 330, 420]


def test_a_domain_that_was_idle_starts_at_once_and_catches_nothing_up(slow: Shard) -> None:
    worker = slow.worker()
    worker.enqueue(*pages(*range(20)))
    [first] = worker.lease(1)
    worker.settle(began(first))
    slow.advance(5000)
    assert [lease.start - slow.now for lease in worker.lease(3)] == [0, 100, 200]


def test_two_crawls_share_a_domains_delay(slow: Shard) -> None:
    first, second = slow.worker("one"), slow.worker("two")
    first.enqueue(*pages(1, 2))
    second.enqueue(*pages(1, 2))
    [one] = first.lease(1)
    assert second.lease() == []
    first.settle(began(one))
    [two] = second.lease(1)
    assert two.start - one.start == 100
    assert first.lease() == []
    second.settle(release(two))
    assert [lease.start - one.start for lease in first.lease()] == [100]


def test_a_dead_workers_domain_is_handed_on_after_the_starts_that_it_may_have_made(slow: Shard) -> None:
    slow.set_domain(d=60_000)
    worker, other = slow.worker(), slow.worker("another")
    worker.enqueue(*pages(1))
    other.enqueue(*pages(1))
    [started_unreported] = worker.lease()
    slow.advance(LIVES + 1)
    other.renew()
    slow.client.set(f"{slow.root}:tick", slow.now)
    assert slow.reap() == (1, 1)
    assert other.lease() == []
    slow.advance(60_000 - LIVES - 1)
    other.renew()
    assert [lease.start - started_unreported.start for lease in other.lease(1)] == [60_000]


def test_a_dead_worker_that_owned_a_domain_no_more_leaves_it_to_its_owner(slow: Shard) -> None:
    dead, owner, other = (slow.worker() for _ in range(3))
    dead.enqueue(*pages(1, 2, 3))
    [lease] = dead.lease(1)
    dead.settle(began(lease))
    [owned] = owner.lease(1)
    slow.lose(dead)
    assert other.lease() == []
    owner.settle(release(owned))
    assert other.lease() != []


def test_a_sites_own_delay_and_concurrency_come_before_the_defaults(slow: Shard) -> None:
    slow.set_domain("a.example", d=300, c=2)
    slow.set_domain("b.example", d=0)
    worker = slow.worker()
    worker.enqueue(*pages(1, 2, 3, 4, domain="a.example"), *pages(5, 6, 7, domain="b.example"))
    leases = worker.lease()
    assert [lease.start - slow.now for lease in leases if lease.domain == "a.example"] == [0, 300]
    assert [lease.start - slow.now for lease in leases if lease.domain == "b.example"] == [0, 0, 0]


def test_a_crawl_delay_is_kept_where_it_is_the_longer_one(slow: Shard) -> None:
    worker = slow.worker()
    worker.enqueue(*pages(1, 2, 3, 4))
    worker.settle(crawl_delay("shop.example", 250))
    leases = worker.lease()
    assert gaps(leases) == [250, 250]
    worker.settle(*map(release, leases), crawl_delay("shop.example", 50))
    leases = worker.lease()
    assert gaps(leases) == [100, 100, 100]
    worker.settle(*map(release, leases), crawl_delay("shop.example", 0))
    assert "r" not in slow.domain()


def test_domains_that_share_a_budget_keep_the_longest_crawl_delay_of_theirs(shard: Shard, worker: Worker) -> None:
    def told(domain: str, milliseconds: int) -> str | None:
        worker.settle(crawl_delay("shop", milliseconds, domain))
        return shard.domain("shop").get("r")

    assert told("a.example", 300) == "300"
    assert told("b.example", 0) == "300"
    assert told("b.example", 500) == "500"
    assert told("b.example", 100) == "300"
    assert told("a.example", 0) == "100"
    assert told("b.example", 0) is None


def test_a_delay_that_comes_while_leases_are_out_counts_only_those_that_it_holds_up(
    shard: Shard, worker: Worker
) -> None:
    worker.enqueue(*pages(*range(20)))
    undelayed = worker.lease(2)
    worker.settle(crawl_delay("shop.example", 100))
    delayed = worker.lease(2)
    worker.settle(*map(release, undelayed))
    other = shard.worker()
    assert other.lease() == []
    worker.settle(*map(release, delayed))
    assert len(other.lease(1)) == 1


def test_retry_after_holds_the_domain_for_every_crawl(shard: Shard, worker: Worker) -> None:
    other = shard.worker("another")
    worker.enqueue(*pages(1, 2))
    other.enqueue(*pages(1))
    [lease] = worker.lease(1)
    worker.settle(ended(lease, verdict=THROTTLED, retry_after=20_000), retry(lease))
    shard.advance(19_999)
    assert worker.lease() == other.lease() == []
    shard.advance(1)
    assert other.lease() != []
    assert worker.lease() != []


def test_retry_after_outlasts_the_starts_of_what_was_leased_before(slow: Shard) -> None:
    worker = slow.worker()
    worker.enqueue(*pages(1, 2, 3, 4, 5))
    first, second, third = worker.lease(3)
    worker.settle(began(first), ended(first, verdict=THROTTLED, retry_after=20_000), release(third))
    slow.advance(100)
    worker.settle(began(second))
    slow.advance(19_899)
    assert worker.lease(look=0) == []
    slow.advance(1)
    assert worker.lease(1)[0].start == START + 20_000
