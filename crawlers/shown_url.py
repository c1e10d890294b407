"""URLs as the audit trail may tell them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Self

from crawlers.masking.masking import Masking

if TYPE_CHECKING:
    from scrapy.crawler import Crawler

_LONGEST = 8192
_USER = re.compile(r"^([a-z]+://)[^/?#]*@")
_QUERY = re.compile("[?#]")


class ShownUrls:
    """Without user and password, without query and fragment where AUDIT_QUERY_STRINGS is off, masked by the rules."""

    def __init__(self, masking: Masking, *, with_queries: bool):
        self._masking = masking if masking.is_active else None
        self._with_queries = with_queries

    @classmethod
    def of(cls, crawler: Crawler) -> Self:
        """Those of `crawler`, by the rules of its spider's sites."""
        return cls(Masking.of(crawler), with_queries=crawler.settings.getbool("AUDIT_QUERY_STRINGS"))

    def shown(self, url: str, site: str) -> str:
        """`url`, of a page of `site`."""
        if "@" in url:
            url = _USER.sub(r"\1", url)
        if not self._with_queries:
            url = _QUERY.split(url, 1)[0]
        masker = self._masking.of_site(site) if self._masking is not None else None
        return (url if masker is None else str(masker.mapping({"url": url})["url"]))[:_LONGEST]
