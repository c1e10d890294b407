"""Asks Redis what it remembers of products: many questions in one round trip, and no answer without Redis."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, ClassVar, Self
from weakref import WeakKeyDictionary

import msgpack
import structlog

from crawlers.changes.topic import Topic, name_of
from crawlers.exceptions import SeineError
from crawlers.frontier.connection import AWAY, Connection, Servers, told
from crawlers.frontier.keys import Keys
from crawlers.frontier.paging import escaped
from crawlers.frontier.scripts import Command, run

if TYPE_CHECKING:
    from collections.abc import Callable

    from scrapy.crawler import Crawler

    from crawlers.changes.notes import Note, Remembered

log = structlog.get_logger("seine.changes")

Question = tuple[str, str, bytes]
"""(topic, site, a product's key or a request's id)"""
Answer = list[bytes | None]
_MOST = 500
"""Questions of one round trip."""
_PAUSE = 0.5
"""Seconds between two attempts to reach Redis again."""


class Unanswered(SeineError):
    """The worker closes and Redis does not answer."""


class ProductMemory:
    """What is remembered of a topic's products, in every shard. Without Redis it waits, unless the worker closes."""

    _shared: ClassVar[WeakKeyDictionary[Crawler, ProductMemory]] = WeakKeyDictionary()

    def __init__(self, servers: Servers, keys: Keys, closing: Callable[[], bool] = lambda: False):
        self.keys = keys
        self.topic = Topic()
        self.outdated = ""
        """The id of a topic that gets records which are not compared with what is remembered of it."""
        self.intervals: dict[str, float] = {}
        """Seconds that may pass between two visits of a product, by site, as far as its last crawls tell."""
        self._shards = [_Shard(servers, keys.shard(number), closing) for number in range(keys.shards)]

    @classmethod
    def of(cls, crawler: Crawler) -> Self:
        """The one memory of `crawler`'s process."""
        if crawler not in cls._shared:
            settings = crawler.settings
            keys = Keys(settings["FRONTIER_NAMESPACE"], crawler.spidercls.name, settings.getint("FRONTIER_SHARDS"))
            cls._shared[crawler] = cls(Servers.from_settings(settings), keys, lambda: _is_closing(crawler))
        return cls._shared[crawler]  # type: ignore[return-value]

    async def recall(self, shard: int, site: str, product: bytes) -> bytes | None:
        """What that shard keeps of a product, None where nothing is. Raises Unanswered."""
        [found] = await self._shards[shard].recall("recall", (self.topic.id, site, product))
        return found

    async def revisit(self, shard: int, site: str, id_: bytes) -> tuple[bytes | None, bytes | None]:
        """What that shard keeps of a page, by its request's id, and of the product it shows. Raises Unanswered."""
        page, product = await self._shards[shard].recall("revisit", (self.topic.id, site, id_))
        return page, product

    async def ask(self, shard: int, *commands: Command) -> list[Any]:
        """That shard's replies; the commands must bear to be sent twice. Raises Unanswered."""
        return await self._shards[shard].ask(*commands)

    async def write(self, shard: int, *notes: Note) -> None:
        """Write notes that come with no request's end. Raises Unanswered."""
        root = self.keys.shard(shard)
        await self.ask(shard, run("note", root, root, msgpack.packb(notes, use_bin_type=False)))

    def seconds_left(self, site: str, remembered: Remembered) -> float:
        """Until the product's record must be written again, as its next visit may be too late."""
        return self.topic.seconds_left(remembered, time.time()) - self.intervals.get(site, 0.0)

    async def topic_id(self, name: str) -> str:
        """The id under which something is remembered of the topic of that name; '' where nothing is."""
        [ids] = await self.ask(0, ("SMEMBERS", f"{self.keys.shard(0)}:topics"))
        return next((id_.decode() for id_ in ids if name_of(id_.decode()) == name), "")

    async def begin(self, topic: Topic) -> None:
        """Remember products of `topic`, and no more of one that had its name before. Raises Unanswered."""
        self.topic = topic
        for number in range(self.keys.shards):
            root = self.keys.shard(number)
            [ids] = await self.ask(number, ("SMEMBERS", f"{root}:topics"))
            for id_ in (id_.decode() for id_ in ids):
                if id_ != topic.id and name_of(id_) == name_of(topic.id):
                    await self._purge(number, id_)
            await self.ask(number, ("SADD", f"{root}:topics", topic.id))

    async def _purge(self, number: int, topic: str) -> None:
        root = self.keys.shard(number)
        for kind in ("products", "pages", "memory"):
            pattern, cursor = escaped(f"{root}:{kind}:{topic}:") + b"*", b"0"
            while True:
                [[cursor, keys]] = await self.ask(number, ("SCAN", cursor, "MATCH", pattern, "COUNT", _MOST))
                if keys:
                    await self.ask(number, ("UNLINK", *keys))
                if cursor == b"0":
                    break
        await self.ask(number, ("SREM", f"{root}:topics", topic))

    async def forget(self, site: str, product: bytes) -> int:
        """Forget a product and its pages in every shard; how many entries there were. Raises Unanswered."""
        removed = 0
        for number in range(self.keys.shards):
            root, nodes = self.keys.shard(number), [1]
            for node in nodes:  # which grow
                command = run("forget_product", root, root, self.topic.id, site, product, node)
                [[was_split, here]] = await self.ask(number, command)
                removed += here
                nodes += [2 * node, 2 * node + 1] if was_split else []
        return removed

    async def close(self) -> None:
        """Drop the connections."""
        for shard in self._shards:
            await shard.close()


