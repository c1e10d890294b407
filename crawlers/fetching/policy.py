"""What a crawl may dial: the fleet's allowed networks, and for a site's domains those of its TOML."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from crawlers.domains import domain_of
from crawlers.fetching.addresses import AddressRules

if TYPE_CHECKING:
    from scrapy.crawler import Crawler

    from crawlers.site_config import Site

_HTTPS = 443


class AddressPolicy:
    """The rules by domain. UserError where ALLOWED_PRIVATE_NETWORKS is not right."""

    def __init__(self, allowed: list[str], sites: list[Site]):
        self._default = AddressRules(allowed)
        self._by_domain = {
            domain: AddressRules([*allowed, *site.private_networks], f"{site.name}.toml: private_networks")
            for site in sites
            if site.private_networks
            for domain in site.domains
        }

    @classmethod
    def of(cls, crawler: Crawler) -> Self:
        """The policy of `crawler`, whose spider is there."""
        targets: Any = getattr(crawler.spider, "targets", None)
        return cls(crawler.settings.getlist("ALLOWED_PRIVATE_NETWORKS"), [*targets.sites.values()] if targets else [])

    def rules(self, url: str) -> AddressRules:
        """What holds for `url`."""
        return self._by_domain.get(domain_of(url), self._default) if self._by_domain else self._default

    def rules_of(self, host: str, port: int) -> AddressRules:
        """What holds for a connection, whose URL is not known."""
        scheme = "https" if port == _HTTPS else "http"
        return self.rules(f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}")
