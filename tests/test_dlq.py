"""`scrapy dlq` as an operator uses it: letters are listed, counted, and given another chance, once."""

from __future__ import annotations

import asyncio
import json
import secrets
import threading
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from confluent_kafka import Producer as Client
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType
from scrapy.settings import Settings
from scrapy.utils.project import get_project_settings

from crawlers.dead_letters.transaction import Doubtful, Fenced, Transactions
from crawlers.exceptions import InvalidItem, SeineError, StartupError
from crawlers.failed_request import DOWNLOAD, FailedRequest
from crawlers.items import Product
from crawlers.sink_load import SinkLoad
from pipelines.dead_letter import DeadLetters
from pipelines.delivery import Delivery
from pipelines.producer import Producer, Record, producer_config
from pipelines.topics import ensure_topics
from tests.fleet import links
from tests.frontier_console import OF_KAFKA, Console, Scene, request_for
from tests.frontier_shard import settle
from tests.letters import PIPELINES, UNMASKED, Letters, product
from tests.servers.web import Page, WebServer
from tests.support import consume

MENDED = json.dumps({"tests.spiders.Mending": 50, **PIPELINES})
INVALID = {"offers": {"price": "5"}}


@pytest.fixture
def dlq(letters: Letters, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Console:
    monkeypatch.setenv("SCRAPY_SETTINGS_MODULE", "crawlers.settings")
    return Console(letters.seine.env, capsys, "dlq")


@pytest.fixture
def frontier(dlq: Console, letters: Letters, capsys: pytest.CaptureFixture[str]) -> Console:
    return Console(letters.seine.env, capsys)


def listed(dlq: Console, *args: str) -> list[dict[str, Any]]:
    """What `list --json` tells of each letter."""
    finished = dlq("list", "--json", *args)
    assert finished.code == 0, finished.err
    return [json.loads(line) for line in finished.out.splitlines()]


# --- What there is


def test_letters_are_listed_counted_and_shown(dlq: Console, letters: Letters, web: Callable[..., WebServer]) -> None:
    pages = {"/": links("/a", "/b", "/none"), "/a": product("a", **INVALID), "/b": product("b\x1b[31m", **INVALID)}
    server = web(pages)
    letters.crawl(server, FRONTIER_CRAWL_ID="monday")

    found = listed(dlq)
    assert Counter(one["stage"] for one in found) == {"validation": 2, "download": 1}
    assert [one["url"] for one in listed(dlq, "--stage", "download")] == [f"{server.url}/none"]
    assert [one["url"] for one in listed(dlq, "--error", "http 404", "--domain", server.domain, "--since", "1h")] == [
        f"{server.url}/none"
    ]
    assert listed(dlq, "--domain", "other.example") == listed(dlq, "--since", "2999-01-01") == []
    assert listed(dlq, "--limit", "1") == found[-1:]
    table = dlq("list").out
    assert all(one["id"][:12] in table for one in found)

    told = json.loads(dlq("stats", "--json").out)
    assert (told["letters"], told["replayed"], told["stages"]) == (3, 0, {"validation": 2, "download": 1})
    assert told["errors"] == {"InvalidItem": 2, "http 404": 1}
    assert "2 validation, 1 download" in dlq("stats").out

    [one] = [one for one in found if one["url"].endswith("/b")]
    shown = dlq("show", one["id"][:12]).out
    assert "currency: expected one with price" in shown
    assert "crawl" in shown
    assert "monday of product_spider" in shown
    assert "\x1b" not in shown, "a page must not steer the terminal"
    whole = json.loads(dlq("show", one["id"], "--json").out)
    assert whole["value"]["price"] == "5"


# --- Requests


def test_requests_go_back_to_their_crawl_and_are_fetched_again(
    dlq: Console, letters: Letters, web: Callable[..., WebServer]
) -> None:
    server = web(
        {"/": links("/late", "/never"), "/late": lambda earlier: product("late") if earlier else Page("", 404)}
    )
    letters.crawl(server, FRONTIER_CRAWL_ID="monday")

    assert "2 requests" in dlq("replay", "--dry-run").out
    assert letters.counts()["dead"] == 2, "a dry run changes nothing"
    once = "1 letter\n  1 sent back\n  scrapy crawl product_spider -s FRONTIER_CRAWL_ID=monday\n"
    assert dlq("replay", "--limit", "1").out == dlq("replay").out == once
    assert dlq("replay").out == "0 letters\n"
    assert letters.counts()["pending"] == 2

    letters.crawl(server, FRONTIER_CRAWL_ID="monday")
    assert {name: letters.counts()[name] for name in ("delivered", "dead", "pending")} == {
        "delivered": 1,
        "dead": 1,
        "pending": 0,
    }
    [again] = [one for one in listed(dlq) if not one.get("replayed")]
    assert (again["url"], again["death"], again["replays"]) == (f"{server.url}/never", 2, 1)
    told = json.loads(dlq("stats", "--json").out)
    assert (told["letters"], told["replayed"], told["results"]) == (3, 2, {"sent back": 2})


def test_a_letter_is_replayed_so_often_and_no_more(
    dlq: Console, letters: Letters, web: Callable[..., WebServer]
) -> None:
    server = web({"/": links("/none")})
    letters.crawl(server, FRONTIER_CRAWL_ID="monday")
    assert "1 sent back" in dlq("replay", DLQ_REPLAY_TIMES=1).out
    letters.crawl(server, FRONTIER_CRAWL_ID="monday")
    refused = dlq("replay", DLQ_REPLAY_TIMES=1).out
    assert "1 sent back too often: DLQ_REPLAY_TIMES" in refused
    assert letters.counts()["dead"] == 1
    assert json.loads(dlq("stats", "--json", DLQ_REPLAY_TIMES=1).out)["at_limit"] == 1


def test_what_was_requeued_first_is_not_replayed(
    dlq: Console, frontier: Console, letters: Letters, web: Callable[..., WebServer]
) -> None:
    server = web({"/": links("/none")})
    letters.crawl(server, FRONTIER_CRAWL_ID="monday")
    assert "1 dead requests are pending again" in frontier("requeue", "--dead", "--yes").out
    assert "1 sent back before" in dlq("replay").out
    assert letters.counts()["pending"] == 1

    letters.crawl(server, FRONTIER_CRAWL_ID="monday")
    assert "1 sent back" in dlq("replay").out
    assert "0 dead requests are pending again" in frontier("requeue", "--dead", "--yes").out


def test_a_letter_that_is_written_before_its_request_is_settled_is_replayed_afterwards(
    dlq: Console, letters: Letters
) -> None:
    scene = Scene(letters.fleet)
    crawl, worker = scene.crawl("monday"), scene.worker("monday")
    worker.enqueue(request_for("http://shop.example/"))
    [lease] = worker.lease(1)
    about = {"url": "http://shop.example/", "site": "", "crawl": "monday", "spider": "product_spider"}
    failed: Any = FailedRequest.of_lease(lease, DOWNLOAD, "http 404", "", **about)  # type: ignore[arg-type]
    written(letters, lambda writer: [writer.send_request(failed)])

    assert "1 left alone: the request is not settled yet" in dlq("replay").out
    worker.settle(settle(lease, "dead", "http 404", letters=1))
    assert "1 sent back" in dlq("replay").out
    assert crawl.counts["pending"] == 1
    assert dlq("replay").out == "0 letters\n"


def test_no_receipt_is_written_of_what_too_few_replicas_know(
    dlq: Console, letters: Letters, web: Callable[..., WebServer]
) -> None:
    letters.crawl(web({"/": links("/none")}), FRONTIER_CRAWL_ID="monday")
    refused = dlq("replay", FRONTIER_WAIT_REPLICAS=1)
    assert refused.code == 1
    assert "fewer than 1 replicas (FRONTIER_WAIT_REPLICAS) know what was sent back" in refused.err
    assert not any(one.get("replayed") for one in listed(dlq))
    assert "1 sent back before" in dlq("replay").out


def test_of_a_replay_and_a_requeue_at_once_each_request_goes_back_by_one(dlq: Console, letters: Letters) -> None:
    scene = Scene(letters.fleet)
    crawl, worker = scene.crawl("monday"), scene.worker("monday")
    crawl.letters("expect")
    worker.enqueue(*(request_for(f"http://shop.example/{number}") for number in range(300)))
    worker.settle(*(settle(lease, "dead", "corrupt request") for lease in worker.lease(300)))
    letters.seine.crawl(FRONTIER_CRAWL_ID="monday")
    assert crawl.counts["dead"] == 300

    requeued: list[str] = []
    requeue = threading.Thread(
        target=lambda: requeued.append(letters.seine.run("frontier", "requeue", "--dead", "--yes").out)
    )
    requeue.start()
    replayed = letters.seine.run("dlq", "replay").out
    requeue.join()

    by_requeue = int(requeued[0].split(": ")[1].split()[0])
    by_replay = sum(int(line.split()[0]) for line in replayed.splitlines() if line.endswith(" sent back"))
    assert by_requeue + by_replay == 300
    assert f"{300 - by_replay} sent back before" in replayed or by_replay == 300
    assert crawl.counts["pending"] == 300
    assert set(letters.fleet.redis.hvals(f"{crawl.root}:revived")) == {b"1"}
    scene.shard.check()


def test_requests_of_a_crawl_that_is_gone_go_to_a_new_one(
    dlq: Console, frontier: Console, letters: Letters, web: Callable[..., WebServer]
) -> None:
    server = web({"/": links("/late"), "/late": lambda earlier: product("late") if earlier else Page("", 404)})
    letters.crawl(server, FRONTIER_CRAWL_ID="monday")
    assert frontier("purge", "--crawl", "monday", "--yes").code == 0

    replayed = dlq("replay", "--crawl", "tuesday").out
    assert "1 sent to another crawl" in replayed
    assert "crawl tuesday: 1 new requests, 0 known there" in replayed
    assert dlq("replay", "--crawl", "tuesday").out == "0 letters\n"

    crawl = letters.seine.crawl(FRONTIER_CRAWL_ID="tuesday", ROBOTSTXT_OBEY=0)
    assert crawl.code == 0, crawl.err[-2000:]
    [record] = consume(letters.seine.env, letters.seine.env["KAFKA_TOPIC_PRODUCTS"])
    assert (record.value["name"], record.headers["crawl_id"]) == ("late", "tuesday")


def test_requests_of_a_crawl_that_is_gone_go_to_the_one_that_is_open(
    dlq: Console, frontier: Console, letters: Letters, web: Callable[..., WebServer]
) -> None:
    server = web({"/": links("/none")})
    letters.crawl(server, FRONTIER_CRAWL_ID="monday")
    frontier("purge", "--crawl", "monday", "--yes")
    scene = Scene(letters.fleet)
    scene.crawl("tuesday")
    scene.crawl("wednesday")
    refused = dlq("replay")
    assert refused.code == 2
    assert "several are open: name one with --crawl: wednesday, tuesday" in refused.err
    scene.complete("wednesday")
    assert "crawl tuesday: 1 new requests" in dlq("replay").out
    assert scene.shard.crawls["tuesday"].counts["pending"] == 1
    [lease] = scene.worker("tuesday").lease()
    assert lease.revived == 1


# --- Items


def test_items_go_through_the_pipelines_again_without_being_fetched(
    dlq: Console, frontier: Console, letters: Letters, web: Callable[..., WebServer]
) -> None:
    server = web({"/": links("/a", "/b"), "/a": product("a", **INVALID), "/b": product("b", **INVALID)})
    letters.crawl(server, FRONTIER_CRAWL_ID="monday")
    visits, before = len(server.visits), {one["record_id"]: one["key"] for one in listed(dlq)}

    assert "2 dead again" in dlq("replay", ITEM_PIPELINES=PIPELINES).out
    assert letters.counts()["dead:item"] == 2
    assert [one["replays"] for one in listed(dlq) if not one.get("replayed")] == [1, 1]
    assert "2 delivered" in dlq("replay", ITEM_PIPELINES=json.loads(MENDED)).out
    assert dlq("replay", ITEM_PIPELINES=json.loads(MENDED)).out == "0 letters\n"

    records = consume(letters.seine.env, letters.seine.env["KAFKA_TOPIC_PRODUCTS"])
    assert {record.headers["record_id"]: record.key for record in records} == before
    assert {record.value["currency"] for record in records} == {"EUR"}
    assert len(records) == 2
    assert len(server.visits) == visits
    counts = letters.counts()
    assert (counts["delivered"], counts.get("dead"), counts["pending"]) == (2, 0, 0)
    assert "0 dead requests" in frontier("requeue", "--dead", "--yes").out
    assert "replayed" in frontier("why", f"{server.url}/a").out


def test_an_item_whose_page_was_sent_back_is_left_to_it(
    dlq: Console, frontier: Console, letters: Letters, web: Callable[..., WebServer]
) -> None:
    letters.crawl(web({"/": links("/a"), "/a": product("a", **INVALID)}), FRONTIER_CRAWL_ID="monday")
    assert "1 dead requests are pending again" in frontier("requeue", "--dead", "--yes").out
    assert "1 sent back before" in dlq("replay", ITEM_PIPELINES=json.loads(MENDED)).out
    assert consume(letters.seine.env, letters.seine.env["KAFKA_TOPIC_PRODUCTS"]) == []


def test_a_record_that_kafka_refuses_in_a_replay_gets_its_next_letter_and_costs_no_other(
    dlq: Console, letters: Letters
) -> None:
    small = [item(number) for number in (1, *range(3, 30))]  # some go where the large one left its gap
    write(letters, [*small, item(2, description=secrets.token_hex(4000))])
    settings = settings_of(letters)
    admin = AdminClient({"bootstrap.servers": settings["KAFKA_BOOTSTRAP_SERVERS"]})
    smaller = ConfigEntry("max.message.bytes", "3000", incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, settings["KAFKA_TOPIC_PRODUCTS"], incremental_configs=[smaller])
    admin.incremental_alter_configs([resource])[resource].result()

    finished = dlq("replay", REDIS_URL="")
    out = finished.out
    assert "28 delivered" in out, finished.err
    assert "1 dead again" in out
    [again] = listed(dlq, "--stage", "delivery")
    assert (again["replays"], again["error"]) == (1, "RejectedRecord")
    names = {record.value["name"] for record in consume(letters.seine.env, settings["KAFKA_TOPIC_PRODUCTS"])}
    assert names == {one.name for one in small}


def test_a_replay_that_is_killed_is_gone_on_with_and_delivers_each_item_once(dlq: Console, letters: Letters) -> None:
    items = [item(number) for number in range(1500)]
    write(letters, items)
    first = letters.seine.start("dlq", "replay")
    products = letters.seine.env["KAFKA_TOPIC_PRODUCTS"]
    while not consume(letters.seine.env, products):
        assert first.poll() is None
    first.kill()
    first.communicate()
    out = dlq("replay").out
    left = int(out.split()[0].replace(",", ""))
    assert 0 < left < 1500
    found = Counter(record.headers["record_id"] for record in consume(letters.seine.env, products))
    assert found == {one.record_id: 1 for one in items}


def test_a_replay_does_not_begin_while_an_open_transaction_may_hide_receipts(
    dlq: Console, letters: Letters, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(letters, [item(number) for number in range(6)])
    opened = open_transaction(letters)
    with monkeypatch.context() as patience:
        patience.setattr("crawlers.dead_letters.topic._LONGEST_TRANSACTION", 1.0)
        refused = dlq("replay")
    assert refused.code == 1
    assert f"{letters.topic} cannot be read to its end: a transaction has been open there for 1 s" in refused.err
    assert len(listed(dlq)) == 6, "to look takes no more than what is committed"

    threading.Timer(1.0, opened.abort_transaction).start()
    assert "6 letters\n  6 delivered" in dlq("replay").out
    assert dlq("replay").out == "0 letters\n"
    records = consume(letters.seine.env, letters.seine.env["KAFKA_TOPIC_PRODUCTS"])
    assert Counter(record.headers["record_id"] for record in records) == {f"record-{n}": 1 for n in range(6)}


def test_a_replay_that_begins_ends_the_one_before(dlq: Console, letters: Letters) -> None:
    settings = settings_of(letters)
    ensure_topics(settings)
    first, second = Transactions(settings), Transactions(settings)
    first.begin()
    second.begin()
    record = Record(letters.topic, b"key", b"{}", [("stage", b"validation")])
    with pytest.raises(Fenced, match="another replay"):
        first.commit([record])
    second.commit([record])
    assert len(letters.everything()) == 1


@pytest.mark.parametrize(
    ("cut_off_at", "is_left"),
    [(Doubtful("the commit was not answered"), True), (StartupError("it was aborted"), False)],
)
def test_a_page_whose_items_may_be_committed_is_left_to_the_next_replay(
    dlq: Console,
    frontier: Console,
    letters: Letters,
    web: Callable[..., WebServer],
    monkeypatch: pytest.MonkeyPatch,
    cut_off_at: SeineError,
    is_left: bool,
) -> None:
    letters.crawl(web({"/": links("/a"), "/a": product("a", **INVALID)}), FRONTIER_CRAWL_ID="monday")
    commit = Transactions.commit

    def cut_off(self: Transactions, records: Sequence[Record]) -> None:
        if is_left:
            commit(self, records)
        raise cut_off_at

    with monkeypatch.context() as cutting:
        cutting.setattr(Transactions, "commit", cut_off)
        assert str(cut_off_at) in dlq("replay", ITEM_PIPELINES=json.loads(MENDED)).err
    requeued = frontier("requeue", "--dead", "--yes").out
    assert ("1 are left to `scrapy dlq replay`" in requeued) == is_left
    assert ("1 dead requests are pending again" in requeued) != is_left
    if is_left:
        assert dlq("replay", ITEM_PIPELINES=json.loads(MENDED)).out == "0 letters\n"
        assert (letters.counts()["delivered"], letters.counts()["dead"]) == (1, 0)
        assert len(consume(letters.seine.env, letters.seine.env["KAFKA_TOPIC_PRODUCTS"])) == 1


# --- Refusals


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        ([], "expected one of list, show, stats, replay"),
        (["burn"], "expected one of list, show, stats, replay"),
        (["list", "--stage", "nowhere"], "--stage nowhere: expected one of validation,"),
        (["stats", "--since", "yesterday"], "--since yesterday: expected a time as 90m"),
        (["replay", "--limit", "0"], "--limit 0: expected 1 or more"),
        (["replay", "--limit", "x"], "--limit: invalid int value: 'x'"),
        (["replay", "--json"], "--json does not belong here"),
        (["show"], "expected: scrapy dlq show ID"),
        (["list", "more"], "expected: scrapy dlq list"),
    ],
)
def test_a_mistake_is_told_in_one_line(dlq: Console, args: list[str], expected: str) -> None:
    assert expected in dlq.refused(*args)


