"""What is taken into a crawl, and how it is known."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from redis import Redis
from redis.exceptions import ResponseError

from tests.frontier_shard import Shard, Worker, decimal, numbers, page, pages, settle, unfiltered


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