class _Shard:
    """One connection. The questions that come while a round trip is under way share the next."""

    def __init__(self, servers: Servers, root: str, closing: Callable[[], bool]):
        self._servers = servers
        self._root = root
        self._closing = closing
        self._connection: Connection | None = None
        self._lock = asyncio.Lock()
        self._waiting: dict[str, list[tuple[Question, asyncio.Future[Answer]]]] = {"recall": [], "revisit": []}
        """By the script that answers."""
        self._recalling: asyncio.Task[None] | None = None

    async def recall(self, script: str, question: Question) -> Answer:
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting[script].append((question, future))
        if self._recalling is None:
            self._recalling = asyncio.create_task(self._recall_all())
        return await future

    async def _recall_all(self) -> None:
        while any(self._waiting.values()):
            for script, waiting in self._waiting.items():
                batch, self._waiting[script] = waiting[:_MOST], waiting[_MOST:]
                if batch:
                    await self._answer(script, batch)
        self._recalling = None

    async def _answer(self, script: str, batch: list[tuple[Question, asyncio.Future[Answer]]]) -> None:
        questions = msgpack.packb([question for question, _ in batch], use_bin_type=False)
        try:
            [answers] = await self.ask(run(script, self._root, self._root, questions))
        except Unanswered as error:
            for _, future in batch:
                future.set_exception(error)
            return
        for (_, future), answer in zip(batch, answers, strict=True):
            if not future.done():
                future.set_result(answer)

    async def ask(self, *commands: Command) -> list[Any]:
        is_away = False
        async with self._lock:
            while True:
                try:
                    return await self._ask(commands)
                except AWAY as error:
                    if not is_away:
                        log.warning("products cannot be recalled", error=told(error))
                    is_away = True
                    await self.close()
                if self._closing():
                    raise Unanswered("Redis does not say what it remembers")
                await asyncio.sleep(_PAUSE)

    async def _ask(self, commands: tuple[Command, ...]) -> list[Any]:
        if self._connection is None:
            self._connection = await self._servers.connect(self._root)
        replies = await self._connection.call(*commands)
        for reply in replies:
            if isinstance(reply, Exception):
                raise reply
        return replies

    async def close(self) -> None:
        if self._connection is not None:
            await self._connection.close()
            self._connection = None


def _is_closing(crawler: Crawler) -> bool:
    slot = crawler.engine._slot if crawler.engine is not None else None
    return slot is not None and slot.closing is not None
