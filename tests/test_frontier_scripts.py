"""The frontier's Lua scripts in a real Redis: what is taken, leased and settled, how politely, and what is left of it.

Time is the test's: the scripts read a clock that stands still until it is moved. After every test everything adds up.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import pytest
from redis import Redis
from redis.exceptions import ResponseError

from tests.frontier_shard import (
    LIVES,
    MOST_ATTEMPTS,
    MOST_LOSSES,
    START,
    Leased,
    Limits,
    Shard,
    Worker,
    began,
    crawl_delay,
    decimal,
    ended,
    page,
    pages,
    release,
    retry,
    settle,
    unfiltered,
)
from tests.servers.redis import RedisServer, binaries

BINARIES = binaries()
GOOD, FAILED, THROTTLED = 0, 1, 2


@pytest.fixture(scope="module", params=BINARIES)
def client(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    """Of a server of each version that is here."""
    with RedisServer(tmp_path_factory.mktemp("redis"), BINARIES[request.param]) as server, server.client() as client:
        yield client


@pytest.fixture
def new_shard(client: Redis) -> Iterator[Callable[..., Shard]]:
    """Makes shards with the given limits; at the end, everything in them must fit together."""
    shards: list[Shard] = []

    def make(*, test_clock: bool = True, **limits: int) -> Shard:
        shards.append(Shard(client, Limits(**limits), test_clock=test_clock))
        return shards[-1]

    yield make
    for shard in shards:
        shard.check()
        shard.forget()


@pytest.fixture
def shard(new_shard: Callable[..., Shard]) -> Shard:
    return new_shard()


@pytest.fixture
def worker(shard: Shard) -> Worker:
    return shard.worker()


@contextlib.contextmanager
def full(client: Redis) -> Iterator[None]:
    """Redis at maxmemory."""
    client.config_set("maxmemory", 1)
    try:
        yield
    finally:
        client.config_set("maxmemory", 0)


def numbers(leases: list[Leased]) -> list[int]:
    """Those of the pages."""
    return [int(lease.data.split()[1]) for lease in leases]


def gaps(leases: list[Leased]) -> list[int]:
    starts = sorted(lease.start for lease in leases)
    return [after - before for before, after in pairwise(starts)]


def fail(shard: Shard, worker: Worker, domain: str = "shop.example") -> None:
    """A request of that domain, which is leased now, fails and will not be tried again."""
    [lease] = worker.lease(1)
    assert lease.domain == domain
    worker.settle(ended(lease, verdict=FAILED), settle(lease, "empty"))


# --- What is taken


def test_a_page_is_taken_once_in_a_crawl(shard: Shard, worker: Worker) -> None:
    assert worker.enqueue(*pages(1, 2, 1)) == (2, 1, 0)
    assert worker.enqueue(*pages(2, 3)) == (1, 1, 0)
    assert shard.worker().enqueue(*pages(1)) == (0, 1, 0)
    assert worker.crawl.counts == {"discovered": 3, "pending": 3, "duplicates": 3}
    assert sorted(numbers(worker.lease())) == [1, 2, 3]


def test_another_crawl_takes_it_again(shard: Shard, worker: Worker) -> None:
    worker.enqueue(*pages(1))
    assert shard.worker("another").enqueue(*pages(1)) == (1, 0, 0)


def test_a_page_that_was_settled_is_not_taken_again(worker: Worker) -> None:
    worker.enqueue(*pages(1))
    worker.settle(*map(settle, worker.lease()))
    assert worker.enqueue(*pages(1)) == (0, 1, 0)


def test_a_request_that_is_not_to_be_filtered_is_taken_every_time(shard: Shard, worker: Worker) -> None:
    first, second = unfiltered(1), unfiltered(1)
    assert worker.enqueue(page(1), first, second) == (3, 0, 0)
    assert worker.enqueue(second) == (0, 1, 0)
    assert shard.client.hget(f"{worker.crawl.root}:copies", page(1).id) == second.id
    assert numbers(worker.lease()) == [1, 1, 1]


def test_seeds_are_counted_apart_and_what_never_became_a_request_with_its_reason(worker: Worker) -> None:
    worker.enqueue(*pages(1, 2, 1, seed=1), *pages(3), duplicates=5, refused={"offsite": 2, "depth": 1})
    counts = worker.crawl.counts
    assert (counts["seeded"], counts["discovered"], counts["duplicates"]) == (2, 4, 6)
    assert (counts["filtered"], counts["filtered:offsite"], counts["filtered:depth"]) == (3, 2, 1)


def test_a_resent_batch_is_answered_as_before_and_changes_nothing(shard: Shard, worker: Worker) -> None:
    requests = [page(1), unfiltered(2), page(1)]
    reply = worker.enqueue(*requests, duplicates=1, refused={"offsite": 1})
    shard.worker().enqueue(*pages(7, 8))
    before = shard.dump()
    assert worker.enqueue_again(*requests, duplicates=1, refused={"offsite": 1}) == reply == (2, 2, 0)
    assert shard.dump() == before


def test_a_resent_batch_is_known_even_when_its_worker_was_taken_for_dead(shard: Shard, worker: Worker) -> None:
    copy = unfiltered(1)
    reply = worker.enqueue(copy, refused={"offsite": 1})
    shard.lose(worker)
    worker.register()
    [lease] = worker.lease()
    assert worker.enqueue_again(copy, refused={"offsite": 1}) == reply == (1, 0, 0)
    worker.settle(settle(lease))
    assert worker.crawl.counts == {"discovered": 2, "filtered": 1, "filtered:offsite": 1, "delivered": 1}


BAD_REQUESTS = {
    "not a request": 7,
    "short id": page(2)._replace(id=b"1234567"),
    "no id": page(2)._replace(id=None),  # type: ignore[arg-type]
    "fingerprint that is no number": page(2)._replace(fingerprint="12ab"),
    "number for a fingerprint": page(2)._replace(fingerprint=12),  # type: ignore[arg-type]
    "no domain": page(2)._replace(domain=None),  # type: ignore[arg-type]
    "priority in words": page(2)._replace(priority="high"),  # type: ignore[arg-type]
    "priority that is no number": page(2)._replace(priority=float("nan")),  # type: ignore[arg-type]
    "no bytes": page(2)._replace(data=None),  # type: ignore[arg-type]
    "no group": page(2)._replace(group=None, limit=1),  # type: ignore[arg-type]
    "limit in words": page(2)._replace(limit="many"),  # type: ignore[arg-type]
    "copy of nothing": unfiltered(2)._replace(original=None),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("bad", BAD_REQUESTS.values(), ids=BAD_REQUESTS)
def test_a_bad_request_is_refused_by_its_place_before_anything_is_written(
    shard: Shard, worker: Worker, bad: Any
) -> None:
    worker.enqueue(*pages(1))
    before = shard.dump()
    with pytest.raises(ResponseError, match=r"^POISON 3$"):
        worker.enqueue(page(5), unfiltered(6), bad, page(7))
    assert shard.dump() == before
    assert worker.enqueue_again(page(5), page(7)) == (2, 0, 0)


def test_a_group_takes_no_more_than_its_limit(shard: Shard, worker: Worker) -> None:
    shard.set_domain(c=100)
    assert worker.enqueue(*pages(1, 2, 3, group="shop", limit=2), *pages(4, group="other", limit=2)) == (3, 0, 1)
    assert worker.enqueue(*pages(5, 6, group="other", limit=2), *pages(7)) == (2, 0, 1)
    counts = worker.crawl.counts
    assert (counts["discovered"], counts["filtered:page limit"]) == (7, 2)
    assert sorted(numbers(worker.lease())) == [1, 2, 4, 5, 7]


def test_a_limit_that_is_raised_takes_more(worker: Worker) -> None:
    worker.enqueue(*pages(1, 2, 3, group="shop", limit=1))
    assert worker.enqueue(*pages(4, 5, group="shop", limit=2)) == (1, 0, 1)


def test_a_crawl_takes_no_more_than_its_limit_and_what_it_refuses_takes_none_of_its_groups_places(
    worker: Worker,
) -> None:
    assert worker.enqueue(*pages(1, 2, 3, group="shop", limit=3), crawl_limit=2) == (2, 0, 1)
    assert worker.enqueue(*pages(4, group="shop", limit=3), crawl_limit=3) == (1, 0, 0)


def test_a_duplicate_takes_none_of_its_groups_places(worker: Worker) -> None:
    worker.enqueue(*pages(1, 1, 1, group="shop", limit=2))
    assert worker.enqueue(*pages(2, group="shop", limit=2)) == (1, 0, 0)


@pytest.mark.parametrize("state", ["complete", None])
def test_a_crawl_that_is_over_or_unknown_takes_nothing(shard: Shard, worker: Worker, state: str | None) -> None:
    if state:
        worker.crawl.set(state=state)
    else:
        shard.client.delete(f"{worker.crawl.root}:meta")
    before = shard.dump()
    assert worker.enqueue(*pages(1)) == b"gone"
    assert shard.dump() == before


# --- The fingerprints


def fingerprints(number: int, low_bits: int = 0) -> set[bytes]:
    """As many, half of them negative; `low_bits` of them are the same everywhere."""
    mask = (1 << low_bits) - 1
    numbers = (int.from_bytes(hashlib.blake2b(b"%d" % n, digest_size=8).digest(), "big") for n in range(number))
    return {(n & ~mask | 0x5A5A5A & mask).to_bytes(8, "big") for n in numbers}


def enqueue_all(worker: Worker, ids: set[bytes]) -> tuple[int, int]:
    """(added, duplicates) of a page with each of those fingerprints."""
    added = duplicates = 0
    requests = [page(0)._replace(id=id_, fingerprint=decimal(id_), data=b"") for id_ in sorted(ids)]
    for first in range(0, len(requests), 2000):
        reply = worker.enqueue(*requests[first : first + 2000])
        added, duplicates = added + reply[0], duplicates + reply[1]
    return added, duplicates


def seen(worker: Worker) -> dict[bytes, set[bytes]]:
    """The buckets of fingerprints."""
    client = worker.shard.client
    names = list(client.scan_iter(f"{worker.crawl.root}:seen:*", 1000))
    with client.pipeline(transaction=False) as pipeline:
        for name in names:
            pipeline.smembers(name)
        return dict(zip(names, pipeline.execute(), strict=True))


def encodings(client: Redis, names: list[bytes]) -> set[bytes]:
    with client.pipeline(transaction=False) as pipeline:
        for name in names:
            pipeline.object("encoding", name)
        return set(pipeline.execute())


def test_fingerprints_cost_ten_bytes_each_and_none_is_lost_or_invented(worker: Worker) -> None:
    client, ids = worker.shard.client, fingerprints(100_000)
    assert enqueue_all(worker, ids) == (len(ids), 0)
    client.delete(f"{worker.crawl.root}:queue:shop.example")

    buckets = seen(worker)
    assert encodings(client, list(buckets)) == {b"intset"}
    members = [member for bucket in buckets.values() for member in bucket]
    assert len(members) == len(ids)
    assert set(members) == {decimal(id_).encode() for id_ in ids}
    with client.pipeline(transaction=False) as pipeline:
        for name in (*buckets, f"{worker.crawl.root}:split".encode()):
            pipeline.memory_usage(name)
        assert sum(pipeline.execute()) / len(ids) <= 10

    assert enqueue_all(worker, ids) == (0, len(ids))
    worker.shard.forget()


@pytest.mark.parametrize("low_bits", [12, 22])
def test_fingerprints_that_agree_in_their_low_bits_are_split_all_the_same(worker: Worker, low_bits: int) -> None:
    ids = fingerprints(1500, low_bits)
    assert enqueue_all(worker, ids) == (len(ids), 0)
    buckets = seen(worker)
    assert encodings(worker.shard.client, list(buckets)) == {b"intset"}
    assert set().union(*buckets.values()) == {decimal(id_).encode() for id_ in ids}
    assert enqueue_all(worker, ids) == (0, len(ids))


def test_fingerprints_that_no_split_can_part_are_still_known(worker: Worker) -> None:
    ids = fingerprints(1500, 32)
    assert enqueue_all(worker, ids) == (len(ids), 0)
    assert enqueue_all(worker, ids) == (0, len(ids))


# --- What is leased


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


# --- What is settled


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


@pytest.mark.parametrize("end", [settle, retry, release])
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


# --- Delays


@pytest.fixture
def slow(new_shard: Callable[..., Shard]) -> Shard:
    """A shard whose domains have a delay of 100 ms and places for eight."""
    return new_shard(delay=100, concurrency=8)


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


# --- How a domain fares


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


@pytest.fixture
def broken(new_shard: Callable[..., Shard]) -> Shard:
    """A shard whose circuits open after three failures for 1, 2, 3, 3 … seconds; a crawl gives up at the third time."""
    return new_shard(failures_to_open=3, cool_down=1000, longest_cool_down=3000, openings_to_give_up=3)


def open_circuit(shard: Shard, worker: Worker) -> None:
    for _ in range(shard.limits.failures_to_open):
        fail(shard, worker)
    assert shard.domain()["q"] == "open"


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


def give_up(shard: Shard, worker: Worker) -> None:
    """The circuit opens once more for as often as a crawl bears it."""
    open_circuit(shard, worker)
    for _ in range(shard.limits.openings_to_give_up - 1):
        shard.advance(shard.limits.longest_cool_down)
        fail(shard, worker)


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


# --- Workers that die, and those that only seemed to


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


def test_a_revived_request_has_its_domain_tried_again(broken: Shard) -> None:
    worker = broken.worker()
    worker.enqueue(*pages(*range(20)))
    give_up(broken, worker)
    worker.lease()
    assert worker.crawl.revive(page(19).id) == 1
    assert worker.lease() == []
    broken.advance(broken.limits.longest_cool_down)
    assert numbers(worker.lease()) == [19]


# --- States of a crawl, and of Redis


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
