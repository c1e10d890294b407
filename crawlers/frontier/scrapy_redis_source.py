"""What a spider has in scrapy-redis: its queue and its seen-set, found by scrapy-redis's settings, read in pages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from redis.exceptions import RedisError, WatchError
from scrapy.settings import BaseSettings
from scrapy.utils.misc import load_object
from scrapy_redis import defaults, get_redis_from_settings
from scrapy_redis.queue import FifoQueue, LifoQueue, PriorityQueue

from crawlers.exceptions import StartupError, UserError
from crawlers.frontier.scrapy_redis_entries import Entry

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from redis import Redis
    from scrapy import Spider

_PAGE = 500
"""Entries that one call reads."""
_ENDPOINT = ("REDIS_URL", "REDIS_HOST", "REDIS_PORT", "REDIS_DB")
_TYPES = {PriorityQueue: "zset", FifoQueue: "list", LifoQueue: "list"}


class ScrapyRedisSource:
    """A queue and a seen-set. Whether they change while they are read is watched from the beginning."""

    def __init__(self, client: Redis, queue_key: str, seen_key: str, kind: type):
        self.queue_key = queue_key
        self.seen_key = seen_key
        self.queued = self.seen = 0
        """How many there are."""
        self._client = client
        self._kind = kind
        self._watch = client.pipeline()

    @classmethod
    def from_settings(cls, settings: Any, spider: Spider, url: str | None = None) -> Self:
        """That of the project's settings; `url` names the Redis where it is not theirs.

        UserError where the settings do not fit what is there, StartupError where Redis is unreachable.
        """
        queue_key = _key(settings, "SCHEDULER_QUEUE_KEY", defaults.SCHEDULER_QUEUE_KEY, spider)
        seen_key = _key(settings, "SCHEDULER_DUPEFILTER_KEY", defaults.SCHEDULER_DUPEFILTER_KEY, spider)
        named = settings.get("SCHEDULER_QUEUE_CLASS") or defaults.SCHEDULER_QUEUE_CLASS
        source = cls(_client(settings, url), queue_key, seen_key, _kind(named))
        try:
            source._look()
        except (RedisError, OSError) as error:
            raise StartupError(f"scrapy-redis's Redis at {source.where} cannot be used: {error}") from None
        return source

    @property
    def where(self) -> str:
        """The Redis, without credentials."""
        given = {"host": "localhost", "port": 6379, "db": 0, **self._client.get_connection_kwargs()}
        return str(given.get("path") or "{host}:{port}/{db}".format_map(given))

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to import."""
        return not self.queued and not self.seen

    def entries(self, *, backwards: bool = False) -> Iterator[list[Entry]]:
        """The queue in pages, as they would be fetched; an entry of a sorted set may come twice, and in any order."""
        if self._kind is PriorityQueue:
            yield from self._scored()
        elif (self._kind is FifoQueue) is backwards:
            for first in range(0, self.queued, _PAGE):
                yield [Entry(raw) for raw in self._range(first, first + _PAGE)]
        else:
            for end in range(self.queued, 0, -_PAGE):
                yield [Entry(raw) for raw in reversed(self._range(max(0, end - _PAGE), end))]

    def fingerprints(self) -> Iterator[list[bytes]]:
        """The seen-set in pages; one may come twice."""
        cursor = None
        while cursor != 0:
            found: Any = self._client.sscan(self.seen_key, cursor or 0, count=_PAGE)
            cursor = found[0]
            yield list(found[1])

    def has_seen(self, fingerprints: Iterable[str]) -> int:
        """How many of them are in the seen-set."""
        pipeline = self._client.pipeline(transaction=False)
        for fingerprint in fingerprints:
            pipeline.sismember(self.seen_key, fingerprint)
        return sum(map(bool, pipeline.execute()))

    def remove(self, left: list[tuple[Entry, bytes | None]]) -> bool:
        """Remove queue and seen-set but for `left`, entries and their fingerprints, at once; False where either has
        changed since it was first looked at: then nothing is removed.
        """
        self._watch.multi()
        self._watch.unlink(self.queue_key, self.seen_key)
        for entry, fingerprint in left:
            if entry.score is None:
                self._watch.rpush(self.queue_key, entry.raw)
            else:
                self._watch.zadd(self.queue_key, {entry.raw: entry.score})
            if fingerprint is not None:
                self._watch.sadd(self.seen_key, fingerprint)
        return self._end()

    def is_unchanged(self) -> bool:
        """Whether neither has changed since it was first looked at."""
        self._watch.multi()
        self._watch.exists(self.queue_key)
        return self._end()

    def close(self) -> None:
        """Drop the connections."""
        self._watch.reset()
        self._client.close()

    def _look(self) -> None:
        self._watch.watch(self.queue_key, self.seen_key)
        for key, wanted, setting in (
            (self.queue_key, _TYPES[self._kind], "SCHEDULER_QUEUE_CLASS"),
            (self.seen_key, "set", "SCHEDULER_DUPEFILTER_KEY"),
        ):
            found = self._client.type(key).decode()  # type: ignore[union-attr]
            if found not in (wanted, "none"):
                raise UserError(f"{key} at {self.where} is a {found}, where {setting} means a {wanted}")
        if self._kind is PriorityQueue:
            self.queued = self._client.zcard(self.queue_key)  # type: ignore[assignment]
        else:
            self.queued = self._client.llen(self.queue_key)  # type: ignore[assignment]
        self.seen = self._client.scard(self.seen_key)  # type: ignore[assignment]

    def _scored(self) -> Iterator[list[Entry]]:
        cursor = None
        while cursor != 0:
            found: Any = self._client.zscan(self.queue_key, cursor or 0, count=_PAGE)
            cursor = found[0]
            yield [Entry(raw, score) for raw, score in found[1]]

    def _range(self, first: int, end: int) -> list[bytes]:
        return self._client.lrange(self.queue_key, first, end - 1)  # type: ignore[return-value]

    def _end(self) -> bool:
        try:
            self._watch.execute()
        except WatchError:
            return False
        finally:
            self._watch.reset()
        return True


