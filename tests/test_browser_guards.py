"""A page that a browser renders is held to what plain HTTP is held to: addresses, robots.txt, types, walls, sizes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.fleet import Ended, FrontierSeine, links
from tests.servers.web import Page, WebServer

Web = Callable[..., WebServer]


def render(fleet: FrontierSeine, server: WebServer, folder: Path, **settings: Any) -> Ended:
    """A crawl whose every request is rendered, and tried once."""
    options = {"SPIDER_MODULES": "tests.rendered_spider", "BROWSER_TMP_DIR": folder, "RETRY_TIMES": 0, **settings}
    return fleet.crawl_from(server, "/", **options)


@pytest.mark.parametrize("backend", ["playwright", "selenium"])
def test_private_addresses_are_refused_wherever_a_browser_meets_them(
    fleet: FrontierSeine, web: Web, browser_folder: Path, backend: str
) -> None:
    """As the page itself, behind redirects by status and by script, and in a page's parts, however they are spelled."""
    inside = web({"/": Page("secret")}, host="127.0.0.2")
    port = inside.domain.rpartition(":")[2]
    named = f"http://localhost:{port}"
    listening = web({"/": Page("secret")}, host="127.0.0.1")
    listening_at = f"http://127.0.0.1:{listening.domain.rpartition(':')[2]}"
    spelled = "".join(
        f"<script src='http://{host}/a.js'></script><iframe src='http://{host}/b'></iframe>"
        for host in (f"2130706434:{port}", f"[::ffff:127.0.0.2]:{port}", f"[::1]:{port}", listening.domain)
    )
    server = web({
        "/": links(f"{named}/secret", f"{listening_at}/secret", f"{inside.url}/secret", "/status", "/script", "/parts"),
        "/status": Page("", 302, {"Location": f"{inside.url}/secret"}),
        "/script": Page(f"<script>location = '{inside.url}/secret'</script>"),
        "/parts": Page(f"<p>here</p>{spelled}"),
    }, host="127.0.0.3")  # fmt: skip
    ended = render(fleet, server, browser_folder, BROWSER_BACKEND=backend, ALLOWED_PRIVATE_NETWORKS="127.0.0.3/32")
    assert inside.visits == listening.visits == []
    assert ended.counts["filtered:private address"] == 5
    assert ended.of("expanded", "empty", "dead") == {"expanded": 1, "empty": 1, "dead": 0}


def test_robots_txt_holds_for_browsers_and_for_where_they_are_led(
    fleet: FrontierSeine, web: Web, browser_folder: Path
) -> None:
    plain = {"Content-Type": "text/plain"}
    server = web({
        "/robots.txt": Page("User-agent: *\nDisallow: /no", headers=plain),
        "/": links("/no", "/away", "/script"),
        "/away": Page("", 302, {"Location": "/no/status"}),
        "/script": Page("<script>location = '/no/script'</script>"),
        "/no/status": links("/status"),
        "/no/script": links("/script2"),
    })  # fmt: skip
    ended = render(fleet, server, browser_folder, ROBOTSTXT_OBEY=1)
    assert ended.counts["filtered:robots"] == 3
    assert len(server.visits_of("/robots.txt")) == 1
    assert server.visits_of("/no") == server.visits_of("/status") == server.visits_of("/script2") == []


def test_types_walls_and_sizes_are_those_of_plain_http(fleet: FrontierSeine, web: Web, browser_folder: Path) -> None:
    wall = "<title>Just a moment...</title><div id=cf-challenge-running></div>"
    server = web({
        "/": links("/picture", "/wall", "/big"),
        "/picture": Page("<svg xmlns='http://www.w3.org/2000/svg'/>", headers={"Content-Type": "image/svg+xml"}),
        "/wall": Page(wall, 403, {"Server": "cloudflare", "cf-mitigated": "challenge"}),
        "/big": Page("<body><script>document.body.append('x'.repeat(90000))</script>"),
    })  # fmt: skip
    ended = render(fleet, server, browser_folder, DOWNLOAD_MAXSIZE=50_000, CONTENT_TYPES="text/*")
    assert ended.counts["filtered:content type"] == 1
    assert ended.dead == {"/wall": ["challenge"], "/big": ["too large"]}
