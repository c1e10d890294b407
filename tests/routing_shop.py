"""A small shop of a site with `when = "auto"`, and how its pages were had."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.servers.web import Page, WebServer
from tests.support import Finished

Web = Callable[..., WebServer]
RENDERED = ("browser", "same", "more", "failed")
LISTS, PRODUCTS = "page /c/*", "product /p/*"


def routes_in(finished: Finished) -> Counter[str]:
    return Counter(event["route"] for event in finished.events("request") if "route" in event)


def shop_of(web: Web, sites: Path, pages: dict[str, Any], browser: str = "", delay: float = 0.0) -> WebServer:
    """A site "shop" of those pages, whose lists are /c/ and whose products /p/; `browser` ends its TOML."""
    server = web(pages)
    domain = urlsplit(server.url).netloc
    (sites / "shop.toml").write_text(
        f'name = "shop"\ndomains = ["{domain}"]\nseeds = ["{server.url}/c/all"]\n'
        f'[product]\nallow = ["/p/"]\n[follow]\nallow = ["/c/"]\n[limits]\ndelay = {delay}\n'
        f'[browser]\nwhen = "auto"\n{browser}\n'
    )
    return server


def measured(html: str) -> Page:
    """A page with a script that changes nothing, as most have one."""
    return Page(f"<html><body>{html}<script>window.seen = 1</script></body></html>")


def filled(html: str) -> Page:
    """A page whose content comes by a script."""
    text = json.dumps(html).replace("</", "<\\/")
    script = f"document.body.insertAdjacentHTML('beforeend', {text})"
    return Page(f"<html><body><p>Loading</p><script>{script}</script></body></html>")


def priced(number: int) -> str:
    return product(name=f"Lamp {number}", sku=f"L-{number}", price="3.00", priceCurrency="EUR")


def anchors(*paths: str) -> str:
    return "".join(f'<a href="{path}">x</a>' for path in paths)


def product(**fields: str) -> str:
    offer = {key: fields.pop(key) for key in ("price", "priceCurrency") if key in fields}
    data = {"@type": "Product", "name": "Lamp", **fields, "offers": {"@type": "Offer", **offer}}
    return f'<script type="application/ld+json">{json.dumps(data)}</script>'
