"""A worker's proxies: which one a request takes, and what is noted of how it went.

Tiers stand in the order of their price. A request takes the first one that has a proxy which does not cool down at the
request's domain, and whose budget is not spent: dearer ones only when cheaper ones have failed there, or are banned.
"""

from __future__ import annotations

import asyncio
import random
from collections import OrderedDict
from itertools import accumulate
from time import monotonic
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple
from weakref import WeakKeyDictionary

import structlog

from crawlers import metrics
from crawlers.domains import domain_of
from crawlers.exceptions import UserError
from crawlers.frontier.connection import Servers
from crawlers.frontier.keys import Keys
from crawlers.logs import hide_listed
from crawlers.proxies.health import CoolDowns, Health, Results, Standing
from crawlers.proxies.listing import DIRECT, Proxy, read_proxies, read_tiers
from crawlers.proxies.sharing import Sharing, today, until_tomorrow
from crawlers.refusals import GivenUp, NoProxy

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from scrapy import Request
    from scrapy.crawler import Crawler
    from scrapy.http import Response

log = structlog.get_logger("seine.proxy")

WAY = "proxy_choice"
"""The meta key of the Proxy that a request takes. A frontier does not store it."""
JAR = "proxy_jar"
"""The meta key of the name of the cookie jar that belongs to a proxy. A frontier does not store it."""
_ANSWER = "proxy_answer"
"""The meta key of the seconds that an answer took which nobody has judged yet. A frontier does not store it."""
_FRESH = 1.0
"""Seconds that the shares of a domain's proxies are used until they are reckoned anew."""
_MOST_SHARES = 10_000
"""Domains that shares are kept of."""
_MOST_SESSIONS = 10_000
_REQUEST = 500
"""Bytes of a request, about."""
_FAILED_STATUSES = (407, 502, 504)
"""A proxy's own answers, as far as an answer tells."""
_REDIRECTS = (301, 302, 303, 307, 308)


class Wanted(NamedTuple):
    """What a site, or a request, allows; empty is everything."""

    tiers: tuple[str, ...] = ()
    region: str = ""
    label: str = ""


class _Shares(NamedTuple):
    by_label: dict[str, Proxy]
    able: list[Proxy]
    cumulative: list[float]
    until: float