def test_what_is_not_there_is_told_in_one_line(dlq: Console, letters: Letters, nowhere: str) -> None:
    for settings, code, expected in (
        ({"KAFKA_BOOTSTRAP_SERVERS": ""}, 2, "KAFKA_BOOTSTRAP_SERVERS is not set"),
        ({"KAFKA_TOPIC_DEAD_LETTERS": "no-such-topic"}, 2, "no topic no-such-topic"),
        ({}, 2, f"no topic {letters.topic}"),
    ):
        assert expected in dlq.refused("stats", code=code, **settings)
    ensure_topics(settings_of(letters))
    assert "no letter abc" in dlq("show", "abc").err
    assert dlq("list").out == "no dead letters\n"


def test_without_redis_requests_cannot_be_sent_back_and_their_letters_stay_open(
    dlq: Console, letters: Letters, web: Callable[..., WebServer]
) -> None:
    letters.crawl(web({"/": links("/none")}))
    assert "1 cannot be sent back: REDIS_URL is not set" in dlq("replay", REDIS_URL="").out
    assert "1 sent back" in dlq("replay").out


# --- Letters that no crawl wrote


def settings_of(letters: Letters) -> Settings:
    """Those that a command has."""
    settings = get_project_settings()
    settings.setdict({name: letters.seine.env[name] for name in OF_KAFKA}, priority="cmdline")
    return settings


