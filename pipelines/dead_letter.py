"""Dead letters: what cannot be delivered keeps its bytes and its reason in a topic of its own.

One topic for all of them: items that no pipeline could deliver, and requests that ended dead. docs/dead-letters.md has
the headers, and how `scrapy dlq` reads and replays them.
"""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, ClassVar, Self
from weakref import WeakKeyDictionary

import structlog

from crawlers import metrics
from crawlers.exceptions import RejectedRecord, Undelivered
from crawlers.frontier.request_json import hash_of
from crawlers.items import PNG
from crawlers.masking.masking import Masking
from crawlers.sink_load import SinkLoad
from pipelines.claims.claims import Claims
from pipelines.delivery import Delivery
from pipelines.letter import Letter, Wording
from pipelines.producer import Record

if TYPE_CHECKING:
    from collections.abc import Iterator

    from scrapy.crawler import Crawler

    from crawlers.failed_request import FailedRequest

log = structlog.get_logger("seine.dead_letter")

_LARGEST = 900_000
"""Bytes of a value; Kafka's clients send a million, headers included. A larger one is claimed, or leaves its hash."""
_PATIENCE = 2.0
"""Seconds that a letter may take; then the topic counts as not writable, and leasing pauses."""
_REFUSED_PAUSE = 5.0
"""Seconds that leasing pauses for where the broker refuses a letter whatever is in it."""


class DeadLetters:
    """Writes letters to KAFKA_TOPIC_DEAD_LETTERS. One whose topic cannot be written waits, and leasing with it."""

    _shared: ClassVar[WeakKeyDictionary[Crawler, DeadLetters]] = WeakKeyDictionary()

    def __init__(
        self,
        delivery: Delivery,
        load: SinkLoad,
        masking: Masking,
        topic: str,
        subject: str,
        spider: Any = None,
        claims: Claims | None = None,
    ):
        self._delivery = delivery
        self._claims = claims
        self._load = load
        self._topic = topic
        self._wording = Wording(masking, subject, spider)
        self._waiting = 0
        """Letters that have waited for too long."""

    @classmethod
    def of(cls, crawler: Crawler) -> Self | None:
        """The dead letters of `crawler`; None where no Kafka is configured."""
        settings = crawler.settings
        if not settings.get("KAFKA_BOOTSTRAP_SERVERS"):
            return None
        if crawler not in cls._shared:
            topic, subject = settings["KAFKA_TOPIC_DEAD_LETTERS"], settings["KAFKA_TOPIC_PRODUCTS"]
            parts = Delivery.of(crawler), SinkLoad.of(crawler), Masking.of(crawler)
            cls._shared[crawler] = cls(*parts, topic, subject, crawler.spider, Claims.of(crawler))
        return cls._shared[crawler]  # type: ignore[return-value]

    async def send(self, item: Any, error: Exception, stage: str) -> None:
        """Return when an item's letter is delivered. Raises Undelivered where the worker has to close first."""
        await self._write(self._wording.of_item(item, error, stage), stage)

    async def send_request(self, failed: FailedRequest) -> None:
        """The same for a request, whose screenshot is in the claim store before."""
        claim = None
        if failed.screenshot and self._claims is not None:
            claim = await self._claims.put(failed.screenshot, PNG)
        await self._write(self._wording.of_request(failed, claim), failed.stage)

    def take_screenshots(self, site: str) -> bool:
        """Whether there is a store for them, and no rule of `site` that would have to mask what they show."""
        return self._claims is not None and self._wording.may_show_pictures(site)

    @contextmanager
    def blocked(self) -> Iterator[None]:
        """They cannot be written: nothing more is leased meanwhile, and it is told."""
        with self._load.closed(self._topic):
            self._tell_blocked(1)
            try:
                yield
            finally:
                self._tell_blocked(-1)

    async def _write(self, letter: Letter, stage: str) -> None:
        """The one way out of letters, masked by then."""
        if len(letter.value) > _LARGEST:
            letter = await self._smaller(letter)
        try:
            await self._send(letter)
        except RejectedRecord as error:
            log.error("dead letter refused", error=str(error), bytes=len(letter.value))
            await self._insist(await self._smaller(letter))
        metrics.DEAD_LETTERS.labels(stage).inc()

    async def _smaller(self, letter: Letter) -> Letter:
        """Its value's claim check; without a store for those, its hash, its size and its address."""
        if self._claims is None:
            return letter.holding(hash_of(letter.value))
        claim = await self._claims.put(letter.value, letter.headers["content-type"])
        return letter.holding(asdict(claim), ce_dataref=claim.uri)

    async def _send(self, letter: Letter) -> None:
        """Deliver it; while that takes too long, nothing more is leased."""
        key, headers = letter.record
        record = Record(self._topic, key, letter.value, headers, letter.item)
        sending = asyncio.ensure_future(self._delivery.send(record))
        try:
            done, _ = await asyncio.wait([sending], timeout=_PATIENCE)
            if done:
                return sending.result()
            with self.blocked():
                await sending
        finally:
            sending.cancel()

    async def _insist(self, letter: Letter) -> None:
        """Where the broker refuses even this, the topic is not as it must be: pause, and let the request come again."""
        try:
            await self._send(letter)
        except RejectedRecord as error:
            log.error("dead letter refused: leasing pauses", topic=self._topic, error=str(error))
            with self._load.closed(self._topic):
                await asyncio.sleep(_REFUSED_PAUSE)
            raise Undelivered(f"{self._topic} takes no dead letter: {error}") from None

    def _tell_blocked(self, by: int) -> None:
        self._waiting += by
        metrics.DEAD_LETTERS_BLOCKED.set(self._waiting)
        if by > 0 and self._waiting == 1:
            log.error("dead letters cannot be written: leasing pauses", topic=self._topic)
        elif not self._waiting:
            log.info("dead letters are written again", topic=self._topic)
