"""Workers that die, and those that only seemed to."""

from __future__ import annotations

from tests.frontier_shard import LIVES, MOST_LOSSES, Shard, Worker, ended, numbers, pages, release, retry, settle


def test_a_dead_workers_leases_return_and_its_places_are_free(shard: Shard, worker: Worker) -> None:
    other = shard.worker("another")
    other.enqueue(*pages(1, 2, 3, 4, 5, 6))
    worker.enqueue(*pages(7))
    leases = other.lease()
    other.settle(ended(leases[0]))
    assert worker.lease() != []
    assert shard.domain()["f"] == "4"
    assert shard.lose(other) == (1, 4)
    assert shard.domain()["f"] == "1"
    assert other.crawl.counts["pending"] == 6
    assert other.crawl.counts["lost"] == 4
    again = shard.worker("another").lease()
    assert numbers(again) == [1, 2, 3]
    assert [lease.attempts for lease in again] == [0, 0, 0]


def test_a_worker_lives_on_its_heartbeat(shard: Shard, worker: Worker) -> None:
    other = shard.worker()
    worker.enqueue(*pages(1))
    worker.lease()
    for _ in range(10):
        shard.advance(LIVES // 3)
        assert (worker.renew(), other.renew()) == (1, 0)
        assert shard.reap() == (0, 0)


def test_after_a_silence_nobody_is_taken_for_dead_at_once(shard: Shard, worker: Worker) -> None:
    silent = shard.worker()
    silent.enqueue(*pages(1))
    silent.lease()
    shard.reap()
    shard.advance(10 * LIVES)
    assert shard.reap() == (0, 0)
    assert worker.renew() == 0
    shard.advance(5001)
    assert shard.reap() == (1, 1)
    assert (silent.renew(), worker.renew()) == (-1, 0)


def test_a_request_that_is_lost_with_its_worker_again_and_again_is_dead(shard: Shard, worker: Worker) -> None:
    worker.enqueue(*pages(1))
    for _ in range(MOST_LOSSES):
        victim = shard.worker()
        assert len(victim.lease()) == 1
        shard.lose(victim)
    assert worker.lease() == []
    assert worker.crawl.dead == {b"page 1": ["worker lost"] * MOST_LOSSES}
    assert worker.crawl.counts["dead:worker lost"] == 1


def test_a_worker_that_leaves_gives_back_what_it_holds_and_is_gone(shard: Shard, worker: Worker) -> None:
    leaving = shard.worker()
    worker.enqueue(*pages(1))
    leaving.lease()
    assert shard.reap(leaving) == (1, 1)
    assert leaving.renew() == -1
    assert len(worker.lease()) == 1


def test_a_worker_that_was_taken_for_dead_leases_nothing_until_it_registers(shard: Shard, worker: Worker) -> None:
    worker.enqueue(*pages(1))
    shard.lose(worker)
    assert worker.renew() == -1
    assert worker.ask()[:2] == ("running", 1)
    assert worker.lease() == []
    worker.register()
    assert len(worker.lease()) == 1


def test_what_a_dead_worker_leaves_expires(shard: Shard, worker: Worker) -> None:
    worker.enqueue(*pages(1))
    shard.lose(worker)
    name = f"{shard.root}:worker:{worker.name}"
    assert shard.client.ttl(name) > 0
    worker.register()
    assert shard.client.ttl(name) == -1


def test_leases_whose_answer_was_lost_return(shard: Shard, worker: Worker) -> None:
    worker.enqueue(*pages(1, 2, 3))
    known = worker.lease(1)
    worker.lease(2)
    assert worker.reconcile(*known) == []
    assert worker.renew() == 1
    assert shard.domain()["f"] == "1"
    assert numbers(shard.worker().lease()) == [2, 3]
    assert worker.settle(settle(known[0])) == (0, [])


def test_a_lost_lease_whose_download_had_ended_frees_no_second_place(shard: Shard, worker: Worker) -> None:
    worker.enqueue(*pages(1, 2))
    known, forgotten = worker.lease()
    worker.settle(ended(forgotten))
    worker.reconcile(known)
    assert shard.domain()["f"] == "1"


def test_leases_that_are_no_longer_its_own_are_named(shard: Shard, worker: Worker) -> None:
    worker.enqueue(*pages(1, 2))
    lost, settled = worker.lease()
    worker.settle(settle(settled))
    shard.lose(worker)
    [taken] = shard.worker().lease()
    worker.register()
    assert worker.reconcile(lost, settled) == [lost.id, settled.id]
    assert taken.id == lost.id
    assert shard.check().crawls["spider:crawl"].leased != {}


def test_unknown_leases_of_a_domain_with_a_delay_hand_it_on(slow: Shard) -> None:
    worker, other = slow.worker(), slow.worker()
    worker.enqueue(*pages(*range(10)))
    worker.lease(3)
    worker.reconcile()
    assert [lease.start for lease in other.lease(1)] == [slow.now]


def test_dead_requests_are_revived_with_all_their_attempts_before_them(shard: Shard, worker: Worker) -> None:
    worker.enqueue(*pages(1))
    worker.settle(*map(retry, worker.lease()))
    worker.enqueue(*pages(2, 3))
    first, second, third = worker.lease()
    assert first.attempts == 1
    worker.settle(settle(first, "dead", "bad item"), settle(second, "dead", "http 404"), release(third))
    assert worker.crawl.revive(first.id, b"no such.", third.id) == 1
    assert worker.crawl.counts == {"discovered": 3, "retried": 1, "pending": 2, "dead": 1, "dead:http 404": 1}
    again = worker.lease()
    assert numbers(again) == [1, 3]
    assert again[0].attempts == 0
    assert worker.settle(retry(again[0])) == (0, [])
