"""Pages that are evidence are photographed while they are open; documents are drawn without asking anybody."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from threading import Event
from typing import Any

import pytest

from browser_pool.backend import Backend, Drawing, Rendered
from browser_pool.errors import BrowserTimeout
from browser_pool.playwright import PlaywrightBackend
from browser_pool.pool import BrowserPool
from tests.browsers import BACKENDS, BOT, pool_of, run, short_folder, task
from tests.servers.web import Page, WebServer

Web = Callable[..., WebServer]
PNG = b"\x89PNG\r\n"
PARTS = '<link rel=stylesheet href="/a.css"><script src="/a.js"></script><img src="/a.png"><iframe src="/a"></iframe>'
WALL = Page(f"<title>Are you a robot?</title>{PARTS}", 403)
SLOW_FONT = (
    """<script>const face = new FontFace("f", "url(/f.woff2)"); document.fonts.add(face); face.load()</script>"""
)


def is_wall(rendered: Rendered) -> bool:
    return b"robot" in rendered.body


def rendered_by(backend: Backend, *tasks: Any) -> list[Rendered]:
    async def rendered() -> list[Rendered]:
        with short_folder() as folder:
            async with pool_of(backend, folder) as pool:
                return [await pool.render(one, BOT) for one in tasks]

    return run(rendered(), 120)  # type: ignore[no-any-return]


@pytest.mark.parametrize("backend", BACKENDS, ids=lambda backend: backend.name)
def test_only_a_page_that_is_evidence_is_photographed(backend: Callable[[], Backend], web: Web) -> None:
    site = web({"/wall": WALL, "/": Page("<title>Tent</title>")})
    tasks = (task(f"{site.url}{path}", is_evidence=is_wall) for path in ("/wall", "/"))
    wall, page = rendered_by(backend(), *tasks)
    assert (wall.evidence or b"").startswith(PNG)
    assert (page.evidence, page.screenshot, wall.screenshot) == (None, None, None)


def test_a_page_counts_without_its_picture_where_that_takes_too_long(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("browser_pool.playwright_page.PICTURE", 0.3)
    is_over = Event()

    def font(_: int) -> Page:
        is_over.wait(60)
        return Page("")

    site = web({"/": Page(f"robot{SLOW_FONT}"), "/f.woff2": font})
    try:
        [wall] = rendered_by(
            PlaywrightBackend(), task(site.url + "/", is_evidence=is_wall, block=(), wait_until="domcontentloaded")
        )
    finally:
        is_over.set()
    assert (wall.status, wall.evidence) == (200, None)


class Drawings:
    """A pool that draws, on an event loop of its own."""

    def __init__(self, runner: asyncio.Runner, pool: BrowserPool):
        self._runner = runner
        self._pool = pool

    def draw(self, url: str, html: str, kind: str = "text/html; charset=utf-8", seconds: float = 20) -> bytes:
        return self._runner.run(self._pool.draw(Drawing(url, kind, html.encode(), seconds)))


@pytest.fixture(scope="module")
def drawings() -> Iterator[Drawings]:
    with short_folder() as folder, asyncio.Runner() as runner:
        opened = pool_of(PlaywrightBackend(), folder)
        yield Drawings(runner, runner.run(opened.__aenter__()))
        runner.run(opened.__aexit__(None, None, None))


def test_a_document_is_drawn_and_nobody_is_asked_for_anything(drawings: Drawings, web: Web) -> None:
    site = web({})
    away = f"<meta http-equiv=refresh content='0;url={site.url}/away'><link rel=preconnect href='{site.url}'>"
    live = f"<script>new WebSocket('{site.url.replace('http', 'ws')}/live'); fetch('/data')</script>"
    picture = drawings.draw(f"{site.url}/wall", f"{away}{live}{WALL.body}<form action=/go><input autofocus></form>")
    assert picture.startswith(PNG)
    assert site.visits == []


def test_its_scripts_do_not_run(drawings: Drawings) -> None:
    page = "<h1>Prove it</h1>"
    script = "<script>document.body.style.background = 'red'</script>"
    url = "http://shop.example/wall"
    assert drawings.draw(url, page + script) == drawings.draw(url, page)
    assert drawings.draw(url, page + "<style>body{background:red}</style>") != drawings.draw(url, page)
    assert drawings.draw(url, page + "<script>for(;;);</script>") == drawings.draw(url, page)


def test_it_is_drawn_as_of_its_address_and_type(drawings: Drawings) -> None:
    plain = drawings.draw("https://shop.example/wall", "<h1>Prüfung</h1>", "text/plain; charset=utf-8")
    assert plain != drawings.draw("https://shop.example/wall", "<h1>Prüfung</h1>")
    latin = drawings.draw("https://shop.example/wall", "<h1>Prüfung</h1>", "text/html; charset=latin-1")
    assert latin != drawings.draw("https://shop.example/wall", "<h1>Prüfung</h1>"), "its bytes are UTF-8"


def test_what_cannot_be_drawn_in_time_is_given_up(drawings: Drawings) -> None:
    with pytest.raises(BrowserTimeout):
        drawings.draw("http://shop.example/", "<h1>x</h1>", seconds=0.001)
    assert drawings.draw("http://shop.example/", "<h1>x</h1>").startswith(PNG)
