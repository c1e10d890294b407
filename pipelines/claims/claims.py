"""Stores large fields and gives their claim checks; while the store is away, the fields wait."""

from __future__ import annotations

import asyncio
import hashlib
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar
from weakref import WeakKeyDictionary

import structlog

from crawlers import metrics
from crawlers.exceptions import StartupError, Undelivered
from crawlers.items import ClaimCheck
from crawlers.outcomes import traced_step
from crawlers.sink_load import SinkLoad
from pipelines.claims.address import HdfsAddress, read_address
from pipelines.claims.breaker import CircuitBreaker
from pipelines.claims.files import Files, StoreAway
from pipelines.claims.kerberos import negotiator
from pipelines.claims.layout import blob_path
from pipelines.claims.local_files import LocalFiles
from pipelines.claims.store import ClaimStore
from pipelines.producer import is_closing

if TYPE_CHECKING:
    from scrapy.crawler import Crawler

T = TypeVar("T")

log = structlog.get_logger("seine.claims")

_PASSES_BY_ITSELF = ("standby", "safe mode", "full")
"""What does not stop a start: a cluster that is there takes uploads sooner or later, and items wait for it."""
_LOOK_SECONDS = 0.1


class Claims:
    """Uploads of one worker: a few at a time, each tried until it succeeds or the worker gives up."""

    _shared: ClassVar[WeakKeyDictionary[Crawler, Claims]] = WeakKeyDictionary()

    def __init__(
        self,
        store: ClaimStore,
        base: str,
        *,
        concurrency: int = 8,
        timeout: float = 60.0,
        drain_seconds: float = 60.0,
        closing: Callable[[], bool] = lambda: False,
        load: SinkLoad | None = None,
        longest_pause: float = 10.0,
    ):
        self._store = store
        self._base = base
        self._slots = asyncio.Semaphore(concurrency)
        self._timeout = timeout
        self._drain_seconds = drain_seconds
        self._closing = closing
        self._load = load or SinkLoad(sys.maxsize, sys.maxsize)
        self._breaker = CircuitBreaker(self._away, self._back, longest=longest_pause)
        self._limits: set[asyncio.Timeout] = set()
        self._deadline: float | None = None
        self._watch: asyncio.Task[None] | None = None

    @classmethod
    def of(cls, crawler: Crawler) -> Claims | None:
        """The one of `crawler`'s process; None where CLAIM_CHECK_URL is unset. Raises UserError where it is wrong."""
        settings: Any = crawler.settings
        if not settings.get("CLAIM_CHECK_URL"):
            return None
        if crawler not in cls._shared:
            cls._shared[crawler] = cls(
                ClaimStore(files_of(settings)),
                consumer_base(settings),
                concurrency=settings.getint("CLAIM_CHECK_CONCURRENCY"),
                timeout=settings.getfloat("CLAIM_CHECK_TIMEOUT"),
                drain_seconds=settings.getfloat("CLAIM_CHECK_DRAIN_TIMEOUT"),
                closing=lambda: is_closing(crawler),
                load=SinkLoad.of(crawler),
            )
        return cls._shared[crawler]

    async def put(
        self, data: bytes, content_type: str | None = None, content_encoding: str | None = None
    ) -> ClaimCheck:
        """The claim of `data`, which is durable on return. Raises Undelivered where the worker had to close first."""
        started = time.monotonic()
        in_flight = metrics.CLAIMS_IN_FLIGHT.track_inprogress()
        with in_flight, self._load.track(len(data)), traced_step("claim", **{"seine.bytes": len(data)}):
            sha256 = await asyncio.to_thread(lambda: hashlib.sha256(data).hexdigest())
            is_new = await self._persist(lambda: self._store.put(sha256, data))
        metrics.CLAIMS.labels("stored" if is_new else "known").inc()
        metrics.CLAIM_BYTES.inc(len(data) if is_new else 0)
        metrics.CLAIM_SECONDS.observe(time.monotonic() - started)
        return ClaimCheck(
            uri=f"{self._base}/{blob_path(sha256)}",
            sha256=sha256,
            size=len(data),
            content_type=content_type,
            content_encoding=content_encoding,
        )

    async def renew(self, sha256: str) -> bool:
        """Whether a blob that an item refers to already is there; it is kept as if it were new."""
        return await self._persist(lambda: self._store.touch(sha256))

    async def close(self) -> None:
        """Let go of connections; nothing may be in flight."""
        await self._store.files.close()

    async def _persist(self, work: Callable[[], Awaitable[T]]) -> T:
        async with self._until_given_up(), self._slots:
            while True:
                try:
                    return await self._breaker.call(lambda: self._in_time(work))
                except StoreAway as error:
                    metrics.CLAIM_RETRIES.labels(error.reason).inc()

    async def _in_time(self, work: Callable[[], Awaitable[T]]) -> T:
        try:
            async with asyncio.timeout(self._timeout):
                return await work()
        except TimeoutError:
            raise StoreAway("timeout", f"not done within {self._timeout:g} s") from None

    @asynccontextmanager
    async def _until_given_up(self) -> AsyncIterator[None]:
        """Raise Undelivered where a closing worker has waited for CLAIM_CHECK_DRAIN_TIMEOUT."""
        try:
            async with asyncio.timeout_at(self._deadline) as limit:
                self._limits.add(limit)
                self._start_watch()
                try:
                    yield
                finally:
                    self._limits.discard(limit)
        except TimeoutError:
            raise Undelivered(f"the claim store took nothing within {self._drain_seconds:g} s") from None

    def _start_watch(self) -> None:
        if self._watch is None or self._watch.done():
            self._watch = asyncio.create_task(self._give_up_in_time())

    async def _give_up_in_time(self) -> None:
        """While anything is in flight, look whether the worker closes; no signal tells it early enough."""
        while self._limits and self._deadline is None:
            if self._closing():
                self._deadline = asyncio.get_running_loop().time() + self._drain_seconds
                for limit in self._limits:
                    limit.reschedule(self._deadline)
            await asyncio.sleep(_LOOK_SECONDS)

    def _away(self, error: StoreAway) -> None:
        metrics.CLAIMS_AWAY.set(1)
        log.error("claims away", reason=error.reason, error=str(error), in_flight=len(self._limits))

    def _back(self) -> None:
        metrics.CLAIMS_AWAY.set(0)
        log.info("claims back", in_flight=len(self._limits))


