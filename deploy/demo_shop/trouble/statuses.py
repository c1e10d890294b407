"""Answers that say no: for good, for now, or until asked often enough."""

from __future__ import annotations

import time
from email.utils import formatdate

from aiohttp import web

from deploy.demo_shop.answers import html_answer
from deploy.demo_shop.pages.layout import page
from deploy.demo_shop.trouble import Ask, Handler, Trouble
from deploy.demo_shop.trouble.product import product_response


def _error_page(ask: Ask, status: int, text: str) -> web.Response:
    html = page(ask.domain.locale, title=text, content=f"<h1>{status}</h1><p>{text}</p>")
    return html_answer(ask.domain.locale, html, status).response(ask.request)


def _always(status: int, text: str) -> Handler:
    async def handler(ask: Ask) -> web.StreamResponse:
        return _error_page(ask, status, text)

    return handler


async def too_many(ask: Ask) -> web.StreamResponse:
    if ask.count() > ask.whole("first", 2):
        return product_response(ask)
    response = _error_page(ask, 429, "Too Many Requests")
    seconds = ask.number("retry_after", 1)
    as_date = ask.request.query.get("as") == "date"
    response.headers["Retry-After"] = formatdate(time.time() + seconds, usegmt=True) if as_date else f"{seconds:g}"
    return response


async def flaky(ask: Ask) -> web.StreamResponse:
    if ask.count() > ask.whole("first", 2):
        return product_response(ask)
    return _error_page(ask, 503, "Service Unavailable")


STATUSES = {
    "403": Trouble(_always(403, "Forbidden"), "403"),
    "404": Trouble(_always(404, "Not Found"), "404"),
    "410": Trouble(_always(410, "Gone"), "410"),
    "429": Trouble(too_many, "429 for the first=2 asks with Retry-After retry_after=1 (as=date), then a product"),
    "500": Trouble(_always(500, "Internal Server Error"), "500, always"),
    "503": Trouble(flaky, "503 for the first=2 asks, then a product"),
}
