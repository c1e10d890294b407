"""Routing with EMIT=changes: a page that HTTP says is unchanged is not rendered, and a shell vouches for no product."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.routing_shop import PRODUCTS, Web, anchors, measured, priced, product, shop_of
from tests.servers.redis import RedisServer
from tests.servers.web import Page, WebServer
from tests.support import Finished, Seine, consume

PLAIN, SCRIPTED = ("/p/0", "/p/1", "/p/2"), ("/p/3", "/p/4")


def conditional(server: Callable[[], WebServer], path: str, page: Page) -> Callable[[int], Page]:
    """The page with an ETag; not sent where that is what the client has."""
    tag = f'"{hashlib.sha1(page.body.encode()).hexdigest()[:8]}"'

    def answer(_: int) -> Page:
        visit = next(visit for visit in reversed(server().visits) if visit.path == path)
        same = dict(visit.headers).get("If-None-Match") == tag
        return Page("" if same else page.body, 304 if same else 200, {"ETag": tag})

    return answer


def shell(number: int) -> Page:
    """A page that is the same for ever, and fetches its product."""
    script = (
        f"fetch('/data/{number}').then(answer => answer.text()).then("
        "html => document.body.insertAdjacentHTML('beforeend', html))"
    )
    return Page(f"<html><body><p>Loading {number}</p><script>{script}</script></body></html>")


def test_a_304_is_believed_of_a_page_that_http_showed_and_never_asked_for_of_one_that_a_browser_filled(
    seine: Seine, sites: Path, web: Web, redis_server: RedisServer, browser_folder: Path
) -> None:
    """Both are of one pattern, of which routing knows that some of its pages need a browser."""
    seine.env |= {"REDIS_URL": redis_server.url, "FRONTIER_NAMESPACE": f"test-{secrets.token_hex(4)}"}
    prices = dict.fromkeys(SCRIPTED, "3.00")

    def data(path: str) -> Callable[[int], Page]:
        return lambda _: Page(product(name=path, sku=path[3:], price=prices[path], priceCurrency="EUR"))

    pages: dict[str, Any] = {"/c/all": measured(anchors(*PLAIN, *SCRIPTED))}
    pages |= {path: conditional(lambda: server, path, measured(priced(int(path[3:])))) for path in PLAIN}
    pages |= {path: conditional(lambda: server, path, shell(int(path[3:]))) for path in SCRIPTED}
    pages |= {f"/data/{path[3:]}": data(path) for path in SCRIPTED}
    server = shop_of(web, sites, pages, 'wait_until = "networkidle"')

    def crawl(name: str) -> tuple[Finished, dict[str, str]]:
        """The crawl, and the change that it told of each product."""
        server.visits.clear()
        finished = seine.crawl(
            EMIT="changes", FRONTIER_CRAWL_ID=name, BROWSER_TMP_DIR=browser_folder, ROBOTSTXT_OBEY=0, DOWNLOAD_DELAY=0
        )
        assert finished.code == 0, finished.err[-2000:]
        records = [one for one in consume(seine.env, seine.env["KAFKA_TOPIC_PRODUCTS"]) if one.value]
        of_it = [one.value for one in records if one.headers["crawl_id"] == name]
        return finished, {value["url"].removeprefix(server.url): value["change"] for value in of_it}

    _, changes = crawl("first")
    assert changes == dict.fromkeys((*PLAIN, *SCRIPTED), "new")
    known = _bare(seine)

    prices["/p/3"] = "2.00"
    second, changes = crawl("second")

    assert changes == {"/p/3": "changed"}
    ended = {event["url"].removeprefix(server.url): event for event in second.events("request")}
    assert [(ended[path]["reason"], ended[path]["route"]) for path in PLAIN] == [("not modified", "http")] * 3
    assert [(ended[path]["reason"], ended[path]["route"]) for path in SCRIPTED] == [("", "more"), ("unchanged", "more")]
    assert Counter(visit.path for visit in server.visits if visit.path in PLAIN) == dict.fromkeys(PLAIN, 1)
    asked = [visit for visit in server.visits if visit.path in SCRIPTED]
    assert len(asked) == 4
    assert not [visit for visit in asked if "If-None-Match" in dict(visit.headers)]
    assert (known, _bare(seine)) == (2, 4), "what is known of the pattern is kept, and grows"


def _bare(seine: Seine) -> float:
    """Comparisons of the products' pages without a product in which the browser had more."""
    routes = json.loads(seine.run("frontier", "routes", "shop", "--json").out)["routes"]
    [one] = [route for route in routes if route["pattern"] == PRODUCTS]
    return float(one["looks"]["bare"]["more"])