def item(number: int, **fields: Any) -> Product:
    url = f"http://shop.example/{number}"
    return Product(
        url=url,
        canonical_url=url,
        name=str(number),
        site="shop",
        identity=url,
        fetched_at=datetime.now(UTC),
        crawl_id="monday",
        record_id=f"record-{number}",
        spider="product_spider",
        worker="w",
        http_status=200,
        content_hash="0" * 64,
        extractor_version="1",
        **fields,
    )


def open_transaction(letters: Letters) -> Client:
    """A worker's, with a letter in each partition of the topic."""
    servers = letters.seine.env["KAFKA_BOOTSTRAP_SERVERS"]
    partitions = AdminClient({"bootstrap.servers": servers}).list_topics(letters.topic).topics[letters.topic].partitions
    client = Client({"bootstrap.servers": servers, "transactional.id": f"{letters.topic}-worker"})
    client.init_transactions(20)
    client.begin_transaction()
    for partition in partitions:
        client.produce(letters.topic, b"{}", b"key", partition, headers=[("letter_id", b"%d" % partition)])
    client.flush()
    return client


def write(letters: Letters, items: list[Product]) -> None:
    """Their letters, as a pipeline writes them that was in their way."""
    error = InvalidItem(["as it was"])
    written(letters, lambda writer: [writer.send(one, error, "validation") for one in items])


def written(letters: Letters, sending: Callable[[DeadLetters], list[Coroutine[Any, Any, None]]]) -> None:
    """Return when all of them are."""
    settings = settings_of(letters)
    ensure_topics(settings)

    async def work() -> None:
        producer = Producer(producer_config(settings), drain_seconds=5)
        await asyncio.gather(
            *sending(DeadLetters(Delivery(producer), SinkLoad(9999, 10**9), UNMASKED, letters.topic, "products"))
        )
        await producer.close()

    asyncio.run(work())
