"""The frontier as a Scrapy scheduler: the engine enqueues and asks for requests, and never waits for Redis.

A request that the engine took is a lease. RequestOutcomes, which sees the end of every request, says what became of it.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Self

import structlog
from scrapy import Request, signals
from scrapy.core.scheduler import BaseScheduler
from scrapy.exceptions import CloseSpider
from scrapy.http import Response
from scrapy.utils.defer import deferred_from_coro
from scrapy.utils.misc import load_object
from twisted.python.failure import Failure

from crawlers import metrics
from crawlers.browser_rules import AGAIN
from crawlers.budgets import budget_of, budgets_of, site_of
from crawlers.changes.gone import GoneProducts
from crawlers.changes.memory import ProductMemory
from crawlers.changes.options import emits_changes
from crawlers.changes.pages import without_conditions
from crawlers.changes.visits import Visits
from crawlers.domains import domain_of
from crawlers.exceptions import SeineError, StartupError, UserError
from crawlers.extensions.outcomes import RequestOutcomes
from crawlers.extensions.tracing import Tracing
from crawlers.frontier.codec import Unstorable
from crawlers.frontier.connection import AWAY, Servers, refusal
from crawlers.frontier.control import Control
from crawlers.frontier.crawls import Definition
from crawlers.frontier.definitions import definition_of, definition_of_named
from crawlers.frontier.downloader import LONGEST_WAY
from crawlers.frontier.frontier import Frontier
from crawlers.frontier.intake import Intake
from crawlers.frontier.keys import Keys
from crawlers.frontier.leases import Lease
from crawlers.frontier.letters import LetterWriter
from crawlers.frontier.options import FrontierOptions
from crawlers.frontier.pushes import PushedUrls
from crawlers.frontier.retrying import RetryPolicy, is_counted, retry_after
from crawlers.frontier.seeding import Seeding
from crawlers.frontier.sending import NotLeased
from crawlers.frontier.site_limits import tell_limits
from crawlers.frontier.waiting import NextCrawl
from crawlers.logs import bind_process
from crawlers.monitors import telling
from crawlers.monitors.counting import notes_of
from crawlers.monitors.fleet import FleetMonitors
from crawlers.outcomes import CURRENT, RequestRecord
from crawlers.robots.fetching import ROBOTS_TXT
from crawlers.robots.reducing import EVERYBODY
from crawlers.sink_load import SinkLoad
from pipelines.dead_letter import DeadLetters
from pipelines.topics import products_topic

if TYPE_CHECKING:
    from collections.abc import Awaitable, Coroutine

    from scrapy import Spider
    from scrapy.crawler import Crawler
    from twisted.internet.defer import Deferred

    from crawlers.changes.topic import Topic
    from crawlers.frontier.crawls import Crawls

log = structlog.get_logger("seine.frontier")

_WATCH = 1.0
"""Seconds between two looks at the crawl's state when nothing happens."""
_LOOK = 0.5
"""Seconds between two looks for pushed URLs."""
_SUMMING_UP = 5.0
"""Seconds that a closing worker gives Redis to tell the crawl's totals."""
_GAPS = 2.0
"""Between two crawls of a site: a page may come at the beginning of the one and at the end of the other."""
_PAUSE = 0.05
"""Seconds until a crawl that was not complete is asked again."""


