"""What is settled: how a lease ends, and what is left of its request."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from redis.exceptions import ResponseError

from tests.frontier_shard import (
    FAILED,
    MOST_ATTEMPTS,
    MOST_LOSSES,
    START,
    Shard,
    Worker,
    began,
    ended,
    numbers,
    page,
    pages,
    postpone,
    release,
    retry,
    settle,
)

LETTERS = {"delivered": "D", "expanded": "E", "redirected": "R", "empty": "M", "filtered": "F"}


@pytest.mark.parametrize(("outcome", "letter"), LETTERS.items())
def test_an_outcome_is_counted_and_remembered_for_a_while(
    new_shard: Callable[..., Shard], outcome: str, letter: str
) -> None:
    shard = new_shard(seconds_kept=60)
    worker = shard.worker()
    worker.enqueue(*pages(1, 2))
    first, second = worker.lease()
    worker.settle(settle(first, outcome, "why"), settle(second, outcome, "why"))
    reasons = {f"{outcome}:why": 2} if outcome in ("delivered", "filtered") else {}
    assert worker.crawl.counts == {"discovered": 2, outcome: 2, **reasons}
    assert worker.crawl.outcome(first.id) == f"{letter}{START // 1000}|1|why"
    for name in shard.client.scan_iter(f"{worker.crawl.root}:done:*", 1000):
        assert 60 <= shard.client.ttl(name) <= 120


def test_outcomes_are_not_remembered_where_nobody_wants_that(new_shard: Callable[..., Shard]) -> None:
    worker = new_shard(seconds_kept=0).worker()
    worker.enqueue(*pages(1))
    worker.settle(*map(settle, worker.lease()))
    assert worker.crawl.outcome(page(1).id) is None


def test_a_dead_request_is_kept_with_all_its_reasons(worker: Worker) -> None:
    worker.enqueue(*pages(1))
    worker.settle(*(retry(lease, reason="timeout") for lease in worker.lease()))
    worker.settle(*(settle(lease, "dead", "bad item") for lease in worker.lease()))
    assert worker.crawl.dead == {b"page 1": ["timeout", "bad item"]}
    assert worker.crawl.counts == {"discovered": 1, "retried": 1, "dead": 1, "dead:bad item": 1}


def test_a_resent_settlement_is_harmless(shard: Shard, worker: Worker) -> None:
    worker.enqueue(*pages(1, 2, 3))
    first, second, third = worker.lease()
    batch = [ended(first, verdict=FAILED), settle(first), retry(second), release(third)]
    worker.settle(*batch)
    before = shard.dump()
    assert worker.settle_again(*batch) == (0, [])
    assert shard.dump() == before


@pytest.mark.parametrize("end", [settle, retry, postpone, release])
def test_a_stale_token_settles_nothing_and_is_counted(shard: Shard, worker: Worker, end: Callable[..., Any]) -> None:
    worker.enqueue(*pages(1))
    [old] = worker.lease()
    shard.lose(worker)
    [new] = shard.worker().lease()
    assert new.id == old.id
    before = shard.dump()

    assert worker.settle(began(old), ended(old, verdict=FAILED), end(old)) == (1, [])

    after = shard.dump()
    assert worker.crawl.counts["stale"] == 1
    assert after["spider:crawl:leases"] == before["spider:crawl:leases"]
    assert after["domain:shop.example"] == before["domain:shop.example"]


def test_a_retry_waits_until_it_is_due(shard: Shard, worker: Worker) -> None:
    worker.enqueue(*pages(1))
    [lease] = worker.lease()
    assert worker.settle(ended(lease, verdict=FAILED), retry(lease, after=5000)) == (0, [])
    shard.advance(4999)
    assert worker.ask()[1] == 1
    assert worker.lease() == []
    assert "pending" not in worker.crawl.counts
    shard.advance(1)
    [again] = worker.lease()
    assert (again.id, again.attempts, again.data) == (lease.id, 1, b"page 1")


def test_what_is_postponed_waits_and_has_had_no_attempt(shard: Shard, worker: Worker) -> None:
    worker.enqueue(page(1))
    for _ in range(MOST_ATTEMPTS + 2):
        [lease] = worker.lease()
        assert worker.settle(postpone(lease, after=5000)) == (0, [])
        shard.advance(4999)
        assert worker.lease() == []
        shard.advance(1)
    [lease] = worker.lease()
    assert lease.attempts == 0


def test_a_retry_may_change_the_request(worker: Worker) -> None:
    worker.enqueue(*pages(1))
    worker.settle(*(retry(lease, data=b"with a browser") for lease in worker.lease()))
    assert [lease.data for lease in worker.lease()] == [b"with a browser"]


def test_after_its_last_attempt_a_request_is_dead(worker: Worker) -> None:
    worker.enqueue(*pages(1))
    for attempt in range(MOST_ATTEMPTS - 1):
        [lease] = worker.lease()
        assert worker.settle(retry(lease, reason=f"error {attempt}")) == (0, [])
    [lease] = worker.lease()
    assert worker.settle(retry(lease, reason="timeout")) == (0, [lease.id])
    assert worker.crawl.dead == {b"page 1": ["error 0", "error 1", "timeout"]}
    assert worker.lease() == []


def test_attempts_that_were_lost_with_their_worker_are_not_failures_of_the_request(
    shard: Shard, worker: Worker
) -> None:
    worker.enqueue(*pages(1))
    for _ in range(MOST_LOSSES - 1):
        lost = shard.worker()
        assert len(lost.lease()) == 1
        shard.lose(lost)
    for _ in range(MOST_ATTEMPTS - 1):
        [lease] = worker.lease()
        assert worker.settle(retry(lease)) == (0, [])
    [lease] = worker.lease()
    assert lease.attempts == MOST_ATTEMPTS - 1
    assert worker.settle(retry(lease)) == (0, [lease.id])


def test_a_released_request_is_back_at_its_place_as_if_it_had_not_been_leased(worker: Worker) -> None:
    worker.enqueue(*pages(1, 2, 3))
    first, second, _ = worker.lease(3)
    worker.settle(release(second), release(first))
    again = worker.lease(2)
    assert numbers(again) == [1, 2]
    assert [lease.attempts for lease in again] == [0, 0]


def test_an_operation_that_is_none_is_refused_before_anything_is_written(shard: Shard, worker: Worker) -> None:
    worker.enqueue(*pages(1, 2))
    first, second = worker.lease()
    before = shard.dump()
    for bad in [settle(second, "unheard of"), ("forget", second.id, second.token)]:
        with pytest.raises(ResponseError, match=r"^POISON 2$"):
            worker.settle(settle(first), bad)
        assert shard.dump() == before
    assert worker.settle_again(settle(first)) == (0, [])
    assert worker.crawl.counts["delivered"] == 1
