"""What a worker's crawl is about."""

from __future__ import annotations

from typing import TYPE_CHECKING

from crawlers.exceptions import UserError
from crawlers.frontier.crawls import Crawls, Definition

if TYPE_CHECKING:
    from scrapy import Spider


async def definition_of_named(crawls: Crawls, name: str, spider: Spider) -> Definition | None:
    """What the crawl `name` is about, for a worker that was told its name and nothing else; None where it is new."""
    targets = getattr(spider, "targets", None)
    if not name or (targets is not None and not targets.by_default):
        return None
    definition = await crawls.definition(name)
    unknown = {*definition.sites} - {*targets.sites} if definition is not None and targets is not None else None
    if unknown:
        raise UserError(f"crawl {name} is of sites that are unknown here: {', '.join(sorted(unknown))}")
    return definition


def definition_of(spider: Spider) -> Definition:
    """What the crawl is about, from the spider's targets; of another spider, its name."""
    targets = getattr(spider, "targets", None)
    if targets is None:
        return Definition(source=spider.name)
    if targets.urls:
        return Definition(urls=targets.urls, follow=targets.follow)
    return Definition(sites=tuple(sorted(targets.sites)))
