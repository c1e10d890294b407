"""The outbox of dead letters, and the one way in which a dead request leaves: the scripts in a real Redis."""

from __future__ import annotations

from typing import Any

import msgpack
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crawlers.frontier.request_json import from_json, to_json
from tests.frontier_shard import MOST_LOSSES, Crawl, Shard, Worker, page, pages, retry, settle
from tests.servers.redis import RedisServer


@pytest.fixture
def shard(redis_server: RedisServer) -> Shard:
    return Shard(redis_server.client())


@pytest.fixture
def worker(shard: Shard) -> Worker:
    """Of a crawl whose dead letters somebody writes."""
    worker = shard.worker()
    worker.crawl.letters("expect")
    return worker


def claimed(crawl: Crawl, most: int = 10, milliseconds: int = 1000) -> list[bytes]:
    return [row[2] for row in crawl.letters("claim", most, milliseconds)]


def waiting(crawl: Crawl) -> int:
    return crawl.totals()[6]


def test_a_request_that_is_lost_with_its_workers_waits_for_its_letter(shard: Shard, worker: Worker) -> None:
    worker.enqueue(*pages(1))
    for _ in range(MOST_LOSSES):
        lost = shard.worker()
        lost.lease()
        shard.lose(lost)
    assert waiting(worker.crawl) == 1
    [[id_, domain, request, moment, reasons, death]] = worker.crawl.letters("claim", 10, 1000)
    assert (id_, domain, request) == (page(1).id, b"shop.example", b"page 1")
    assert (moment, reasons, death) == (shard.now, [b"worker lost"] * MOST_LOSSES, 1)


def test_a_letter_that_is_claimed_and_not_written_is_claimed_again(shard: Shard, worker: Worker) -> None:
    worker.enqueue(*pages(1, 2))
    worker.settle(*(settle(lease, "dead", "corrupt request") for lease in worker.lease()))
    assert claimed(worker.crawl, most=1) == [b"page 1"]
    assert claimed(worker.crawl) == [b"page 2"]
    assert claimed(worker.crawl) == []
    worker.crawl.letters("written", page(2).id, 1)
    shard.advance(1000)
    assert claimed(worker.crawl) == [b"page 1"]
    worker.crawl.letters("written", page(1).id, 1, page(1).id, 1)
    assert waiting(worker.crawl) == 0


def test_what_kafka_has_a_letter_of_does_not_wait(worker: Worker) -> None:
    worker.enqueue(*pages(1, 2))
    first, second = worker.lease()
    worker.settle(settle(first, "dead", "http 404", letters=1), settle(second, "dead", "refused by Redis"))
    assert claimed(worker.crawl) == [b"page 2"]


def test_without_anybody_who_writes_letters_none_waits(shard: Shard) -> None:
    worker = shard.worker()
    worker.enqueue(*pages(1))
    worker.settle(settle(worker.lease()[0], "dead", "http 404"))
    assert waiting(worker.crawl) == 0


def test_where_redis_forgot_that_letters_are_expected_those_of_the_time_between_are_found(
    shard: Shard, worker: Worker
) -> None:
    worker.enqueue(*pages(1, 2))
    first, second = worker.lease()
    shard.client.hdel(f"{worker.crawl.root}:meta", "letters")
    worker.settle(settle(first, "dead", "corrupt request"), settle(second, "dead", "http 404", letters=1))
    assert claimed(worker.crawl) == [b"page 1"]
    worker.crawl.letters("written", page(1).id, 1)
    shard.advance(1000)
    assert claimed(worker.crawl) == []


