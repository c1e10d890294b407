"""Which site a request belongs to, and which budget of politeness it is charged to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from crawlers.domains import domain_of

if TYPE_CHECKING:
    from scrapy import Request

    from crawlers.site_config import Site


def site_of(request: Request, spider: Any) -> Site | None:
    """The site that `meta["site"]` names."""
    name = request.meta.get("site")
    return getattr(spider, "sites", {}).get(name) if name else None


def site_name(request: Request, spider: Any) -> str | None:
    """The name of the request's site, where that is a known one."""
    targets = getattr(spider, "targets", None)
    name = request.meta.get("site") or (targets.site_of(request.url).name if targets is not None else None)
    return name if targets is None or name in targets.sites else None


def budget_of(request: Request, spider: Any) -> str:
    """The name of the budget: the domain, or the site where its domains share one."""
    site = site_of(request, spider)
    return site.slot(request.url) if site else domain_of(request.url)


def budgets_of(site: Site) -> frozenset[str]:
    """All that requests of the site are charged to."""
    return frozenset({site.name} if site.limits.shared else site.domains)
