"""Parts `memory` and `pending`: bytes of Redis per known URL, and per request that waits."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from statistics import mean
from typing import Any

from redis import Redis
from scrapy import Request
from scrapy.utils.test import get_crawler
from scrapy_redis.dupefilter import RFPDupeFilter
from scrapy_redis.queue import PriorityQueue

from bench.frontier.bench import Bench
from bench.frontier.fleet import QUICK, deliver, enqueue, new_request, worker
from bench.frontier.server import Server
from bench.frontier.sides import REDIS
from bench.frontier.spiders import LinkSpider
from bench.frontier.table import Budget, Row
from crawlers.frontier.codec import RequestCodec
from crawlers.frontier.frontier import Frontier

MILLION = 1_000_000
_STEPS = 20
"""Looks at the memory while a fill doubles: what a URL costs goes up and down as sets are split."""
_WARM_UP = 5000
"""Requests before the first look: scripts, buffers and domains are there whatever the number of URLs."""
_PENDING = 100_000
_DOMAINS = 100
_BUDGET = Budget(10)


def memory(bench: Bench) -> list[Row]:
    """Seine's fingerprints beside a plain SET of scrapy-redis's, nothing waiting; then what outcomes add."""
    rows = []
    for number in (MILLION, 10 * MILLION) if bench.full else (MILLION,):
        name = f"{number // MILLION} million"
        ours, worst = asyncio.run(_known(bench, number))
        theirs = _plain_set(bench.server, number)
        bench.say(f"{name} URLs  Seine {ours:.2f}  SET {theirs:.2f} bytes per URL")
        rows += [
            Row(f"bytes per known URL, {name}", ours, "B", REDIS, theirs, None, _BUDGET, 2),
            Row("  dearest on the way from half of it", worst, "B", "", None, None, _BUDGET, 2),
        ]
    with_outcomes, without = asyncio.run(_settled(bench.server, MILLION))
    return [
        *rows,
        Row("  1 million settled, no outcomes kept", without, "B", "", None, None, _BUDGET, 2),
        Row("  1 million settled, outcomes kept (default)", with_outcomes, "B", digits=2),
    ]


async def _known(bench: Bench, number: int) -> tuple[float, float]:
    """Bytes per URL at `number`, and at most since half of it. A page limit keeps them from waiting in a queue."""
    server = bench.server
    server.flush()
    per_url: list[float] = []
    async with worker(server, leases=False) as frontier:
        await enqueue(frontier, [new_request(-1, "shop.bench", limit=1)])
        empty = server.memory
        done = 0
        for goal in (number // 2, *(number // 2 + number // 2 * step // _STEPS for step in range(1, _STEPS + 1))):
            await enqueue(frontier, (new_request(n, "shop.bench", limit=1) for n in range(done, goal)))
            done = goal
            per_url.append((server.memory - empty) / done)
    return per_url[-1], max(per_url)


async def _settled(server: Server, number: int) -> tuple[float, float]:
    """Bytes per URL after all went through queue and lease: with its outcomes, and with those deleted."""
    server.flush()
    async with worker(server, replace(QUICK, outcome_seconds=86_400)) as frontier:
        await _through(frontier, range(-_WARM_UP, 0))
        empty = server.memory
        for first in range(0, number, number // 10):
            await _through(frontier, range(first, first + number // 10))
        kept = server.memory - empty
    for batch in _in_batches(server.client.scan_iter("*:done:*", 1000), 1000):
        server.client.delete(*batch)
    return kept / number, (server.memory - empty) / number


async def _through(frontier: Frontier, numbers: range) -> None:
    await enqueue(frontier, (new_request(n, f"shop{n % _DOMAINS}.bench", b"x") for n in numbers))
    await deliver(frontier, len(numbers))


def _plain_set(server: Server, number: int) -> float:
    """Of 40 hexadecimal digits each, as scrapy-redis's dupefilter keeps them."""
    server.flush()
    empty = server.memory
    fingerprints = (f"{n:08x}{n * 2654435761 % 2**32:08x}{n:024x}" for n in range(number))
    for batch in _in_batches(fingerprints, 10_000):
        server.client.sadd("bench:dupefilter", *batch)
    return (server.memory - empty) / number


def pending(bench: Bench) -> list[Row]:
    """The same requests in both queues, their fingerprints included."""
    ours, theirs = asyncio.run(_our_queue(bench.server)), _their_queue(bench.server)
    return [
        Row(f"bytes per pending request, {_PENDING:,}", ours, "B", REDIS, theirs, ours / theirs, digits=0),
        Row("  of them stored request", _bytes_of_ours(), "B", REDIS, _bytes_of_theirs(bench.server.client), digits=0),
    ]


async def _our_queue(server: Server) -> float:
    server.flush()
    empty = server.memory
    spider = _spider()
    codec = RequestCodec(spider)
    async with worker(server, leases=False) as frontier:
        sent = ((number, codec.encode(request)) for number, request in enumerate(_requests(spider, _PENDING)))
        await enqueue(frontier, (new_request(n, f"shop{n % _DOMAINS}.example", data) for n, data in sent))
        return (server.memory - empty) / _PENDING


def _their_queue(server: Server) -> float:
    server.flush()
    empty = server.memory
    spider = _spider()
    queue, seen = _their_parts(server.client, spider)
    for batch in _in_batches(_requests(spider, _PENDING), 1000):
        with server.client.pipeline(transaction=False) as pipeline:
            pipeline.sadd(seen.key, *(seen.request_fingerprint(request) for request in batch))
            pipeline.zadd(queue.key, {queue._encode_request(request): 0 for request in batch})
            pipeline.execute()
    return (server.memory - empty) / _PENDING


def _bytes_of_ours() -> float:
    spider = _spider()
    codec = RequestCodec(spider)
    return mean(len(codec.encode(request)) for request in _requests(spider, 1000))


def _bytes_of_theirs(client: Redis) -> float:
    spider = _spider()
    queue, _ = _their_parts(client, spider)
    return mean(len(queue._encode_request(request)) for request in _requests(spider, 1000))


def _their_parts(client: Redis, spider: LinkSpider) -> tuple[Any, Any]:
    return PriorityQueue(client, spider, "%(spider)s:requests"), RFPDupeFilter(client, "bench:dupefilter")


def _spider() -> LinkSpider:
    return LinkSpider.from_crawler(get_crawler(LinkSpider))


def _requests(spider: LinkSpider, number: int) -> Iterator[Request]:
    for n in range(number):
        url = f"https://shop{n % _DOMAINS}.example/catalogue/tents-and-shelters/ridge-tunnel-tent-{n}"
        yield Request(url, spider.parse, errback=spider.on_error, meta={"site": "shop", "depth": 3})


def _in_batches(values: Any, size: int) -> Iterator[list[Any]]:
    waiting = iter(values)
    while batch := list(islice(waiting, size)):
        yield batch