def files_of(settings: Any) -> Files:
    """The file system that CLAIM_CHECK_URL names."""
    address = read_address(settings["CLAIM_CHECK_URL"])
    if not isinstance(address, HdfsAddress):
        return LocalFiles(address)
    from pipelines.claims.webhdfs import WebHdfs

    return WebHdfs(
        address,
        settings["CLAIM_CHECK_USER"],
        settings.getfloat("CLAIM_CHECK_TIMEOUT"),
        negotiator() if settings.getbool("CLAIM_CHECK_KERBEROS") else None,
    )


def consumer_base(settings: Any) -> str:
    """What the URIs in records start with."""
    return str(settings.get("CLAIM_CHECK_CONSUMER_URL") or settings["CLAIM_CHECK_URL"]).rstrip("/")


async def check_store(settings: Any) -> None:
    """Raise StartupError where the store cannot be used, and that will not pass by itself."""
    files = files_of(settings)
    try:
        await files.check()
    except StoreAway as error:
        if error.reason not in _PASSES_BY_ITSELF:
            where = f"{settings['CLAIM_CHECK_URL']} (CLAIM_CHECK_URL)"
            hint = "" if error.reason == "denied" else ". On a laptop: scrapy stack up"
            raise StartupError(f"the claim store does not take anything at {where}: {error}{hint}") from None
        log.warning("claims away", reason=error.reason, error=str(error))
    finally:
        await files.close()
