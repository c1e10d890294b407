"""A browser of the pool while it runs: its contexts, its tabs, what it has served, and its end."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field
from time import monotonic
from typing import TYPE_CHECKING, Any, TypeVar

from browser_pool.errors import BrowserError, BrowserGone

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from browser_pool.backend import Browser, Context, Page
    from browser_pool.egress import Egress
    from browser_pool.options import PoolOptions
    from crawlers.identity import Identity

T = TypeVar("T")
_IDLE_TAB = 5.0
"""Seconds that a tab may run its last page's scripts for nobody."""
_IDLE_PROFILE = 300.0
_MOST_PROFILES = 64


@dataclass(eq=False)
class Tab:
    """A page that is leased to one task after another."""

    page: Page
    profile: Profile
    uses: int = 0
    idle_since: float = 0.0


@dataclass(eq=False)
class Profile:
    """An identity's context."""

    identity: Identity
    context: Context
    idle: list[Tab] = field(default_factory=list)
    busy: int = 0
    used_at: float = field(default_factory=monotonic)

    def take_idle(self, since: float) -> list[Tab]:
        """The tabs that have been idle since before then; nobody leases them any more."""
        taken = [tab for tab in self.idle if tab.idle_since < since]
        self.idle = [tab for tab in self.idle if tab not in taken]
        return taken

    def is_unused(self, since: float) -> bool:
        """Whether nobody has had a tab of it since then."""
        return not self.busy and not self.idle and self.used_at < since


class RunningBrowser:
    """Leases tabs until it is to be replaced."""

    def __init__(self, browser: Browser, egress: Egress, options: PoolOptions, owner: Identity | None = None):
        self.browser = browser
        self.owner = owner
        """Whose alone it is; None where it serves any identity."""
        self._egress = egress
        self._options = options
        self._profiles: dict[str, Profile] = {}
        self._opening = asyncio.Lock()
        self._work: set[asyncio.Task[Any]] = set()
        self._started_at = monotonic()
        self.busy = 0
        """Leased tabs, and those that are being leased."""
        self.served = 0
        self.labels: set[str] = set()
        """Of the identities that have, or are to have, a context here."""
        self.end = ""
        """Why it takes no more pages; '' while it does."""
        self._is_killed = False

    def is_outdated(self, identity: Identity) -> bool:
        """Whether its owner has become `identity`: all of a browser with an owner goes through that one's proxy."""
        return self.owner is not None and self.owner.label == identity.label and self.owner != identity

    def is_due(self, memory: int) -> str:
        """Why it should be replaced; '' while it should not."""
        if self.served >= self._options.retire_pages:
            return "pages"
        if monotonic() - self._started_at >= self._options.retire_seconds:
            return "age"
        return "memory" if memory >= self._options.retire_memory else ""

    async def lease(self, identity: Identity) -> Tab:
        """A tab that is well. Raises BrowserError."""
        profile = await self._profile(identity)
        profile.busy += 1
        try:
            while profile.idle:
                tab = profile.idle.pop()
                if await tab.page.is_well():
                    return tab
                await self._close_tab(tab)
            return Tab(await profile.context.new_page(), profile)
        except BaseException:
            profile.busy -= 1
            raise

    async def _profile(self, identity: Identity) -> Profile:
        port = await self._egress.port(identity.label, identity.proxy)
        async with self._opening:
            found = self._profiles.get(identity.label)
            if found is not None and found.identity != identity:
                await self._replace(found)
                found = None
            if found is None:
                await self._make_room()
                self.labels.add(identity.label)
                context = await self.browser.new_context(identity, port.url)
                found = self._profiles[identity.label] = Profile(identity, context)
            found.used_at = monotonic()
            return found

    async def _make_room(self) -> None:
        """Close the context that has rested longest where there are many: each session has one."""
        resting = [profile for profile in self._profiles.values() if not profile.busy]
        if len(self._profiles) >= _MOST_PROFILES and resting:
            oldest = min(resting, key=lambda profile: profile.used_at)
            del self._profiles[oldest.identity.label]
            self.labels.discard(oldest.identity.label)
            await oldest.context.close()

    async def _replace(self, profile: Profile) -> None:
        """Its identity says something else by now; tabs that are busy end with their pages."""
        del self._profiles[profile.identity.label]
        if not profile.busy:
            await profile.context.close()

    async def run(self, call: Coroutine[Any, Any, T]) -> T:
        """What a tab's page is asked. Raises BrowserError; BrowserGone at once where the browser is ended meanwhile."""
        work = asyncio.ensure_future(call)
        self._work.add(work)
        try:
            return await work
        except asyncio.CancelledError:
            if self._is_killed:
                raise BrowserGone(f"the browser was ended: {self.end}") from None
            work.cancel()
            raise
        finally:
            self._work.discard(work)

    async def give_back(self, tab: Tab, *, is_usable: bool) -> None:
        """The task is done with its tab. Raises BrowserError where that cannot be closed."""
        tab.profile.busy -= 1
        tab.profile.used_at = tab.idle_since = monotonic()
        tab.uses += 1
        self.served += 1
        is_current = self._profiles.get(tab.profile.identity.label) is tab.profile
        if is_usable and is_current and tab.uses < self._options.page_uses and not self.end:
            tab.profile.idle.append(tab)
        elif not is_current and not tab.profile.busy:
            await tab.profile.context.close()
        else:
            await tab.page.close()

    async def tidy(self) -> None:
        """Close what nobody has used lately. Nobody can lease it meanwhile: it is taken out first."""
        now = monotonic()
        profiles = self._profiles.values()
        tabs = [tab for profile in profiles for tab in profile.take_idle(now - _IDLE_TAB)]
        unused = [profile for profile in profiles if profile.is_unused(now - _IDLE_PROFILE)]
        for profile in unused:
            del self._profiles[profile.identity.label]
            self.labels.discard(profile.identity.label)
        for tab in tabs:
            with suppress(BrowserError):
                await self._close_tab(tab)
        for profile in unused:
            with suppress(BrowserError):
                await profile.context.close()

    async def _close_tab(self, tab: Tab) -> None:
        if not self._is_killed:
            await tab.page.close()

    async def kill(self, reason: str) -> None:
        """End it now; what it renders fails with BrowserGone."""
        self.end = self.end or reason
        self._is_killed = True
        for work in list(self._work):
            work.cancel()
        with suppress(BrowserError):
            await self.browser.kill()
