"""A site's TOML file: what to crawl, what is a product page, what to follow, how fast."""

from __future__ import annotations

import json
import re
import tomllib
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import msgspec

from crawlers.browser_rules import BLOCKED, WAIT_UNTIL, WHEN, Action, BrowserRules, mistakes_of
from crawlers.domains import domain_of, is_web_url
from crawlers.exceptions import SiteError, UserError
from crawlers.extraction.currencies import CURRENCIES
from crawlers.fetching.addresses import AddressRules
from crawlers.masking.rules import FieldRules, MaskingRules, PatternRules, expected_actions
from crawlers.monitors.rules import MONITORS, MonitorRules
from crawlers.monitors.rules import mistakes_of as monitor_mistakes_of

if TYPE_CHECKING:
    from collections.abc import Callable

Identity = Literal["gtin", "sku", "url"]
IDENTITIES = get_args(Identity)
IdentityKind = Literal["bot", "browser"]
Directive = Literal["noindex", "nofollow"]
_INT_LIMIT = 2**31
_REMEMBERED = 16_384


class UrlRules(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Regular expressions that are searched in a URL: one of `allow` (or none given) and none of `deny`."""

    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()

    def match(self, url: str) -> bool:
        """Whether `url` is allowed and not denied."""
        if any(re.search(pattern, url) for pattern in self.deny):
            return False
        return not self.allow or any(re.search(pattern, url) for pattern in self.allow)


class Limits(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """What a domain of the site is asked for at most; None is the fleet's default."""

    delay: float | None = None
    """Seconds between two requests to a domain."""
    concurrency: int | None = None
    """Requests at once to a domain."""
    pages: int = 0
    """Pages of the site per crawl; 0 is no limit."""
    depth: int = 0
    """Links from a seed; 0 is no limit."""
    shared: bool = False
    """Whether the site's domains share one delay and one concurrency."""


class RobotsRules(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """What of the site's wishes for robots is kept to."""

    obey: bool = True
    """robots.txt, as far as ROBOTSTXT_OBEY asks for it."""
    directives: tuple[Directive, ...] | None = None
    """Of its pages and headers; None is the fleet's ROBOTS_DIRECTIVES."""


class BanRules(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """What is a wall at this site, beside what is one everywhere (crawlers/bans/signatures.py)."""

    detect: bool = True
    """Whether walls are looked for at all."""
    statuses: tuple[int, ...] = ()
    titles: tuple[str, ...] = ()
    """Regular expressions that are searched in a page's title."""
    texts: tuple[str, ...] = ()
    """What only a wall's HTML has."""
    products_have: str | None = None
    """A regular expression: a page whose URL `product.allow` names, without it, is no product's but a wall."""


class IdentityRules(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Who asks for the site's pages; what is not set is the fleet's IDENTITY…"""

    kind: IdentityKind | None = None
    count: int = 0
    """That the site sees at once, of a worker."""
    seconds: float = 0.0
    """Until one is replaced."""
    languages: tuple[str, ...] = ()
    """BCP 47 tags in order of preference; those of the locale where there are none."""


class ProxyRules(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Which of the fleet's proxies the site's requests may take; what is not set is all of them."""

    tiers: tuple[str, ...] = ()
    region: str = ""


class Changes(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """How product pages are visited again, with EMIT=changes. Intervals are in seconds."""

    min_interval: float = 0.0
    """Between two visits of a page that changes each time."""
    max_interval: float = 0.0
    """Between two visits of one that does not change; 0: every crawl visits every page."""
    conditional: bool = True
    """Whether pages are asked for with If-None-Match and If-Modified-Since."""
    leaves: bool = False
    """Whether product pages link to nothing that listings and sitemaps do not: they are then skipped without limit."""


class Site(msgspec.Struct, forbid_unknown_fields=True, frozen=True, dict=True):
    """A site as its TOML describes it."""

    name: str
    domains: tuple[str, ...]
    seeds: tuple[str, ...] = ()
    sitemaps: tuple[str, ...] = ()
    """URLs of sitemaps, sitemap indexes (gzipped or not) or robots.txt files that name them."""
    enabled: bool = True
    interval: float = 0.0
    """Seconds from one crawl of the site to the next, for workers that wait; 0 is only when asked."""
    identity: Identity = "url"
    locale: str | None = None
    """BCP 47 tag for pages that state none."""
    currency: str | None = None
    """ISO 4217, for pages that state none."""
    product: UrlRules = UrlRules()
    follow: UrlRules = UrlRules()
    limits: Limits = Limits()
    private_networks: tuple[str, ...] = ()
    """Networks, not public ones, that the site's domains may be in."""
    robots: RobotsRules = RobotsRules()
    bans: BanRules = BanRules()
    identities: IdentityRules = IdentityRules()
    proxies: ProxyRules = ProxyRules()
    changes: Changes = Changes()
    browser: BrowserRules = BrowserRules()
    """Whether and how its pages are rendered by a browser."""
    masking: MaskingRules = MaskingRules()
    """What is masked in the site's records, pages and logs, before the fleet's own rules."""
    monitors: MonitorRules = MonitorRules()
    """What of its crawls is an alarm."""

    def owns(self, url: str) -> bool:
        """Whether `url` is of one of the site's domains."""
        return domain_of(url) in self.domains

    def slot(self, url: str) -> str:
        """The name of the budget that a request for `url` is charged to."""
        return self.name if self.limits.shared else domain_of(url)

    def wants(self, url: str) -> bool:
        """Whether a link to `url` is worth a request."""
        return self._decide(url)

    @cached_property
    def _decide(self) -> Callable[[str], bool]:
        """With a memory: the same links stand on every page."""
        return lru_cache(_REMEMBERED)(self._is_wanted)

    def _is_wanted(self, url: str) -> bool:
        if not self.owns(url):
            return False
        if self.follow.match(url):
            return True
        return bool(self.product.allow) and self.product.match(url)


def load_sites(folder: str | Path, names: list[str] | None = None) -> list[Site]:
    """The named sites, or every enabled one where `names` is None.

    Raises UserError for a name without a file, SiteError for a file that is not right.
    """
    files = {path.stem: path for path in sorted(Path(folder).glob("*.toml"))}
    if names is None:
        return [site for site in map(load_site, files.values()) if site.enabled]
    for name in names:
        if name not in files:
            known = ", ".join(files) or "none"
            raise UserError(f"unknown site {name!r}: {folder} has {known}. Add {name}.toml there, or mend -a sites=")
    return [load_site(files[name]) for name in names]


def load_site(path: Path) -> Site:
    """The site in the file `path`; SiteError names file, line and what is expected."""
    source = _Source(path)
    try:
        site = msgspec.convert(source.parsed(), Site)
    except msgspec.ValidationError as error:
        raise _explained(source, str(error)) from None
    _check(site, source)
    return site


class _Source:
    """A TOML file that knows the lines of its keys, so that an error can name one."""

    def __init__(self, path: Path):
        self.path = path
        try:
            self.text = path.read_text(encoding="utf-8-sig")
        except OSError as error:
            raise SiteError(f"{path}: {error.strerror}") from None
        except UnicodeDecodeError as error:
            raise SiteError(f"{path}: not UTF-8: byte {error.start}") from None

    def parsed(self) -> dict[str, Any]:
        try:
            return tomllib.loads(self.text)
        except tomllib.TOMLDecodeError as error:
            at = re.search(r"at line (\d+)", str(error))
            line = int(at[1]) if at else max(1, len(self.text.splitlines()))
            raise SiteError(f"{self.path}:{line}: not TOML: {error}") from None

    def error(self, key: str, message: str, value: Any = None) -> SiteError:
        """An error about `key` (`table.key` in a table), at the line of `value` where that is found below the key."""
        quoted = json.dumps(value, ensure_ascii=False) if isinstance(value, str) else None
        line = self._line(key, quoted) or self._line(key.rpartition(".")[0], None)  # in an inline table
        return SiteError(f"{self.path}:{line}: {message}" if line else f"{self.path}: {message}")

    def _line(self, key: str, value: str | None) -> int | None:
        table, found = "", None
        for number, line in enumerate(self.text.splitlines(), 1):
            if header := re.match(r"\s*\[\s*([\w.-]+)\s*\]", line):
                table, name = f"{header[1]}.", header[1]
            else:
                name = table + line.partition("=")[0].strip().strip("\"'")
            found = found or (number if name == key else None)
            if found and (value is None or value in line or value[1:-1] in line):
                return number
        return found


_KINDS = {
    "array": "a list",
    "object": "a table",
    "str": "text in quotes",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
}
_REQUIRED = {"name": 'name = "{stem}"', "domains": 'domains = ["shop.example"]'}
_TABLES = {
    "": Site,
    "product": UrlRules,
    "follow": UrlRules,
    "limits": Limits,
    "robots": RobotsRules,
    "bans": BanRules,
    "identities": IdentityRules,
    "proxies": ProxyRules,
    "changes": Changes,
    "browser": BrowserRules,
    "browser.actions": Action,
    "monitors": MonitorRules,
    "masking": MaskingRules,
    "masking.patterns": PatternRules,
    "masking.fields": FieldRules,
}
_CHOICES = {
    "browser.when": WHEN,
    "browser.block": BLOCKED,
    "browser.wait_until": WAIT_UNTIL,
    "identities.kind": get_args(IdentityKind),
    "monitors.off": MONITORS,
    "monitors.warn": MONITORS,
}
_LOCALE = re.compile(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*")


def _explained(source: _Source, message: str) -> SiteError:
    """msgspec's message in the words of TOML: it names the key, in an unknown or missing field or as `$.table.key`."""
    expectation, _, where = message.partition(" - at `$")
    place = ".".join(re.findall(r"[A-Za-z_]+", where))
    field = re.search(r"field `(.+?)`", expectation)
    if field and "missing" in expectation:
        example = _REQUIRED[field[1]].format(stem=source.path.stem)
        return source.error("", f"the key {field[1]} is missing, expected {example}")
    if field:
        known = ", ".join(_TABLES[place].__struct_fields__)
        key = f"{place}.{field[1]}" if place else field[1]
        return source.error(key, f"unknown key {key}, expected one of {known}")
    kinds = re.findall(r"`(.+?)`", expectation)
    if "enum" in expectation:
        return source.error(place, f"{place}: {expectation}, expected one of {_choices(place)}")
    if len(kinds) == 2:
        wanted, got = (_KINDS.get(kind.removesuffix(" | null"), kind) for kind in kinds)
        return source.error(place, f"{place}: expected {wanted}, got {got}")
    return source.error(place, f"{place}: {expectation}")


def _choices(place: str) -> str:
    """What a key may say, as a text."""
    if place in _CHOICES:
        return ", ".join(_CHOICES[place])
    _, _, rest = place.partition("masking.")
    if place.startswith("robots"):
        return ", ".join(get_args(Directive))
    return expected_actions(*rest.partition(".")[::2]) if rest else ", ".join(IDENTITIES)


def _check(site: Site, source: _Source) -> None:
    if site.name != source.path.stem:
        raise source.error("name", f"name is {site.name!r}, expected the file's stem {source.path.stem!r}")
    _check_domains(site, source)
    _check_addresses(site, source)
    _check_networks(site, source)
    if not 0 <= site.interval < _INT_LIMIT:
        raise source.error("interval", f"interval = {site.interval}: expected a number of at least 0")
    if site.locale is not None and not _LOCALE.fullmatch(site.locale):
        raise source.error("locale", f"locale is {site.locale!r}, expected a BCP 47 tag, as en-US")
    if site.currency is not None and site.currency not in CURRENCIES:
        raise source.error("currency", f"currency is {site.currency!r}, expected an ISO 4217 code, as EUR")
    for key, least in (("delay", 0), ("concurrency", 1), ("pages", 0), ("depth", 0)):
        value = getattr(site.limits, key)
        if value is not None and not least <= value < _INT_LIMIT:
            raise source.error(f"limits.{key}", f"{key} = {value}: expected a number of at least {least}")
    _check_changes(site.changes, source)
    for table, rules in (("product", site.product), ("follow", site.follow)):
        for key in ("allow", "deny"):
            for pattern in getattr(rules, key):
                _check_pattern(f"{table}.{key}", pattern, source)
    _check_bans(site, source)
    _check_identities(site.identities, source)
    for key, mistake in mistakes_of(site.browser):
        raise source.error(f"browser.{key}", mistake)
    for key, mistake in monitor_mistakes_of(site.monitors):
        raise source.error(f"monitors.{key}", mistake)


def _check_changes(changes: Changes, source: _Source) -> None:
    for key in ("min_interval", "max_interval"):
        value = getattr(changes, key)
        if not 0 <= value < _INT_LIMIT:
            raise source.error(f"changes.{key}", f"{key} = {value}: expected a number of at least 0")
    if changes.max_interval and not 1 <= changes.min_interval <= changes.max_interval:
        message = (
            f"max_interval = {changes.max_interval}: expected min_interval from 1 to it, got {changes.min_interval}"
        )
        raise source.error("changes.max_interval", message)


def _check_domains(site: Site, source: _Source) -> None:
    if not site.domains:
        raise source.error("domains", "domains: expected at least one domain")
    for domain in site.domains:
        if domain_of(f"http://{domain}") != domain or domain_of(f"https://{domain}") != domain:
            message = f"{domain!r}: expected a host in lower case, as shop.example or shop.example:8080"
            raise source.error("domains", message, domain)


def _check_addresses(site: Site, source: _Source) -> None:
    for key in ("seeds", "sitemaps"):
        for url in getattr(site, key):
            if not is_web_url(url):
                raise source.error(key, f"{key}: {url!r}: expected an http or https URL", url)
            if not site.owns(url):
                message = f"{key}: {url}: its domain {domain_of(url)} is not in domains, expected one that is"
                raise source.error(key, message, url)


def _check_bans(site: Site, source: _Source) -> None:
    for status in site.bans.statuses:
        if not 100 <= status <= 999:
            raise source.error("bans.statuses", f"bans.statuses: {status}: expected HTTP statuses, as 403")
    for pattern in site.bans.titles:
        _check_pattern("bans.titles", pattern, source)
    if site.bans.products_have is not None:
        _check_pattern("bans.products_have", site.bans.products_have, source)
        if not site.product.allow:
            raise source.error("bans.products_have", "bans.products_have: expected product.allow beside it")


def _check_identities(rules: IdentityRules, source: _Source) -> None:
    for key in ("count", "seconds"):
        value = getattr(rules, key)
        if not 0 <= value < _INT_LIMIT:
            raise source.error(f"identities.{key}", f"{key} = {value}: expected a number of at least 0")
    for language in rules.languages:
        if not _LOCALE.fullmatch(language):
            message = f"identities.languages: {language!r}: expected a BCP 47 tag, as de-AT"
            raise source.error("identities.languages", message, language)


def _check_networks(site: Site, source: _Source) -> None:
    for network in site.private_networks:
        try:
            AddressRules([network], "private_networks")
        except UserError as error:
            raise source.error("private_networks", str(error), network) from None


def _check_pattern(key: str, pattern: str, source: _Source) -> None:
    try:
        re.compile(pattern)
    except re.error as error:
        raise source.error(key, f"{key}: {pattern!r}: expected a regular expression: {error}", pattern) from None
