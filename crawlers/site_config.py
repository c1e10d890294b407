"""A site's TOML file: what to crawl, what is a product page, what to follow, how fast."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Literal

import msgspec

from crawlers.domains import domain_of, is_web_url
from crawlers.exceptions import SiteError, UserError


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


class Site(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """A site as its TOML describes it."""

    name: str
    domains: tuple[str, ...]
    seeds: tuple[str, ...] = ()
    sitemaps: tuple[str, ...] = ()
    """URLs of sitemaps, sitemap indexes (gzipped or not) or robots.txt files that name them."""
    enabled: bool = True
    identity: Literal["gtin", "sku", "url"] = "url"
    locale: str | None = None
    """BCP 47 tag for pages that state none."""
    currency: str | None = None
    """ISO 4217, for pages that state none."""
    product: UrlRules = UrlRules()
    follow: UrlRules = UrlRules()
    limits: Limits = Limits()

    def owns(self, url: str) -> bool:
        """Whether `url` is of one of the site's domains."""
        return domain_of(url) in self.domains

    def slot(self, url: str) -> str:
        """The name of the budget that a request for `url` is charged to."""
        return self.name if self.limits.shared else domain_of(url)

    def wants(self, url: str) -> bool:
        """Whether a link to `url` is worth a request."""
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
    try:
        text = path.read_text(encoding="utf-8")
        site = msgspec.convert(tomllib.loads(text), Site)
    except tomllib.TOMLDecodeError as error:
        raise SiteError(f"{path}: not TOML: {error}") from None
    except UnicodeDecodeError as error:
        raise SiteError(f"{path}: not UTF-8: byte {error.start}") from None
    except msgspec.ValidationError as error:
        raise SiteError(_located(path, text, str(error))) from None
    _check(site, path, text)
    return site


def _check(site: Site, path: Path, text: str) -> None:
    if site.name != path.stem:
        raise SiteError(_at(path, text, "name", f"name is {site.name!r}, expected the file's stem {path.stem!r}"))
    if not site.domains:
        raise SiteError(_at(path, text, "domains", "expected at least one domain"))
    for key in ("seeds", "sitemaps"):
        for url in getattr(site, key):
            if not is_web_url(url):
                raise SiteError(_at(path, text, key, f"{url!r}: expected an http or https URL"))
            if not site.owns(url):
                raise SiteError(_at(path, text, key, f"{url}: its domain {domain_of(url)} is not in domains"))
    for key in ("delay", "concurrency", "pages", "depth"):
        value = getattr(site.limits, key)
        if value is not None and value < (1 if key == "concurrency" else 0):
            raise SiteError(_at(path, text, key, f"{key} = {value}: expected a larger number"))
    for rules in (site.product, site.follow):
        for pattern in (*rules.allow, *rules.deny):
            _check_pattern(pattern, path, text)


def _check_pattern(pattern: str, path: Path, text: str) -> None:
    try:
        re.compile(pattern)
    except re.error as error:
        raise SiteError(_at(path, text, pattern, f"{pattern!r}: not a regular expression: {error}")) from None


def _located(path: Path, text: str, message: str) -> str:
    """msgspec's message with the line of the key that it names (`- at $.limits.delay`, or an unknown field)."""
    expectation, _, where = message.partition(" - at `$")
    keys = re.findall(r"[A-Za-z_]+", where)
    unknown = re.search(r"unknown field `(.+?)`", expectation)
    missing = re.search(r"missing required field `(.+?)`", expectation)
    if missing:
        return f"{path}: the key {missing[1]!r} is missing"
    key = unknown[1] if unknown else (keys[-1] if keys else "")
    return _at(path, text, key, f"{'.'.join(keys)}: {expectation}" if keys else expectation)


def _at(path: Path, text: str, key: str, message: str) -> str:
    for number, line in enumerate(text.splitlines(), 1):
        if re.match(rf"\s*\[?{re.escape(key)}\b", line) or (key and f'"{key}"' in line):
            return f"{path}:{number}: {message}"
    return f"{path}: {message}"