def test_a_request_that_is_sent_back_needs_no_letter_and_one_that_dies_again_has_another(worker: Worker) -> None:
    worker.enqueue(*pages(1))
    worker.settle(settle(worker.lease()[0], "dead", "corrupt request"))
    worker.crawl.letters("claim", 10, 1000)
    assert worker.crawl.revive(page(1).id) == 1
    assert waiting(worker.crawl) == 0
    [lease] = worker.lease()
    assert (lease.revived, lease.attempts) == (1, 0)
    worker.settle(settle(lease, "dead", "corrupt request"))
    worker.crawl.letters("written", page(1).id, 1)
    [row] = worker.crawl.letters("claim", 10, 1000)
    assert row[5] == 2, "the letter of the first death says nothing of the second"


def test_of_two_who_send_a_request_back_one_is_told_that_it_came_second(worker: Worker) -> None:
    worker.enqueue(*pages(1))
    worker.settle(settle(worker.lease()[0], "dead", "http 404"))
    dead = (page(1).id, 1, "")
    assert worker.crawl.leave("queue", dead) == ["done"]
    assert worker.crawl.leave("queue", dead) == ["back"]
    worker.settle(settle(worker.lease()[0], "dead", "http 404"))
    assert worker.crawl.leave("queue", dead) == ["later"]
    assert worker.crawl.leave("queue", (page(1).id, 2, "")) == ["done"]


def test_a_death_whose_letter_is_written_first_is_told_as_alive_until_it_is_settled(
    shard: Shard, worker: Worker
) -> None:
    worker.enqueue(*pages(1, 2))
    first, second = worker.lease()
    deaths = (page(1).id, 1, "one"), (page(2).id, 1, "two")
    for action in ("queue", "take", "delivered"):
        assert worker.crawl.leave(action, *deaths) == ["alive", "alive"]
    worker.settle(settle(first, "dead", "http 404", letters=1), settle(second))
    assert worker.crawl.leave("queue", *deaths) == ["done", "back"], "it came to another end"
    assert worker.crawl.leave("queue", deaths[0], (page(1).id, 2, "one")) == ["back", "alive"]
    shard.advance(1000 * shard.limits.seconds_kept * 3)
    assert worker.crawl.leave("queue", deaths[1]) == ["alive"], "nobody knows its end any more"
    worker.settle(settle(worker.lease()[0]))
    worker.crawl.set(state="complete")
    assert worker.crawl.leave("queue", deaths[1]) == ["back"]
    shard.check()


def test_of_a_crawl_that_is_gone_nothing_can_be_sent_back(shard: Shard) -> None:
    assert Crawl(shard, "gone", shard.keys.crawl(0, "gone")).leave("queue", (page(1).id, 1, "")) == ["gone"]


def test_while_its_items_are_replayed_nobody_sends_a_request_back(shard: Shard, worker: Worker) -> None:
    worker.enqueue(*pages(1))
    worker.settle(settle(worker.lease()[0], "dead", "item", letters=1))
    dead = (page(1).id, 1, "letter")
    assert worker.crawl.leave("take", dead, milliseconds=1000) == ["done"]
    assert worker.crawl.leave("queue", dead) == ["taken"]
    assert worker.crawl.leave("take", dead, milliseconds=1000) == ["done"], "the replay that goes on"
    assert worker.crawl.leave("free", dead) == ["done"]
    assert worker.crawl.leave("queue", dead) == ["done"]


def test_a_replay_lets_go_of_what_is_its_own_only(shard: Shard, worker: Worker) -> None:
    worker.enqueue(*pages(1))
    worker.settle(settle(worker.lease()[0], "dead", "item", letters=2))
    dead, other = (page(1).id, 1, "letter"), (page(1).id, 1, "other")
    assert worker.crawl.leave("take", dead, milliseconds=1000, replay="first") == ["done"]
    assert worker.crawl.leave("take", dead, milliseconds=1000, replay="second") == ["done"]
    assert worker.crawl.leave("keep", dead, milliseconds=1000, replay="first") == ["taken"]
    assert worker.crawl.leave("free", dead, replay="first") == ["taken"]
    assert worker.crawl.leave("delivered", other, replay="first") == ["done"]
    assert worker.crawl.leave("queue", dead) == ["taken"]
    assert worker.crawl.leave("keep", dead, milliseconds=5000, replay="second") == ["done"]
    shard.advance(4999)
    assert worker.crawl.leave("queue", dead) == ["taken"]
    assert worker.crawl.leave("free", dead, replay="second") == ["done"]
    assert worker.crawl.leave("queue", dead) == ["done"]


