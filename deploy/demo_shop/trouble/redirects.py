"""Redirects: chains, loops, and anywhere one likes."""

from __future__ import annotations

from aiohttp import web

from deploy.demo_shop.trouble import Ask, Trouble
from deploy.demo_shop.trouble.product import trouble_product


def _redirect(status: int, location: str) -> web.Response:
    return web.Response(status=status, headers={"Location": location})


async def permanent(ask: Ask) -> web.StreamResponse:
    return _redirect(301, "/trouble/302")


async def temporary(ask: Ask) -> web.StreamResponse:
    return _redirect(302, trouble_product(ask).path)


async def chain(ask: Ask) -> web.StreamResponse:
    hops, status = ask.whole("hops", 5), ask.whole("status", 302)
    if hops <= 1:
        return _redirect(status, trouble_product(ask).path)
    return _redirect(status, f"/trouble/chain?hops={hops - 1}&status={status}")


async def loop(ask: Ask) -> web.StreamResponse:
    return _redirect(302, "/trouble/loop?turn=b" if ask.request.query.get("turn") != "b" else "/trouble/loop?turn=a")


async def anywhere(ask: Ask) -> web.StreamResponse:
    return _redirect(302, ask.request.query.get("to", "http://127.0.0.1:9/private"))


REDIRECTS = {
    "301": Trouble(permanent, "301 to /trouble/302"),
    "302": Trouble(temporary, "302 to a product"),
    "chain": Trouble(chain, "hops=5 redirects of status=302, then a product"),
    "loop": Trouble(loop, "two addresses that redirect to each other"),
    "redirect": Trouble(anywhere, "302 to to=URL (by default a port of loopback that nobody serves)"),
}
