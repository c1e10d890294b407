"""Dead letters: what cannot be delivered keeps its bytes and its reason in a topic of its own.

One topic for all of them: items that no pipeline could deliver, and requests that ended dead. docs/dead-letters.md has
the headers, and how `scrapy dlq` reads and replays them.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self
from weakref import WeakKeyDictionary

import msgspec
import structlog
from itemadapter import ItemAdapter

from crawlers import metrics
from crawlers.domains import domain_of
from crawlers.exceptions import RejectedRecord, Undelivered
from crawlers.frontier.request_json import form_of, hash_of, without_bytes
from crawlers.masking.masking import Masking
from crawlers.outcomes import CURRENT
from crawlers.sink_load import SinkLoad
from pipelines.claims.claims import Claims
from pipelines.delivery import Delivery
from pipelines.producer import Record
from pipelines.schemas import committed_versions

if TYPE_CHECKING:
    from collections.abc import Iterator

    from scrapy.crawler import Crawler

    from crawlers.failed_request import FailedRequest
    from crawlers.masking.masker import Masker

log = structlog.get_logger("seine.dead_letter")

ITEM, REQUEST = "item", "request"
"""Kinds of letters: what their value is."""
MESSAGE = "__connect.errors.exception.message"
_CLASS = "__connect.errors.exception.class.name"
_LARGEST = 900_000
"""Bytes of a value; Kafka's clients send a million, headers included. A larger one is claimed, or leaves its hash."""
_LONGEST_TEXT = 8192
_PATIENCE = 2.0
"""Seconds that a letter may take; then the topic counts as not writable, and leasing pauses."""
_REFUSED_PAUSE = 5.0
"""Seconds that leasing pauses for where the broker refuses a letter whatever is in it."""
_OF_ITEM = ("url", "site", "crawl_id", "record_id", "spider")
"""Fields of an item that its letter tells; what it lacks is told of its request."""
_JSON, _BYTES = "application/json", "application/octet-stream"