class FrontierScheduler(BaseScheduler):
    """Joins the crawl, hands out its leases, and takes what the spider finds into the frontier."""

    def __init__(self, crawler: Crawler):
        self._crawler = crawler
        settings = crawler.settings
        self._options = FrontierOptions.from_settings(settings)
        self._servers = Servers.from_settings(settings)
        self._policy = RetryPolicy(settings)
        self._longest_wait = settings.getfloat("RETRY_AFTER_LONGEST")
        self._longest_crawl_delay = settings.getfloat("CRAWL_DELAY_LONGEST")
        self._load = SinkLoad.of(crawler)
        self._exactly_once: Any = None
        self._letters: LetterWriter | None = None
        self._monitors: FleetMonitors | None = None
        self._monitored: frozenset[str] = frozenset()
        """The sites whose products are counted in this crawl."""
        self._visits = Visits.of(crawler) if emits_changes(settings) else None
        self._leases: dict[Request, Lease] = {}
        self._ending: str | None = None
        """Why this worker ends, once the crawl has nothing more for it."""
        self._has_explained = False
        self._tasks: list[asyncio.Task[None]] = []
        self._end: asyncio.Task[None] | None = None
        self._seeder: asyncio.Task[None] | None = None

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Self:
        scheduler = cls(crawler)
        crawler.signals.connect(scheduler._engine_started, signal=signals.engine_started)
        crawler.signals.connect(scheduler._spider_idle, signal=signals.spider_idle)
        crawler.signals.connect(scheduler._robots_parsed, signal=signals.robots_parsed)
        return scheduler

    # --- Life

    def open(self, spider: Spider) -> Deferred[None]:
        assert self._crawler.engine is not None
        self._crawler.engine._start = None  # the frontier seeds the crawl, once for all workers
        return deferred_from_coro(self._open_or_end(spider))

    async def _open_or_end(self, spider: Spider) -> None:
        """Where there is no start, end at once: raised here, an error would meet an engine that is half open."""
        try:
            await self._open(spider)
        except (*AWAY, SeineError) as error:
            why = error if isinstance(error, SeineError) else refusal(self._servers, error)
            self._ending = "start_error"
            self._crawler.stats.set_value("startup_error", why)  # type: ignore[union-attr]

    async def _open(self, spider: Spider) -> None:
        settings = self._crawler.settings
        self._spider = spider
        self._keys = Keys(settings["FRONTIER_NAMESPACE"], spider.name, settings.getint("FRONTIER_SHARDS"))
        self._intake = Intake(self._crawler, self._keys)
        self.control = Control(self._servers, self._keys)
        crawls = await self.control.open()
        if settings.getbool("MONITORS"):
            known = getattr(spider, "targets", None)
            self._monitors = FleetMonitors(settings, self.control, known.sites if known else {})
        if settings.getbool("CRAWL_OPEN"):
            await self._open_crawl(crawls)
        else:
            self._rest()
        worker = self.frontier.worker
        self._pushed = PushedUrls(self._servers, settings, spider.name, worker, self._options.lease_ms)
        await self._pushed.open()
        assert self._crawler.engine is not None
        slot = self._crawler.engine._slot
        assert slot is not None
        close = slot.close

        async def drain_and_close() -> None:
            self.frontier.drain()
            self._start(self._give_up_in_time())
            await close()

        slot.close = drain_and_close  # type: ignore[method-assign]

    async def _open_crawl(self, crawls: Crawls) -> None:
        """Work on the crawl that was asked for: an open one, else a new one."""
        settings, spider = self._crawler.settings, self._spider
        name = settings.get("FRONTIER_CRAWL_ID") or ""
        definition = await definition_of_named(crawls, name, spider) or definition_of(spider)
        depth_first = settings["FRONTIER_ORDER"] == "depth"
        crawl, opened = await crawls.open(
            definition,
            name,
            depth_first=depth_first,
            overlap=settings["CRAWL_OVERLAP"],
            starting_ms=self._options.lease_ms,
        )
        log.info("crawl opened" if opened else "crawl joined", crawl=crawl, definition=definition.text)
        await self._join(crawl, definition)
        await self.control.ask(lambda crawls: crawls.started(crawl))

    def _rest(self) -> None:
        """Work on no crawl, until there is one to join."""
        name = self._crawler.settings.get("WORKER_ID")
        self.frontier = Frontier(self._servers, self._keys, "", self._options, self._wake, name)

    def _engine_started(self) -> None:
        """Seed, and watch; from here on the engine takes requests."""
        if self._ending is not None:
            return
        if self.frontier.crawl:
            self._begin_seeding()
        self._start(self._take_pushed())
        if self._letters is not None:
            self._start(self._letters.run())
        self._start(self._watch())
        if self._monitors is not None:
            self._start(self._monitors.judge_left())

    def _start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        task.add_done_callback(self._ended_task)
        self._tasks.append(task)
        return task

    def _ended_task(self, task: asyncio.Task[None]) -> None:
        """Without one of them this worker would wait for ever: it ends, and what it holds is somebody else's."""
        if task.cancelled() or (error := task.exception()) is None:
            return
        log.error("frontier failed", exc_info=error)
        self._fail("frontier_error")

    def _fail(self, reason: str) -> None:
        """This worker cannot go on; one that has not begun yet ends as soon as it has."""
        self._ending = reason
        if self._is_running() and self._end is None:
            # Not one of the tasks, which closing cancels.
            self._end = asyncio.create_task(self._crawler.engine.close_spider_async(reason=reason))  # type: ignore[union-attr]

    async def _join(self, crawl: str, definition: Definition) -> None:
        """Work on `crawl` from now on."""
        settings = self._crawler.settings
        await self._check_kept(crawl)
        if hasattr(self._spider, "seeded_sites"):
            self._spider.seeded_sites = None if definition.urls else frozenset(definition.sites)
            self._spider.follows_strangers = definition.is_of_list  # type: ignore[attr-defined]
            self._spider.follows = definition.follow  # type: ignore[attr-defined]
        self._monitored = frozenset(definition.sites) if self._monitors is not None else frozenset()
        self._intake.fingerprint_by(definition.formula)
        self._spider.crawl_id = crawl  # type: ignore[attr-defined]
        bind_process(crawl_id=crawl)
        self.frontier = Frontier(self._servers, self._keys, crawl, self._options, self._wake, settings.get("WORKER_ID"))
        self.frontier.may_lease = self._may_lease
        self.frontier.free_places = self._free_places
        metrics.LEASES_HELD.set_function(lambda: len(self.frontier.held))
        metrics.LEASES_WAITING.set_function(lambda: self.frontier.untaken)
        if hasattr(self._spider, "is_known"):
            self._spider.is_known = self.frontier.is_known
        if (letters := DeadLetters.of(self._crawler)) is not None and self._letters is None:
            self._letters = LetterWriter(
                self.control,
                letters,
                self._spider.name,
                self._options.lease_ms,
                self._crawler.get_extension(Tracing),
            )
            await self._letters.join(self.frontier)
            if self._is_running():
                self._start(self._letters.run())
        elif self._letters is not None:
            await self._letters.join(self.frontier)
        self._gone, self._scope = None, ""
        memory, gone_after = ProductMemory.of(self._crawler), settings.getint("CHANGES_GONE_AFTER")
        if self._visits is None:
            memory.outdated = await memory.topic_id(settings["KAFKA_TOPIC_PRODUCTS"])
        else:
            await self._remember(memory)
        if self._visits is not None and hasattr(self._spider, "parse_gone") and definition.sites:
            known = self._spider.targets.sites  # type: ignore[attr-defined]
            sites, self._scope = {name: budgets_of(known[name]) for name in definition.sites}, memory.topic.id
            self._gone = GoneProducts(memory, self.control, self.frontier, sites, gone_after, self._intake.of_gone)
        connections = await self.control.connect()
        targets = getattr(self._spider, "targets", None)
        await tell_limits(targets.sites.values() if targets else (), self._keys, connections)
        await self.frontier.open(connections)
        if self._options.slots:
            kind = load_object(settings["EXACTLY_ONCE"])
            self._exactly_once = kind(self._crawler, self._servers, self.frontier, lambda: self._fail("delivery_error"))
            self._exactly_once.open()

    async def _remember(self, memory: ProductMemory) -> None:
        """Products are compared with what is remembered of the topic as it is now, which may have been made anew."""
        await memory.begin(await self._topic())
        targets = getattr(self._spider, "targets", None)
        intervals = {site.name: site.interval for site in targets.sites.values()} if targets else {}
        for site, gap in (await self.control.ask(lambda crawls: crawls.longest_gaps())).items():
            intervals[site] = max(intervals.get(site, 0.0), _GAPS * gap)
        memory.intervals = intervals

    async def _topic(self) -> Topic:
        """What Kafka says of the products' topic; without Kafka a start fails, and a worker that is at work waits."""
        while True:
            try:
                return await asyncio.to_thread(products_topic, self._crawler.settings)
            except StartupError as error:
                if not self._is_running():
                    raise
                log.warning("topic cannot be described", error=str(error))
                await asyncio.sleep(_WATCH)

    async def _check_kept(self, crawl: str) -> None:
        """A crawl keeps what its first worker does: two deliveries at once would deliver records twice, and what one
        worker remembers another would not compare.
        """
        delivery = "exactly_once" if self._options.slots else "at_least_once"
        first = await self.control.ask(lambda crawls: crawls.kept(crawl, "delivery", delivery))
        if first != delivery:
            raise UserError(f"crawl {crawl} delivers {first.replace('_', ' ')}: set KAFKA_DELIVERY={first}")
        emit = str(self._crawler.settings["EMIT"])
        if (first := await self.control.ask(lambda crawls: crawls.kept(crawl, "emit", emit))) != emit:
            raise UserError(f"crawl {crawl} was begun with EMIT={first}: set EMIT={first}")

    def close(self, reason: str) -> Deferred[None]:
        return deferred_from_coro(self._close())

    async def _close(self) -> None:
        for task in self._tasks:
            task.cancel()
        if self._ending == "start_error":
            if self._exactly_once is not None:
                await self._exactly_once.close(0)
            return
        if self._exactly_once is not None and not await self._exactly_once.close(self._options.drain_seconds):
            log.error("left without Kafka: what is not committed returns by itself")
        if not await self.frontier.close(self._options.drain_seconds):
            held = len(self.frontier.held)
            log.error("left without Redis: leases return by themselves", held=held, seconds=self._options.lease_seconds)
        await self._sum_up()
        await self._pushed.close()
        await ProductMemory.of(self._crawler).close()
        await self.control.close()

    async def _sum_up(self) -> None:
        """Leave the crawl's outcomes, of all workers, to the summary."""
        try:
            async with asyncio.timeout(_SUMMING_UP):
                totals = await self.control.ask(lambda crawls: crawls.totals(self.frontier.crawl))
        except TimeoutError:
            return
        assert self._crawler.stats is not None
        for term, number in totals.right_side.items():
            if number:
                self._crawler.stats.set_value(f"frontier/{term}", number)

    async def _give_up_in_time(self) -> None:
        """A closing worker's downloads may last; past the grace period their requests are somebody else's."""
        await asyncio.sleep(self._options.drain_seconds)
        assert self._crawler.engine is not None
        slot = self._crawler.engine._slot
        assert slot is not None
        log.warning("grace period over: unfinished requests return", requests=len(slot.inprogress))
        for lease in list(self._leases.values()):
            if not lease.settled:
                self.frontier.release(lease)
        for request in list(slot.inprogress):
            slot.remove_request(request)

    # --- Seeding and the end

    def _begin_seeding(self) -> None:
        self._seeding = Seeding(self._crawler, self.control, self._options.lease_ms)
        self._seeder = self._start(self._seed())

    async def _seed(self) -> None:
        try:
            await self._seeding.run(self.frontier)
        except Exception:
            log.exception("seeding failed")
            self._fail("seeding_error")

    async def _take_pushed(self) -> None:
        """Pushed URLs become seeds; they leave their list when the frontier has them."""
        request_for = getattr(self._spider, "request_for", Request)
        while True:
            if self.frontier.states != {"running"} or not self._is_running():
                await asyncio.sleep(_LOOK)
                continue
            requests = await self._pushed.claim(request_for)
            for request in requests:
                request.meta["is_start_request"] = True
                self._crawler.engine.crawl(request)  # type: ignore[union-attr]
            await self.frontier.all_confirmed()
            if self.frontier.is_over:
                await self._pushed.give_back()
            elif requests:
                await self._pushed.done()
            if not requests:
                await asyncio.sleep(_LOOK)

    async def _watch(self) -> None:
        """End this worker, or begin with the next crawl, when the crawl is complete, drained or gone."""
        while self._ending is None:
            await self.frontier.changed(_WATCH)
            ending = await self._find_ending()
            waits = self._crawler.settings.getbool("FRONTIER_WAIT")
            if ending == "finished" and self._monitors is not None and self._monitored:
                await self._judge(self._monitors, waits=waits)
            if ending == "finished" and waits:
                await self._begin_next()
            else:
                self._ending = ending
        self._wake()

    async def _judge(self, monitors: FleetMonitors, *, waits: bool) -> None:
        """A worker that ends stays until the crawl is judged; one that waits for the next crawl need not be held up."""
        judging = monitors.judge(self.frontier.crawl)
        if waits:
            self._start(_result_unused(judging))
        else:
            telling.count(self._crawler.stats, await judging)

    async def _find_ending(self) -> str | None:
        states = self.frontier.states
        if "gone" in states:
            return "crawl gone"
        if states == {"complete"}:
            return "finished"
        if "draining" in states and not self.frontier.held and self.frontier.quiet:
            return "drained"
        if not self.frontier.exhausted or not self._seeding.is_sure(self.frontier):
            return None
        if not await self._pushed.is_empty() or (self._gone is not None and await self._gone.tell()):
            return None
        keep = self._crawler.settings.getint("FRONTIER_KEEP_SECONDS")
        is_judged = bool(self._monitored)
        if await self.control.ask(lambda crawls: crawls.complete(self.frontier.crawl, keep, is_judged=is_judged)):
            return "cancelled" if "cancelled" in states else "finished"
        if self._letters is None:
            await self._explain_waiting()
        await asyncio.sleep(_PAUSE)
        return None

    async def _explain_waiting(self) -> None:
        """A worker without Kafka may find that a crawl waits for what it cannot do."""
        totals = await self.control.ask(lambda crawls: crawls.totals(self.frontier.crawl))
        if totals.letters and not self._has_explained:
            self._has_explained = True
            log.error(
                "the crawl waits for dead letters to be written: start a worker with KAFKA_BOOTSTRAP_SERVERS",
                letters=totals.letters,
            )

    async def _begin_next(self) -> None:
        if self.frontier.crawl:
            log.info("crawl complete: waiting for the next", crawl=self.frontier.crawl)
        else:
            log.info("waiting for a crawl to join")
        if self._exactly_once is not None:
            await self._exactly_once.close(self._options.drain_seconds)
            self._exactly_once = None
        await self.frontier.close(self._options.drain_seconds)
        targets = getattr(self._spider, "targets", None)
        sites, takes_lists = targets.sites if targets else {}, targets is None or targets.by_default
        crawl, definition = await NextCrawl(self.control, self._pushed, sites, takes_lists=takes_lists).wait()
        log.info("next crawl", crawl=crawl, definition=definition.text)
        await self._join(crawl, definition)
        if self._seeder is not None:
            self._seeder.cancel()
        self._begin_seeding()

    def _spider_idle(self) -> None:
        if self._ending not in (None, "finished"):
            raise CloseSpider(self._ending)

    def _may_lease(self, shard: int) -> bool:
        if self._options.slots and (self._exactly_once is None or not self._exactly_once.may_lease(shard)):
            return False
        return self._load.has_room()

    def _free_places(self) -> int:
        downloader = self._crawler.engine.downloader  # type: ignore[union-attr]
        most = downloader.total_concurrency or self._options.prefetch
        return max(0, most - len(downloader.active))

    def _is_running(self) -> bool:
        engine = self._crawler.engine
        return engine is not None and engine.running and engine._slot is not None and engine._slot.closing is None

    def _wake(self) -> None:
        if self._is_running():
            self._crawler.engine._slot.nextcall.schedule()  # type: ignore[union-attr]

    # --- What the engine asks

    def has_pending_requests(self) -> bool:
        return self._ending is None

    def next_request(self) -> Request | None:
        while self._ending is None and (lease := self.frontier.take()):
            try:
                request = self._intake.codec.decode(lease.data)
            except Unstorable as error:
                self._tell_unreadable(lease, "corrupt request", str(error))
                self.frontier.settle(lease, "dead", "corrupt request")
                continue
            if lease.attempts:
                request.meta["retry_times"] = lease.attempts
            self._leases[request] = lease
            self._keep_distance(lease, request)
            return request
        return None

    def _tell_unreadable(self, lease: Lease, reason: str, error: str) -> None:
        if (outcomes := self._crawler.get_extension(RequestOutcomes)) is not None:
            outcomes.tell_unreadable(lease, reason, error)

    def _keep_distance(self, lease: Lease, request: Request) -> None:
        assert self._crawler.engine is not None
        self._crawler.engine.downloader.keep_distance(lease.domain, request.url, lease.delay)  # type: ignore[attr-defined]

    def enqueue_request(self, request: Request) -> bool:
        """False for a request that is known, or cannot be stored. It never raises: that would lose the parent."""
        record = CURRENT.get()
        parent = record.lease if record is not None else None
        try:
            return self._enqueue(request, record, parent)
        except Unstorable as error:
            log.error("request cannot be stored", error=str(error))
        except Exception:
            log.exception("request refused", url=request.url)
        if parent is not None and record is not None:
            record.error = "unstorable request"
        self.frontier.refuse("unstorable")
        return False

    def _enqueue(self, request: Request, record: RequestRecord | None, parent: Lease | None) -> bool:
        if record is not None and parent is not None and record.successor is request:
            if request.url in request.meta.get("redirect_urls", ()):
                return False
            if self._intake.fingerprint(request) == self._intake.fingerprint(record.request):
                if self._visits is not None:
                    without_conditions(request)
                record.rescheduled = self._intake.codec.encode(request)
                return True
        is_seed = bool(request.meta.get("is_start_request"))
        is_filtered = is_seed or not request.dont_filter
        is_plain = is_filtered and self._intake.is_plain(request)
        if is_plain and self.frontier.is_known(request.url):
            return False
        scope = self._scope_of(request) if is_plain and not is_seed else ""
        new = self._intake.new(request, is_seed=is_seed, is_filtered=is_filtered, scope=scope)
        self.frontier.enqueue(new, parent, request.url if is_plain else "")
        return True

    def _scope_of(self, request: Request) -> str:
        """Whose memory says whether a page of a site that is crawled is due."""
        site = site_of(request, self._spider) if self._gone is not None else None
        return f"{self._scope}:{site.name}" if site is not None and site.changes.max_interval else ""

    # --- What the downloader tells

    def lease_of(self, request: Request) -> Lease | None:
        """The lease that the engine's `request` is."""
        return self._leases.get(request)

    def lease_for(self, request: Request) -> Lease | None:
        """The lease that `request` is sent under: its own, or that of the one whose page it asks for once more, or for
        whose domain's robots.txt it asks.
        """
        asking = request.meta.get(ROBOTS_TXT)
        if asking is None:
            return self._leases.get(request.meta.get(AGAIN, request))
        lease, site = self._leases.get(asking.meta.get(AGAIN, asking)), site_of(asking, self._spider)
        budget = site.slot(request.url) if site is not None and site.owns(request.url) else domain_of(request.url)
        return lease if lease is not None and lease.domain == budget else None

    async def start_again(self, request: Request) -> None:
        """Return when `request`, whose lease's start has been used, is to be made ready. Raises as Frontier.start_again
        does.
        """
        if (lease := self.lease_for(request)) is not None:
            await self.frontier.start_again(lease)
            self._keep_distance(lease, request)

    def take_early(self, seconds: float) -> None:
        """That long a request takes from here to where it can be sent, lately."""
        self.frontier.early = min(seconds, LONGEST_WAY)

    def is_leased(self, request: Request) -> bool:
        """Whether `request` may be sent: it is this worker's, for all it knows, or none of the frontier's."""
        lease = self.lease_for(request)
        return lease is None or (not lease.lost and self.frontier.is_alive)

    def began(self, request: Request) -> None:
        """A request of a domain with a delay was sent."""
        if (lease := self.lease_for(request)) is not None:
            self.frontier.began(lease)

    def ended(self, lease: Lease, latency: float, verdict: int, wait: float) -> None:
        """A download is over: its domain has a place again, and its health is known better."""
        if not lease.settled:
            self.frontier.ended(lease, latency, verdict, wait)

    def _robots_parsed(self, robotparser: Any, request: Request) -> None:
        seconds = min(robotparser.crawl_delay(EVERYBODY) or 0.0, self._longest_crawl_delay)
        budget = budget_of(request, self._spider)
        self.frontier.crawl_delay(budget, domain_of(request.url), seconds)
        lease = self._leases.get(request)
        if seconds and lease is not None and lease.delay < seconds:
            assert self._crawler.engine is not None
            self._crawler.engine.downloader.keep_distance(budget, request.url, seconds)  # type: ignore[attr-defined]

    # --- What RequestOutcomes tells

    def retries(self, result: Response | Failure | Request, request: Request) -> str | None:
        """Why this result is not the request's last; it is then not worked on."""
        lease = self._leases.get(request)
        if lease is None or lease.settled:
            return None
        if isinstance(result, Failure) and result.check(NotLeased):
            return "not leased"
        reason = self._policy.reason(result, request)
        if not is_counted(result):
            return reason
        most = request.meta.get("max_retry_times")
        allowed = self._options.most_attempts if most is None else int(most) + 1
        return reason if reason and lease.attempts + 1 < min(allowed, self._options.most_attempts) else None

    def finished(self, request: Request, record: RequestRecord, outcome: str, reason: str, result: Any) -> None:
        """The request was worked on to its end, its items acknowledged."""
        lease = self._leases.pop(request, None)
        if lease is None or lease.settled:
            return
        notes = self._visits.end(request, record, outcome) if self._visits is not None else [*record.notes.values()]
        notes = [*notes, *notes_of(record, outcome, reason, self._monitored)]
        for why, count in record.middlewares.items():
            self.frontier.refuse(why, count)
        if outcome == "pending":
            self.frontier.release(lease)
        elif outcome == "retried":
            wait = retry_after(result, self._longest_wait)
            if is_counted(result):
                self.frontier.retry(lease, reason or "retried", wait, record.rescheduled)
            else:
                self.frontier.postpone(lease, wait)
        elif record.records:
            self._exactly_once.deliver(lease, outcome, reason, record.records, notes)
        else:
            letters = (record.fates["dead"] or 1) if outcome == "dead" and self._letters is not None else 0
            self.frontier.settle(lease, outcome, reason, letters=letters, notes=notes)


async def _result_unused(work: Awaitable[object]) -> None:
    await work
