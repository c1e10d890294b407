"""A worker's browsers: started when they are needed, shared by identity, watched, replaced, and killed by pid.

A page that fails with its browser is its frontier's to try again: nothing is rendered twice here.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from time import monotonic
from typing import TYPE_CHECKING

import structlog

from browser_pool.backend import Launch
from browser_pool.chromium import find_executable
from browser_pool.egress import NOWHERE
from browser_pool.errors import BrowserError, BrowserGone
from browser_pool.folder import PrivateFolder
from browser_pool.running import RunningBrowser, Tab
from crawlers import metrics
from crawlers.identity import Identity

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
    from typing import Any

    from browser_pool.backend import Backend, Drawing, PageTask, Rendered
    from browser_pool.egress import Egress
    from browser_pool.options import PoolOptions

log = structlog.get_logger("seine.browser")

WATCH_INTERVAL = 0.5
"""Seconds between two looks at the browsers' processes."""
_LEASES = 3
"""Browsers that are tried for a tab."""
_RENDERED = "rendered"
_OFFLINE = Identity("offline", proxy=NOWHERE)
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 30.0
"""Seconds until another launch is tried after one that failed; doubled each time."""


class BrowserPool:
    """Renders pages, as many at once as its options allow."""

    def __init__(self, backend: Backend, options: PoolOptions, egress: Egress):
        self.backend = backend
        self.egress = egress
        self._options = options
        self._executable = "" if options.remote else find_executable(options.executable)
        self._pages = options.pages if backend.shares_process else 1
        self._slots = asyncio.Semaphore(options.processes * self._pages)
        self._launching = asyncio.Lock()
        self._freed = asyncio.Event()
        self._running: list[RunningBrowser] = []
        self._ending: set[asyncio.Task[None]] = set()
        self._home: PrivateFolder | None = None
        self._watching: asyncio.Task[None] | None = None
        self._launches = 0
        self._pause = 0.0
        self._closing = asyncio.Event()

    def open(self) -> None:
        """Make the private folder, and watch from now on."""
        self._home = PrivateFolder(self._options.folder)
        self._watching = asyncio.ensure_future(self._watch())

    async def warm(self) -> None:
        """Start a browser ahead of the first page, where the backend's browsers are anybody's."""
        if self.backend.shares_process:
            with suppress(BrowserError):
                async with self._launching:
                    if not self._running:
                        await self._launch(None)

    async def render(
        self, task: PageTask, identity: Identity, depart: Callable[[], Awaitable[None]] | None = None
    ) -> Rendered:
        """The page of `task`, as `identity`; `depart` is awaited when a tab is there, right before it is asked.

        The task's time limit begins then. Raises BrowserError, and what `depart` raises.
        """
        async with self._tab(identity, _RENDERED) as (running, tab):
            if depart is not None:
                await depart()
            return await running.run(tab.page.render(task))

    async def draw(self, drawing: Drawing) -> bytes:
        """PNG of a document that is here already: nobody is asked for anything. Raises BrowserError."""
        async with self._tab(_OFFLINE, "drawn") as (running, tab):
            return await running.run(tab.page.draw(drawing))

    @asynccontextmanager
    async def _tab(self, identity: Identity, good_end: str) -> AsyncIterator[tuple[RunningBrowser, Tab]]:
        """A tab, counted as `good_end` where nothing goes wrong; one that has rendered is used again."""
        async with self._slots:
            running, tab = await self._lease(identity)
            began_at, end = monotonic(), "failed"
            metrics.BROWSER_BUSY.inc()
            try:
                yield running, tab
                end = good_end
            except BrowserError as error:
                end = type(error).__name__
                raise
            finally:
                metrics.BROWSER_BUSY.dec()
                metrics.BROWSER_PAGES.labels(self.backend.name, end).inc()
                metrics.BROWSER_SECONDS.observe(monotonic() - began_at)
                await self._give_back(running, tab, is_usable=end == _RENDERED)

    async def close(self) -> None:
        """Kill what runs, and leave nothing behind. A launch that is under way is waited for."""
        self._closing.set()
        if self._watching is not None:
            self._watching.cancel()
        for running in list(self._running):
            self._end(running, "closed")
        async with self._launching:
            pass
        while self._ending:
            await asyncio.gather(*self._ending, return_exceptions=True)
        await self.backend.close()
        await self.egress.close()
        if self._home is not None:
            await asyncio.to_thread(self._home.remove)

    async def _lease(self, identity: Identity) -> tuple[RunningBrowser, Tab]:
        """A tab, of another browser where one has none that is well."""
        for attempt in range(1, _LEASES + 1):
            running = await self._browser_for(identity)
            try:
                return running, await running.lease(identity)
            except BaseException as error:
                running.busy -= 1
                self._freed.set()
                if not isinstance(error, BrowserError):
                    raise
                self._end(running, "crashed" if running.browser.is_lost else "unresponsive")
                if attempt == _LEASES:
                    raise
        raise AssertionError

    async def _browser_for(self, identity: Identity) -> RunningBrowser:
        """One with a place, which is taken."""
        while True:
            self._freed.clear()
            async with self._launching:
                running = self._with_place(identity)
                if running is None and self._make_room():
                    running = await self._launch(identity)
                if running is not None:
                    running.busy += 1
                    return running
            await self._freed.wait()

    def _with_place(self, identity: Identity) -> RunningBrowser | None:
        for running in list(self._running):
            if running.browser.is_lost:
                self._end(running, "crashed")
            elif running.is_outdated(identity):
                running.end = "another identity's turn"
                self._retire(running)
        free = [running for running in self._active() if running.busy < self._pages]
        known = [running for running in free if identity.label in running.labels]
        others = free if self.backend.shares_process else []
        return next(iter(known or others), None)

    def _active(self) -> list[RunningBrowser]:
        return [running for running in self._running if not running.end]

    def _make_room(self) -> bool:
        """Whether one more may be started, if need be in the place of one that does nothing."""
        active = self._active()
        if len(active) < self._options.processes:
            return True
        idle = [running for running in active if not running.busy]
        if idle:
            self._end(idle[0], "another identity's turn")
        return bool(idle)

    async def _launch(self, identity: Identity | None) -> RunningBrowser:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._closing.wait(), self._pause)
        self._refuse_if_closing()
        assert self._home is not None
        self._launches += 1
        folder = self._home.path / str(self._launches)
        folder.mkdir()
        proxy = "" if identity is None else (await self.egress.port(identity.label, identity.proxy)).url
        limit, remote = self._options.launch_timeout, self._options.remote
        launch = Launch(self._executable, folder, self._home, limit, proxy, identity, remote)
        try:
            browser = await self.backend.launch(launch)
        except BrowserError as error:
            self._pause = min(2 * self._pause or _FIRST_PAUSE, _LONGEST_PAUSE)
            log.error("browser does not start", backend=self.backend.name, error=str(error))
            raise
        self._pause = 0.0
        metrics.BROWSER_LAUNCHES.labels(self.backend.name).inc()
        owner = None if self.backend.shares_process else identity
        running = RunningBrowser(browser, self.egress, self._options, owner)
        if identity is not None:
            running.labels.add(identity.label)
        self._running.append(running)
        if self._closing.is_set():
            self._end(running, "closed")
        self._refuse_if_closing()
        return running

    def _refuse_if_closing(self) -> None:
        if self._closing.is_set():
            raise BrowserGone("the pool is closed")

    async def _give_back(self, running: RunningBrowser, tab: Tab, *, is_usable: bool) -> None:
        running.busy -= 1
        if running.browser.is_lost:
            self._end(running, "crashed")
        elif running in self._running:
            try:
                await running.give_back(tab, is_usable=is_usable)
            except BrowserError:
                self._end(running, "crashed" if running.browser.is_lost else "unresponsive")
        self._retire(running)
        self._freed.set()

    def _retire(self, running: RunningBrowser, memory: int = 0) -> None:
        """Give it no more pages where it is due; end it when its last one is done."""
        running.end = running.end or running.is_due(memory)
        if running.end and not running.busy:
            self._end(running, running.end)

    def _end(self, running: RunningBrowser, reason: str) -> None:
        if running not in self._running:
            return
        self._running.remove(running)
        metrics.BROWSER_ENDS.labels(reason).inc()
        log.info("browser ended", reason=reason, pages=running.served)
        self._in_background(running.kill(reason))

    def _in_background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(WATCH_INTERVAL)
            try:
                await self._look()
            except Exception:
                log.exception("a look at the browsers failed")

    async def _look(self) -> None:
        metrics.BROWSER_MEMORY.set(sum([await self._look_at(running) for running in list(self._running)]))
        await self.egress.tidy({label for running in self._running for label in running.labels})

    async def _look_at(self, running: RunningBrowser) -> int:
        if running.browser.is_lost:
            self._end(running, "crashed")
            return 0
        sizes = await asyncio.to_thread(running.browser.memory)
        for pid, size in sizes.items():
            if size > self._options.page_memory and running.browser.kill_renderer(pid):
                log.warning("page killed", reason="memory", bytes=size, pid=pid)
        self._retire(running, sum(sizes.values()))
        if running in self._running:
            await running.tidy()
        return sum(sizes.values())