_encode = msgspec.json.Encoder(enc_hook=repr).encode


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter before it is written."""

    key: str
    value: bytes
    headers: dict[str, Any]
    """By name; those that are None or '' are left out."""
    item: Any = None

    @property
    def record(self) -> tuple[bytes, list[tuple[str, bytes]]]:
        """(key, headers) as bytes."""
        texts = ((name, str(value)) for name, value in self.headers.items() if value not in (None, ""))
        return _bytes_of(self.key), [(name, _bytes_of(text)) for name, text in texts]


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
        self._masking = masking
        self._spider = spider
        self._load = load
        self._topic = topic
        self._subject = subject
        self._version = max(committed_versions("products"))
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
        await self._write(self._of_item(item, error, stage), stage)

    async def send_request(self, failed: FailedRequest) -> None:
        """The same for a request."""
        await self._write(self._of_request(failed), failed.stage)

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
        about = {"url": _cut(letter.headers.get("url"))}
        if self._claims is None:
            return replace(letter, value=_encode({**hash_of(letter.value), **about}))
        claim = await self._claims.put(letter.value, letter.headers["content-type"])
        headers = {**letter.headers, "ce_dataref": claim.uri}
        return replace(letter, value=_encode({**asdict(claim), **about}), headers=headers)

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

    # --- What a letter says

    def _of_item(self, item: Any, error: Exception, stage: str) -> Letter:
        fields = ItemAdapter(item).asdict() if ItemAdapter.is_item(item) else {"item": item}
        origin = {"spider": getattr(self._spider, "name", ""), "crawl_id": getattr(self._spider, "crawl_id", "")}
        origin |= _origin()
        message = str(error)
        if (masker := self._masking.of_site(str(fields.get("site") or origin.get("site") or ""))) is not None:
            fields, message = masker.mapping(fields), masker.text(message)
            origin |= {"url": masker.url(str(origin.get("url") or ""))}
        told = {name: value for name in _OF_ITEM if (value := fields.get(name))}
        value = _json_of(fields)
        what = told.get("record_id") or f"{origin.get('url', '')} {hashlib.sha256(value).hexdigest()}"
        headers = {
            **self._about(ITEM, stage, type(error).__name__, message),
            **origin,
            **told,
            "letter_id": _letter_id(ITEM, what, stage, origin["death"], origin["replays"]),
            "schema_subject": f"{self._subject}-value",
            "schema_version": self._version,
            "domain": domain_of(str(told.get("url") or origin.get("url") or "")),
        }
        key = "/".join(str(fields.get(name) or "") for name in ("site", "identity"))
        return Letter(key, value, headers, item)

    def _of_request(self, failed: FailedRequest) -> Letter:
        masker = self._masking.of_site(failed.site)
        value, kind, is_masked = _request_value(failed, masker)
        url, why = (failed.url, failed.why) if masker is None else (masker.url(failed.url), masker.text(failed.why))
        headers = {
            **self._about(REQUEST, failed.stage, failed.reason, why),
            "content-type": kind,
            "masked": "1" if is_masked else "",
            "letter_id": _letter_id(REQUEST, failed.crawl, failed.spider, failed.id.hex(), failed.death),
            "attempt": failed.attempt,
            "death": failed.death,
            "replays": failed.death - 1,
            "request_id": failed.id.hex(),
            "budget": failed.budget,
            "domain": failed.domain,
            "url": url,
            "site": failed.site,
            "crawl_id": failed.crawl,
            "spider": failed.spider,
        }
        return Letter(f"{failed.site or failed.domain}/{url}", value, headers)

    def _about(self, kind: str, stage: str, error: str, message: str) -> dict[str, Any]:
        return {
            "__connect.errors.topic": self._subject,
            "__connect.errors.stage": stage.upper(),
            _CLASS: error,
            MESSAGE: message,
            "kind": kind,
            "stage": stage,
            "error": error,
            "content-type": _JSON,
        }


def _origin() -> dict[str, Any]:
    """Of the request that is being worked on, or of the letter that is being replayed, as headers."""
    current = CURRENT.get()
    if current is None:
        return {"attempt": 1, "death": 1, "replays": 0}
    if current.letter is not None:
        return {**current.letter, "replays": current.letter["replays"] + 1}
    lease, request = current.lease, current.request
    if lease is None:
        retried = int(request.meta.get("retry_times", 0)) if request is not None else 0
        return {"url": getattr(request, "url", ""), "attempt": 1 + retried, "death": 1, "replays": 0}
    return {
        "url": getattr(request, "url", ""),
        "attempt": lease.attempts + 1,
        "death": lease.revived + 1,
        "replays": lease.revived,
        "request_id": lease.id.hex(),
        "budget": lease.domain,
    }


def _request_value(failed: FailedRequest, masker: Masker | None) -> tuple[bytes, str, bool]:
    """(value, content type, whether it is not the request as it was): JSON; the bytes of what is no request."""
    try:
        form = form_of(failed.data) if failed.data else {"url": failed.url, "unstorable": True}
    except ValueError:
        if masker is None:
            return failed.data, _BYTES, False
        return _json_of(hash_of(failed.data)), _JSON, True  # nobody knows what is in there
    if masker is None:
        return _json_of(form), _JSON, False
    masked = masker.mapping(without_bytes(form))
    return _json_of(masked), _JSON, masked != form


def _letter_id(*parts: object) -> str:
    """The same for the same death, however often its letter is written."""
    return hashlib.sha256("|".join(map(str, parts)).encode("utf-8", "backslashreplace")).hexdigest()[:32]


def _json_of(fields: dict[str, Any]) -> bytes:
    """Whatever is in them: what does not fit its schema must fit its letter."""
    try:
        return _encode(fields)
    except UnicodeEncodeError:  # half of a surrogate pair, which JSON can escape and UTF-8 cannot hold
        return json.dumps(fields, default=str, skipkeys=True).encode()
    except (TypeError, ValueError, RecursionError):
        return json.dumps({"item": repr(fields)}).encode()


def _cut(text: Any) -> str:
    return str(text or "")[:_LONGEST_TEXT]


def _bytes_of(text: str) -> bytes:
    return _cut(text).encode("utf-8", "replace")