def _client(settings: Any, url: str | None) -> Redis:
    """scrapy-redis's own client; what it reads is bytes, whatever the settings say."""
    if not url and (settings.getlist("REDIS_SENTINELS") or settings.getbool("REDIS_CLUSTER")):
        raise UserError("scrapy-redis knows neither Sentinels nor a Cluster: name its Redis with --from-url")
    endpoint = {"REDIS_URL": url} if url else {name: settings.get(name) for name in _ENDPOINT}
    parameters = {} if url else settings.getdict("REDIS_PARAMS")
    try:
        client: Redis = get_redis_from_settings(
            BaseSettings({**endpoint, "REDIS_PARAMS": {**parameters, "decode_responses": False}})
        )
    except ValueError as error:
        raise UserError(f"{'--from-url' if url else 'REDIS_URL'}: {error}") from None
    return client


def _key(settings: Any, setting: str, default: str, spider: Spider) -> str:
    template = settings.get(setting) or default
    try:
        return str(template % {"spider": spider.name})
    except (KeyError, TypeError, ValueError):
        raise UserError(f"{setting}={template}: expected a key in which %(spider)s is the spider's name") from None


def _kind(named: Any) -> type:
    """Which of scrapy-redis's three kinds of queue a class is."""
    try:
        found = load_object(named)
    except (ImportError, NameError, ValueError) as error:
        raise UserError(f"SCHEDULER_QUEUE_CLASS={named}: {error}") from None
    for kind in _TYPES:
        if isinstance(found, type) and issubclass(found, kind):
            return kind
    raise UserError(f"SCHEDULER_QUEUE_CLASS={named}: none of scrapy-redis's PriorityQueue, FifoQueue, LifoQueue")