def test_a_replay_that_never_ends_keeps_a_request_for_a_while_only(shard: Shard, worker: Worker) -> None:
    worker.enqueue(*pages(1))
    worker.settle(settle(worker.lease()[0], "dead", "item", letters=1))
    dead = (page(1).id, 1, "letter")
    worker.crawl.leave("take", dead, milliseconds=1000)
    shard.advance(1000)
    assert worker.crawl.leave("queue", dead) == ["done"]


def test_a_request_is_delivered_with_the_last_of_its_items(shard: Shard, worker: Worker) -> None:
    worker.enqueue(*pages(1))
    worker.settle(settle(worker.lease()[0], "dead", "item", letters=2))
    one, two = (page(1).id, 1, "one"), (page(1).id, 1, "two")
    assert worker.crawl.leave("delivered", one, one) == ["done", "done"]
    assert worker.crawl.counts == {"discovered": 1, "dead": 1, "dead:item": 1}
    assert worker.crawl.leave("delivered", two) == ["done"]
    assert worker.crawl.counts == {"discovered": 1, "delivered": 1}
    assert (worker.crawl.outcome(page(1).id) or "").startswith("D")
    assert worker.crawl.leave("delivered", two) == ["back"]
    shard.check()


def test_a_request_that_died_of_something_else_is_not_delivered_by_its_items(worker: Worker) -> None:
    worker.enqueue(*pages(1))
    worker.settle(settle(worker.lease()[0], "dead", "KeyError", letters=1))
    assert worker.crawl.leave("delivered", (page(1).id, 1, "letter")) == ["other"]
    assert worker.crawl.leave("take", (page(1).id, 1, "letter"), milliseconds=1000) == ["other"]


def test_a_request_that_was_sent_back_in_a_crawl_that_is_gone_brings_its_number_along(worker: Worker) -> None:
    worker.enqueue(page(1, revived=2), page(2))
    assert [lease.revived for lease in worker.lease()] == [2, 0]


def test_the_last_attempt_of_a_retry_waits_for_its_letter(worker: Worker) -> None:
    worker.enqueue(*pages(1))
    for _ in range(3):
        worker.settle(retry(worker.lease()[0]))
    assert claimed(worker.crawl) == [b"page 1"]


# --- A stored request as JSON

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | texts | st.binary(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            texts | st.binary(max_size=4) | st.sampled_from(["base64", "pairs", "float"]), inner, max_size=3
        )
    ),
    max_leaves=8,
)
requests = st.fixed_dictionaries(
    {},
    optional={
        "method": texts,
        "meta": values.filter(lambda value: isinstance(value, dict)),
        "headers": st.dictionaries(st.binary(max_size=4), st.lists(st.binary(max_size=8), max_size=2), max_size=3),
        "body": st.binary(),
        "cb_kwargs": values,
        "dont_filter": st.just(True),
    },
)


@settings(max_examples=60, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck))
@given(requests)
def test_a_stored_request_is_the_same_after_its_way_through_json(fields: dict[str, Any]) -> None:
    data = msgpack.packb(["http://shop.example/", fields] if fields else ["http://shop.example/"])
    assert from_json(to_json(data)) == data


@pytest.mark.parametrize("data", [b"", b"page 1", b"\x91\x01", b"\xc1", b"\x92\xa1u\x01"])
def test_what_is_no_stored_request_has_no_json(data: bytes) -> None:
    with pytest.raises(ValueError, match="not a stored request"):
        to_json(data)
