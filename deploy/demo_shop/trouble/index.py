"""All troubles by name, and the page that lists them."""

from __future__ import annotations

from html import escape

from aiohttp import web

from deploy.demo_shop.answers import html_answer
from deploy.demo_shop.pages.layout import page
from deploy.demo_shop.trouble import Ask, Trouble
from deploy.demo_shop.trouble.bodies import BODIES
from deploy.demo_shop.trouble.redirects import REDIRECTS
from deploy.demo_shop.trouble.statuses import STATUSES
from deploy.demo_shop.trouble.streams import STREAMS
from deploy.demo_shop.trouble.walls import WALLS

TROUBLES: dict[str, Trouble] = {**REDIRECTS, **STATUSES, **STREAMS, **BODIES, **WALLS}

PREFIX = "/trouble/"


async def trouble(ask: Ask) -> web.StreamResponse:
    name = ask.request.path.removeprefix(PREFIX)
    if name in TROUBLES:
        try:
            return await TROUBLES[name].handler(ask)
        except (ValueError, LookupError) as error:
            return web.Response(status=400, text=f"{ask.request.path_qs}: {error}\n")
    return _index(ask, 404 if name else 200)


def _index(ask: Ask, status: int) -> web.Response:
    rows = "".join(
        f'<dt><a href="{PREFIX}{name}">{name}</a></dt><dd>{escape(entry.what)}</dd>\n'
        for name, entry in TROUBLES.items()
    )
    content = f"<h1>Trouble</h1><p>Parameters go into the query, for instance /trouble/429?first=3.</p><dl>{rows}</dl>"
    html = page(ask.domain.locale, title="Trouble", content=content, head='<meta name="robots" content="noindex">\n')
    return html_answer(ask.domain.locale, html, status).response(ask.request)
