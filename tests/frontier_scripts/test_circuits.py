"""How a domain fares: it is asked less, its circuit opens, and a crawl gives it up."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.frontier_shard import (
    FAILED,
    GOOD,
    THROTTLED,
    UNASKED,
    Shard,
    Worker,
    began,
    ended,
    numbers,
    page,
    pages,
    release,
    settle,
)


@pytest.fixture
def broken(new_shard: Callable[..., Shard]) -> Shard:
    """A shard whose circuits open after three failures for 1, 2, 3, 3 … seconds; a crawl gives up at the third time."""
    return new_shard(failures_to_open=3, cool_down=1000, longest_cool_down=3000, openings_to_give_up=3)


def fail(shard: Shard, worker: Worker, domain: str = "shop.example") -> None:
    """A request of that domain, which is leased now, fails and will not be tried again."""
    [lease] = worker.lease(1)
    assert lease.domain == domain
    worker.settle(ended(lease, verdict=FAILED), settle(lease, "empty"))


def open_circuit(shard: Shard, worker: Worker) -> None:
    for _ in range(shard.limits.failures_to_open):
        fail(shard, worker)
    assert shard.domain()["q"] == "open"


def give_up(shard: Shard, worker: Worker) -> None:
    """The circuit opens once more for as often as a crawl bears it."""
    open_circuit(shard, worker)
    for _ in range(shard.limits.openings_to_give_up - 1):
        shard.advance(shard.limits.longest_cool_down)
        fail(shard, worker)


def test_a_request_that_did_not_reach_its_domain_frees_its_slot_and_tells_nothing(broken: Shard) -> None:
    worker = broken.worker()
    worker.enqueue(*pages(*range(10)))
    open_circuit(broken, worker)
    broken.advance(broken.limits.longest_cool_down)
    [lease] = worker.lease(1)
    before = broken.domain()
    assert (before["q"], before["f"]) == ("half", "1")
    worker.settle(ended(lease, verdict=UNASKED), settle(lease, "empty"))
    after = broken.domain()
    assert after["f"] == "0"
    assert all(after.get(field) == before.get(field) for field in ("q", "e", "n", "v", "l", "m", "x"))
    fail(broken, worker)
    assert broken.domain()["q"] == "open"


def test_failures_slow_a_domain_down_and_successes_bring_it_back(new_shard: Callable[..., Shard]) -> None:
    shard = new_shard(delay=100, failures_to_open=1000, concurrency=1)
    worker = shard.worker()
    worker.enqueue(*pages(*range(100)))

    def next_delay(verdict: int) -> int:
        [lease] = worker.lease(1, look=100_000)
        shard.advance(max(0, lease.start - shard.now))
        worker.settle(began(lease), ended(lease, verdict=verdict), settle(lease))
        return lease.delay

    assert [next_delay(FAILED) for _ in range(3)] == [100, 150, 225]
    assert next_delay(THROTTLED) == 337
    assert next_delay(GOOD) == 675
    assert max(next_delay(THROTTLED) for _ in range(8)) == 1600
    recovering = [next_delay(GOOD) for _ in range(40)]
    assert recovering == sorted(recovering, reverse=True)
    assert recovering[-1] == 100
    assert "x" not in shard.domain()


def test_a_domain_that_answers_ever_more_slowly_is_asked_less(shard: Shard, worker: Worker) -> None:
    worker.enqueue(*pages(*range(100)))

    def at_once(latency: int) -> int:
        leases = worker.lease()
        worker.settle(*(ended(lease, latency) for lease in leases), *map(settle, leases))
        return len(leases)

    assert [at_once(100) for _ in range(4)] == [4, 4, 4, 4]
    at_once(5000)
    assert at_once(5000) < 4
    slowest = [at_once(5000) for _ in range(4)][-1]
    assert slowest == 1
    assert [at_once(100) for _ in range(20)][-1] == 4


def test_failures_in_a_row_open_the_circuit(broken: Shard) -> None:
    worker = broken.worker()
    worker.enqueue(*pages(*range(20)))
    fail(broken, worker)
    fail(broken, worker)
    [good] = worker.lease(1)
    worker.settle(ended(good), settle(good))
    fail(broken, worker)
    fail(broken, worker)
    assert "q" not in broken.domain()
    fail(broken, worker)
    assert broken.domain()["q"] == "open"
    broken.advance(999)
    assert worker.lease() == []
    assert broken.worker("another").enqueue(*pages(1)) == (1, 0, 0)


def test_an_open_circuit_stops_every_crawl(broken: Shard) -> None:
    worker, other = broken.worker(), broken.worker("another")
    worker.enqueue(*pages(*range(20)))
    other.enqueue(*pages(1))
    open_circuit(broken, worker)
    assert other.ask().due == 1000
    assert other.lease() == []


def test_a_circuit_that_cooled_down_lets_one_request_through(broken: Shard) -> None:
    broken.set_domain(c=100)
    worker, other = broken.worker(), broken.worker("another")
    worker.enqueue(*pages(*range(20)))
    other.enqueue(*pages(1, 2))
    open_circuit(broken, worker)
    broken.advance(1000)
    [probe] = worker.lease()
    assert worker.lease() == other.lease() == []
    worker.settle(ended(probe), settle(probe))
    assert "q" not in broken.domain()
    assert worker.crawl.ready == other.crawl.ready == {"shop.example": broken.now}
    worker.settle(*map(release, worker.lease()))
    assert len(other.lease()) == 2


def test_a_probe_that_fails_opens_it_for_twice_as_long_up_to_a_limit(new_shard: Callable[..., Shard]) -> None:
    shard = new_shard(failures_to_open=3, cool_down=1000, longest_cool_down=3000, openings_to_give_up=100)
    worker = shard.worker()
    worker.enqueue(*pages(*range(20)))
    open_circuit(shard, worker)
    for cool_down in (1000, 2000, 3000, 3000):
        shard.advance(cool_down - 1)
        assert worker.lease() == []
        shard.advance(1)
        fail(shard, worker)


def test_a_probe_that_comes_back_unfetched_is_followed_by_another(broken: Shard) -> None:
    worker = broken.worker()
    worker.enqueue(*pages(*range(20)))
    open_circuit(broken, worker)
    broken.advance(1000)
    [probe] = worker.lease()
    worker.settle(release(probe))
    assert len(worker.lease()) == 1


def test_a_late_success_of_an_earlier_request_closes_the_circuit_for_all_at_once(broken: Shard) -> None:
    broken.set_domain(c=100)
    worker, other = broken.worker(), broken.worker("another")
    worker.enqueue(*pages(*range(20)))
    other.enqueue(*pages(1))
    [early] = worker.lease(1)
    open_circuit(broken, worker)
    assert worker.lease() == other.lease() == []
    worker.settle(ended(early), settle(early))
    assert len(worker.lease(1)) == 1
    assert len(other.lease(1)) == 1


def test_a_crawl_gives_a_domain_up_and_its_requests_are_dead(broken: Shard) -> None:
    worker = broken.worker()
    worker.enqueue(*pages(*range(20)))
    give_up(broken, worker)
    worker.enqueue(*pages(99, domain="other.example"))
    assert numbers(worker.lease()) == [99]
    assert worker.crawl.counts["dead:domain down"] == 15
    assert set(map(tuple, worker.crawl.dead.values())) == {("domain down",)}
    assert worker.crawl.counts.get("pending") is None


def test_a_long_queue_of_a_domain_given_up_is_taken_off_in_parts(broken: Shard) -> None:
    worker = broken.worker()
    worker.enqueue(*pages(*range(305)))
    give_up(broken, worker)
    dead = []
    while worker.ask().open:
        dead.append(worker.crawl.counts["dead"])
    assert dead == [100, 200]
    assert worker.crawl.counts["dead"] == 300


def test_another_crawl_waits_for_a_domain_that_one_gave_up(broken: Shard) -> None:
    worker, patient = broken.worker(), broken.worker("patient")
    worker.enqueue(*pages(*range(20)))
    patient.enqueue(*pages(1))
    give_up(broken, worker)
    assert patient.lease() == []
    assert patient.crawl.counts == {"discovered": 1, "pending": 1}
    broken.advance(broken.limits.longest_cool_down)
    assert len(patient.lease()) == 1
    assert patient.crawl.dead == {}


def test_a_domain_that_is_well_again_is_not_given_up_at_its_next_failure(broken: Shard) -> None:
    worker, patient = broken.worker(), broken.worker("patient")
    worker.enqueue(*pages(*range(20)))
    patient.enqueue(*pages(1))
    give_up(broken, worker)
    worker.lease()
    broken.advance(broken.limits.longest_cool_down)
    [probe] = patient.lease()
    patient.settle(ended(probe), settle(probe))

    worker.enqueue(*pages(*range(20, 40)))
    open_circuit(broken, worker)
    assert worker.lease() == []
    assert worker.crawl.counts["pending"] == 17


def test_a_revived_request_has_its_domain_tried_again(broken: Shard) -> None:
    worker = broken.worker()
    worker.enqueue(*pages(*range(20)))
    give_up(broken, worker)
    worker.lease()
    assert worker.crawl.revive(page(19).id) == 1
    assert worker.lease() == []
    broken.advance(broken.limits.longest_cool_down)
    assert numbers(worker.lease()) == [19]