class ProxyPool:
    """Made once for a crawler, from its settings."""

    _pools: ClassVar[WeakKeyDictionary[Crawler, ProxyPool]] = WeakKeyDictionary()

    def __init__(self, settings: Any, spider_name: str):
        self._settings = settings
        self._answered_at: dict[str, float] = {}
        """When each one let an answer through last, by label."""
        self.health = Health(CoolDowns.from_settings(settings))
        self._take(read_proxies(settings))
        self._refresh = settings.getfloat("PROXIES_REFRESH") if settings["PROXIES_FILE"] else 0.0
        self._longest_wait = settings.getfloat("RETRY_AFTER_LONGEST")
        self._random = random.Random()
        self._sessions: OrderedDict[str, str] = OrderedDict()
        metrics.PROXIES.labels("cooling").set_function(lambda: len(self.health.cooling()))
        metrics.PROXIES.labels("usable").set_function(lambda: len(self._proxies.keys() - self.health.cooling()))
        self._sharing: Sharing | None = None
        self._refreshing: asyncio.Task[None] | None = None
        if settings.getbool("FRONTIER_ENABLED"):
            keys = Keys(settings["FRONTIER_NAMESPACE"], spider_name, settings.getint("FRONTIER_SHARDS"))
            self._sharing = Sharing(self.health, Servers.from_settings(settings), keys, self._reckon_anew)

    @classmethod
    def of(cls, crawler: Crawler) -> ProxyPool:
        """Raises UserError where the settings are wrong."""
        if crawler not in cls._pools:
            cls._pools[crawler] = cls(crawler.settings, crawler.spider.name if crawler.spider is not None else "")
        return cls._pools[crawler]

    def open(self) -> None:
        """Share with the fleet, and look for news of the list, from now on."""
        if self._sharing is not None:
            self._sharing.open()
        if self._refresh:
            self._refreshing = asyncio.ensure_future(self._keep_fresh())

    async def close(self) -> None:
        if self._refreshing is not None:
            self._refreshing.cancel()
        if self._sharing is not None:
            await self._sharing.close()

    # --- Which one

    def check(self, wanted: Wanted, where: str) -> None:
        """Raise UserError where no proxy can ever be what is wanted."""
        for tier in wanted.tiers:
            if tier not in (known := [tier.name for tier in self._tiers]):
                raise UserError(f"{where}: {tier} is no tier of the proxies: expected one of {', '.join(known)}")
        if not any(_suits(proxy, wanted) for proxy in self._proxies.values()):
            raise UserError(f"{where}: no proxy has region {wanted.region}")

    def is_new(self, domain: str) -> bool:
        """Whether the fleet is to be asked about `domain` before a proxy is chosen for it."""
        return self._sharing is not None and not self._sharing.knows(domain)

    async def hear_of(self, domain: str) -> None:
        """Ask the fleet about `domain`."""
        if self._sharing is not None:
            await self._sharing.hear_of(domain)

    def asked_for(self, name: str) -> Wanted:
        """What `meta["use_proxy"]` says: a label or a tier. Raises GivenUp where it is neither."""
        if name in self._proxies:
            return Wanted(label=name)
        if any(tier.name == name for tier in self._tiers):
            return Wanted(tiers=(name,))
        raise GivenUp("no proxy", f'meta["use_proxy"]: {name}: no proxy and no tier has that name')

    def of_session(self, session: str, domain: str, wanted: Wanted) -> Proxy | None:
        """The proxy that `session` has, while it may be used at `domain`."""
        proxy = self._proxies.get(self._sessions.get(session, ""))
        if proxy is None or not _suits(proxy, wanted) or proxy.tier in self._spent_tiers():
            return None
        self._sessions.move_to_end(session)
        self._use(domain)
        standing = self.health.at(domain).get(proxy.label)
        return proxy if standing is None or standing.until <= monotonic() else None

    def has_session(self, session: str) -> bool:
        """Whether `session` has been given a proxy."""
        return session in self._sessions

    def choose(self, domain: str, wanted: Wanted, session: str = "", jar: str = "") -> Proxy:
        """One for a request to `domain`, which `session` keeps from now on. Raises NoProxy.

        The one that the cookies in `jar` came by, where it is among those that would be taken without them.
        """
        self._use(domain)
        shares = self._shares.get(domain, {}).get(wanted)
        if shares is None or shares.until <= monotonic():
            shares = self._reckon(domain, wanted)
        proxy = shares.by_label.get(self._sessions.get(jar, "")) if jar else None
        if proxy is None:
            [proxy] = self._random.choices(shares.able, cum_weights=shares.cumulative)
        if session:
            self._keep(session, proxy)
        return proxy

    def _keep(self, session: str, proxy: Proxy) -> None:
        self._sessions[session] = proxy.label
        self._sessions.move_to_end(session)
        if len(self._sessions) > _MOST_SESSIONS:
            self._sessions.popitem(last=False)

    def _use(self, domain: str) -> None:
        if self._sharing is not None:
            self._sharing.uses(domain)

    def _reckon(self, domain: str, wanted: Wanted) -> _Shares:
        now, standings, spent = monotonic(), self.health.at(domain), self._spent_tiers()
        suitable = [proxy for proxy in self._proxies.values() if _suits(proxy, wanted)]
        unknown = Standing()
        for tier in self._tiers:
            if tier.name in spent:
                continue
            able = [one for one in suitable if one.tier == tier.name and standings.get(one.label, unknown).until <= now]
            if able:
                weights = (one.weight * standings.get(one.label, unknown).quality for one in able)
                if len(self._shares) >= _MOST_SHARES:
                    self._shares.clear()
                shares = _Shares({one.label: one for one in able}, able, list(accumulate(weights)), now + _FRESH)
                self._shares.setdefault(domain, {})[wanted] = shares
                return shares
        raise self._why_none(domain, suitable, spent)

    def _why_none(self, domain: str, suitable: list[Proxy], spent: set[str]) -> NoProxy:
        """Of proxies that either cool down at `domain` or are of tiers that are `spent`."""
        closed = ", ".join(sorted({proxy.tier for proxy in suitable} & spent))
        standings = self.health.at(domain)
        cooling = [standings[proxy.label].until for proxy in suitable if proxy.tier not in spent]
        if cooling:
            wait = max(0.0, min(cooling) - monotonic())
            also = f", and the budget of {closed} is spent" if closed else ""
            return NoProxy(f"all proxies cool down at {domain}{also}", wait, is_counted=wait > self._longest_wait)
        if closed:
            return NoProxy(f"the budget of {closed} is spent until tomorrow (UTC)", until_tomorrow())
        return NoProxy("the list has no proxy any longer that may be used", self._refresh, is_counted=True)

    def _spent_tiers(self) -> set[str]:
        day = today()
        return {
            tier.name for tier in self._tiers if tier.budget and self.health.spent_on(day, tier.name) >= tier.budget
        }

    def _reckon_anew(self, domain: str) -> None:
        self._shares.pop(domain, None)

    # --- How it went

    async def watch(
        self, request: Request, send: Callable[[], Awaitable[Response]], failures: tuple[type[Exception], ...]
    ) -> Response:
        """What `send` returns, by the way that was chosen. `failures` count against it; an answer counts for it once it
        was `judged`, as a wall is no success.
        """
        way, domain, began_at = request.meta[WAY], domain_of(request.url), monotonic()
        request.meta.pop(_ANSWER, None)  # of the request that this one is a copy of
        try:
            response = await send()
        except failures:
            self.note(way, domain, Results(failed=1))
            raise
        if way.url and response.status in _FAILED_STATUSES:
            self.note(way, domain, Results(failed=1))
            return response
        self._answered_at[way.label] = monotonic()
        if (jar := request.meta.get(JAR)) and "Set-Cookie" in response.headers:
            self._keep(jar, way)
        request.meta[_ANSWER] = request.meta.get("download_latency") or monotonic() - began_at
        if _is_redirect(request, response):  # followed before anybody judges it
            self.judged(request)
        return response

    def judged(self, request: Request, *, is_wall: bool = False) -> None:
        """What `request` was answered is a page, or a wall."""
        seconds = request.meta.pop(_ANSWER, None)
        if (way := request.meta.get(WAY)) is None:
            return
        if is_wall:
            self.note(way, domain_of(request.url), Results(banned=1))
        elif seconds is not None:
            self.note(way, domain_of(request.url), Results(ok=1, seconds=seconds))

    def has_answered_since(self, moment: float, way: Proxy) -> bool:
        """Whether an answer has come by `way`, from any domain, since then."""
        return self._answered_at.get(way.label, 0.0) > moment

    def note(self, way: Proxy, domain: str, results: Results) -> None:
        """Add what was seen of `way` at `domain`."""
        kind = "banned" if results.banned else "failed" if results.failed else "ok"
        metrics.PROXY_REQUESTS.labels(way.tier, kind).inc()
        if self._sharing is not None:
            self._sharing.note(domain, way.label, results)
        if self.health.note(domain, way.label, results):
            log.info("proxy cools down", proxy=way.label, domain=domain, reason=kind)
            self._reckon_anew(domain)

    def spend(self, way: Proxy, size: int) -> None:
        """A request went by `way`, and `size` bytes came back, whatever became of it."""
        size += _REQUEST
        metrics.PROXY_BYTES.labels(way.tier).inc(size)
        self.health.spend(way.tier, size, today())
        if self._sharing is not None:
            self._sharing.spend(way.tier, size)

    # --- The list

    async def _keep_fresh(self) -> None:
        while True:
            await asyncio.sleep(self._refresh)
            try:
                self._take(await asyncio.to_thread(read_proxies, self._settings))
            except UserError as error:
                log.warning("proxies could not be read again: the old ones stay", error=str(error))

    def _take(self, proxies: list[Proxy]) -> None:
        """Use these from now on. Raises UserError where they are not right, and then goes on with what there was."""
        hide_listed(secret for proxy in proxies for secret in proxy.secrets)
        self._tiers = read_tiers(self._settings, proxies)
        self._proxies = {proxy.label: proxy for proxy in proxies}
        self._shares: dict[str, dict[Wanted, _Shares]] = {}
        """By domain."""
        self.health.use(self._proxies)
        self._answered_at = {label: at for label, at in self._answered_at.items() if label in self._proxies}


def label_of(way: Proxy | None) -> str | None:
    """What records show; None of a direct connection."""
    return way.label if way is not None and way.label != DIRECT else None


def _is_redirect(request: Request, response: Response) -> bool:
    return response.status in _REDIRECTS and "Location" in response.headers and not request.meta.get("dont_redirect")


def _suits(proxy: Proxy, wanted: Wanted) -> bool:
    return (
        (not wanted.label or proxy.label == wanted.label)
        and (not wanted.tiers or proxy.tier in wanted.tiers)
        and (not wanted.region or proxy.region == wanted.region)
    )
