"""Refuses answers that no honest server gives, before anybody counts or parses them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scrapy.http import TextResponse

from crawlers.fetching.markup import as_parsed, has_giant_tag
from crawlers.refusals import GivenUp

if TYPE_CHECKING:
    from scrapy import Request
    from scrapy.http import Response

_HIGHEST_STATUS = 999
"""HTTP's are of three digits; whoever counts answers by status has no room for any number."""


class SanityMiddleware:
    """Comes before everybody who reads a page."""

    def process_response(self, request: Request, response: Response) -> Response:
        """Raises GivenUp."""
        if response.status > _HIGHEST_STATUS:
            raise GivenUp("status is none", f"HTTP has no status {str(response.status)[:20]}")
        if isinstance(response, TextResponse) and has_giant_tag(as_parsed(response)):
            raise GivenUp("hostile markup", "a tag has thousands of attributes")
        return response
