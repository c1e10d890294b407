"""A page that a browser renders is held to what plain HTTP is held to: addresses, robots.txt, types, walls, sizes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.fleet import Ended, FrontierSeine, links
from tests.servers.raw import MIB, OK, Answer, RawServer, encoded, endless, zeros
from tests.servers.web import Page, WebServer

Web = Callable[..., WebServer]


def page(body: str) -> Answer:
    return lambda: [OK + b"Connection: close\r\n\r\n" + body.encode()]


SCRIPT = b"HTTP/1.1 200 OK\r\nContent-Type: text/javascript\r\n\r\n"
LOOP = b"HTTP/1.1 302 Found\r\nLocation: /loop\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
HOSTILE: dict[str, tuple[Answer, list[str]]] = {
    "/body": (endless(OK + b"\r\n", b"x" * 65_536), ["too large"]),
    "/gzip": (encoded("gzip", lambda: zeros(64)), ["too large"]),
    "/informational": (endless(b"", b"HTTP/1.1 100 Continue\r\nX: y\r\n\r\n" * 100), ["DownloadFailedError"] * 2),
    "/loop": (lambda: [LOOP], ["redirect loop"]),
    "/part": (page("here<script src=/endless.js></script>"), []),
    "/fine": (page("here"), []),
}
"""What a server does to a browser, and why its page is dead, attempt by attempt."""


def render(fleet: FrontierSeine, server: Any, folder: Path, **settings: Any) -> Ended:
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


@pytest.mark.parametrize("backend", ["playwright", "selenium"])
def test_what_a_hostile_server_sends_is_cut_off_and_the_browser_goes_on(
    fleet: FrontierSeine, browser_folder: Path, backend: str
) -> None:
    """Before DOWNLOAD_TIMEOUT, in little memory, and in one browser; what another attempt does not change gets none."""
    answers = {"/": page(links(*HOSTILE).body), "/endless.js": endless(SCRIPT, b"x" * 65_536)}
    with RawServer(answers | {path: answer for path, (answer, _) in HOSTILE.items()}) as server:
        options = {"BROWSER_BACKEND": backend, "DOWNLOAD_MAXSIZE": MIB // 4, "DOWNLOAD_TIMEOUT": 20, "RETRY_TIMES": 1}
        ended = render(fleet, server, browser_folder, **options)
    assert ended.dead == {path: reasons for path, (_, reasons) in HOSTILE.items() if reasons}
    assert ended.of("expanded", "empty", "pending") == {"expanded": 1, "empty": 2, "pending": 0}
    assert [event["reason"] for event in ended.finished.events("browser ended")] == ["closed"]
    assert max(server.written.values()) < 32 * MIB
