"""Sends the requests of sites that ask for it as a person's browser would, one identity for each session."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from scrapy.downloadermiddlewares.cookies import CookiesMiddleware
from scrapy.exceptions import NotConfigured
from scrapy.utils.httpobj import urlparse_cached

from browser_pool.engine import engine_profile
from crawlers import metrics
from crawlers.bans.hooks import ban_detected
from crawlers.browser_rules import asked_of
from crawlers.budgets import site_of
from crawlers.domains import domain_of
from crawlers.exceptions import UserError
from crawlers.identities.headers import OVERRIDABLE, dress, is_safe, undress
from crawlers.identities.languages import languages_of
from crawlers.identities.sessions import NO_ENGINE, Sessions, Wanted
from crawlers.identity import Identity
from crawlers.robots.fetching import ROBOTS_TXT

if TYPE_CHECKING:
    from scrapy import Request
    from scrapy.crawler import Crawler

    from crawlers.identities.sessions import Session
    from crawlers.site_config import Site

_REMEMBERED = 16_384
"""Domains whose wishes are looked up once."""
_OWN = "own_headers"
"""The meta key of the names of headers that the request has brought itself."""
_JAR = "own_cookiejar"
"""The meta key of what the request itself called its cookie jar."""


class IdentityMiddleware:
    """Sets `meta["identity"]`, `meta["identity_label"]`, `meta["cookiejar"]` and the headers that belong together.

    Requests with the same `meta["session"]` share an identity, and so do those with the same name of a cookie jar: the
    jar is the identity's. One that has met a wall, or is too old, is replaced. An honest bot has no identity but
    USER_AGENT: its requests pass unchanged, and so do those that bring an Identity.
    """

    def __init__(self, crawler: Crawler):
        settings: Any = crawler.settings
        self._crawler = crawler
        self._kind = settings["IDENTITY"]
        self._seconds = settings.getfloat("IDENTITY_SECONDS")
        self._count = settings.getint("IDENTITY_COUNT")
        self._wanted: dict[str, Wanted | None] = {}
        engine = engine_profile(settings)
        if engine is None:
            for site in getattr(crawler.spider, "sites", {}).values():
                if site.browser.when != "never" and self._rules(site) is not None:
                    raise UserError(f"{site.name}: {NO_ENGINE}: install it, or set BROWSER_EXECUTABLE")
        self._sessions = Sessions(engine, self._forget_cookies)
        metrics.IDENTITIES_LIVE.set_function(self._sessions.count)

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Self:
        sites = getattr(crawler.spider, "sites", {}).values()
        kinds = {crawler.settings["IDENTITY"], *(site.identities.kind for site in sites)}
        if "browser" not in kinds:
            raise NotConfigured
        middleware = cls(crawler)
        crawler.signals.connect(middleware.on_ban, signal=ban_detected)
        return middleware

    def process_request(self, request: Request) -> None:
        """Make it its identity's. Raises GivenUp where it is to be rendered and nobody knows as whom."""
        meta = request.meta
        site = site_of(request, self._crawler.spider)
        group = site.name if site is not None else domain_of(request.url)
        label = meta.get("identity_label")
        if label is None and isinstance(meta.get("identity"), Identity):
            return
        wanted = self._wanted_of(group, site)
        if label is not None:
            self._take_back(request, label)
        if wanted is not None and ROBOTS_TXT not in meta:
            self._give(request, self._session(request, group, label, wanted, site))

    def renew(self, request: Request) -> None:
        """Give `request` another identity in the place of the one that it was just given."""
        self._sessions.retire(request.meta["identity_label"], "proxy lost")
        self.process_request(request)

    def on_ban(self, request: Request) -> None:
        """Whom the site has shown a wall is not seen there again."""
        if label := request.meta.get("identity_label"):
            self._sessions.retire(label, "banned")

    def _wanted_of(self, group: str, site: Site | None) -> Wanted | None:
        if group not in self._wanted:
            if len(self._wanted) >= _REMEMBERED:
                self._wanted.clear()
            self._wanted[group] = self._rules(site)
        return self._wanted[group]

    def _rules(self, site: Site | None) -> Wanted | None:
        if site is None:
            return Wanted(languages_of(None), self._seconds, self._count) if self._kind == "browser" else None
        rules = site.identities
        if (rules.kind or self._kind) != "browser":
            return None
        languages = rules.languages or languages_of(site.locale)
        return Wanted(tuple(languages), rules.seconds or self._seconds, rules.count or self._count)

    def _session(self, request: Request, group: str, label: str | None, wanted: Wanted, site: Site | None) -> Session:
        meta = request.meta
        rules = site.browser if site is not None else None
        is_engines = asked_of(meta, rules) is not False or (rules is not None and rules.when != "never")
        jar = meta.get("cookiejar")
        for known in (label, jar):
            found = self._sessions.labelled(known, group) if isinstance(known, str) else None
            if found is not None and found.key.is_engines == is_engines:
                return found
        return self._sessions.of(group, self._name(meta), wanted, is_engines=is_engines)

    def _name(self, meta: dict[str, Any]) -> str | None:
        """What the request calls its session."""
        if (name := meta.get("session")) is not None:
            return f"session {name}"
        if (jar := meta.get("cookiejar")) is None:
            return None
        return self._sessions.name_of(jar) if self._sessions.was_ours(jar) else f"jar {jar}"

    def _give(self, request: Request, session: Session) -> None:
        meta, label = request.meta, session.identity.label
        own = tuple(name for name in request.headers if name in OVERRIDABLE)
        if own:
            meta[_OWN] = [name.decode() for name in own]
        jar = meta.get("cookiejar")
        if jar is not None and not self._sessions.was_ours(jar):
            meta[_JAR] = jar
        meta["cookiejar"] = label
        meta["identity"], meta["identity_label"] = session.identity, label
        parts = urlparse_cached(request)
        template = session.safe if is_safe(f"{parts.scheme}://{parts.netloc}") else session.plain
        dress(request.headers, template, request.url, own)

    def _take_back(self, request: Request, label: str) -> None:
        """What the identity of an earlier attempt, or of the request that was redirected here, has left."""
        meta = request.meta
        undress(request.headers, [name.encode() for name in meta.pop(_OWN, ())])
        meta.pop("identity", None)
        del meta["identity_label"]
        jar = meta.pop(_JAR, None)
        if meta.get("cookiejar") == label:
            del meta["cookiejar"]
            if jar is not None:
                meta["cookiejar"] = jar

    def _forget_cookies(self, label: str) -> None:
        cookies: Any = self._crawler.get_downloader_middleware(CookiesMiddleware)
        if cookies is not None:
            cookies.jars.pop(label, None)
