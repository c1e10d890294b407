"""Refuses pages whose markup is made to stop whoever parses it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scrapy.http import TextResponse

from crawlers.fetching.markup import has_giant_tag
from crawlers.refusals import GivenUp

if TYPE_CHECKING:
    from scrapy import Request
    from scrapy.http import Response


class MarkupMiddleware:
    """Comes before everybody who reads a page."""

    def process_response(self, request: Request, response: Response) -> Response:
        """Raises GivenUp."""
        if isinstance(response, TextResponse) and has_giant_tag(response.body):
            raise GivenUp("hostile markup", "a tag has thousands of attributes")
        return response
