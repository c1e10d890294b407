"""The status page in a real Chromium: what it shows, whoever wrote it, wherever it is read."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer
from playwright.sync_api import Browser, sync_playwright
from playwright.sync_api import Page as Tab

from browser_pool.chromium import find_executable
from pipelines.letter import MESSAGE
from tests.fleet import links
from tests.letters import PIPELINES, Letters, product
from tests.servers.ports import free_port
from tests.servers.web import WebServer
from tests.status import StatusAt

HOSTILE = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"
SWITCHES = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
SHOP = {
    "/": links("/a", "/b", "/bad?q=%3Cscript%3Ealert(1)%3C/script%3E", "/none"),
    "/a": product("a", sku="1"),
    "/b": product("b", sku="2"),
    "/bad?q=%3Cscript%3Ealert(1)%3C/script%3E": product("bad", offers={"price": "5"}),
}


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_executable(None), args=SWITCHES)
        yield browser
        browser.close()


@pytest.fixture
def served(letters: Letters, web: Callable[..., WebServer]) -> StatusAt:
    """The status of a worker that has crawled SHOP."""
    port = free_port()
    settings: dict[str, Any] = {"ROBOTSTXT_OBEY": 0, "RETRY_BACKOFF_SECONDS": 0.01, "FRONTIER_WAIT": 1}
    settings |= {"ITEM_PIPELINES": json.dumps(PIPELINES), "STATUS_PORT": port}
    options = [part for name, value in settings.items() for part in ("-s", f"{name}={value}")]
    letters.seine.start("crawl", "product_spider", "-a", f"sites={letters.site(web(SHOP))}", *options)
    return StatusAt(port).wait()


def opened(chromium: Browser, url: str, **context: Any) -> tuple[Tab, list[str]]:
    """The page once it knows of a complete crawl, and every address that it asked."""
    tab = chromium.new_context(**context).new_page()
    asked: list[str] = []
    tab.on("request", lambda request: asked.append(request.url))
    tab.goto(url, wait_until="domcontentloaded")
    tab.get_by_text("complete", exact=True).first.wait_for()
    return tab, asked


def test_a_person_sees_the_equation_the_sites_and_the_dead_letters(chromium: Browser, served: StatusAt) -> None:
    tab, asked = opened(chromium, served.url)
    terms = " ".join(tab.locator("#terms").inner_text().split())
    assert terms == "1 seeded 4 discovered = 2 delivered 1 expanded 2 dead 0 pending 0 leased adds up"
    assert "1 http 404" in tab.locator("#reasons").inner_text()
    site = " ".join(tab.locator('[data-table="sites"] tbody tr').inner_text().split())
    assert site.startswith("shop 5 2 0 3 1 ")
    letters = tab.locator('[data-table="letters"] tbody tr')
    letters.nth(1).wait_for()
    assert {row.split("\t")[1] for row in letters.all_inner_texts()} == {"validation", "download"}
    assert {url.removeprefix(served.url) for url in asked if not url.startswith("data:")} == {"/", "/events"}


def test_what_a_shop_wrote_is_shown_as_text_and_runs_nothing(
    chromium: Browser, served: StatusAt, letters: Letters
) -> None:
    tab, _ = opened(chromium, served.url)
    kafka = Producer({"bootstrap.servers": letters.seine.env["KAFKA_BOOTSTRAP_SERVERS"]})
    told = {"stage": HOSTILE, "error": HOSTILE, MESSAGE: HOSTILE, "url": HOSTILE, "site": HOSTILE}
    kafka.produce(letters.topic, key="x", value=b"{}", headers=[(name, text.encode()) for name, text in told.items()])
    assert kafka.flush(30) == 0
    tab.locator('[data-table="letters"]').get_by_text(HOSTILE).nth(3).wait_for()
    tab.get_by_text("script%3Ealert(1)").first.wait_for()
    assert tab.title() == "Seine"
    assert tab.locator("main img, main script").count() == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_is_readable_on_a_phone_by_day_and_night(
    chromium: Browser, served: StatusAt, scheme: str, tmp_path: Path
) -> None:
    tab, _ = opened(chromium, served.url, viewport={"width": 390, "height": 844}, color_scheme=scheme)
    assert tab.evaluate("document.documentElement.scrollWidth") <= 390, "nothing has to be scrolled sideways"
    ink, paper = (tab.evaluate(f"getComputedStyle(document.body).{name}") for name in ("color", "backgroundColor"))
    assert _contrast(_luminance(ink), _luminance(paper)) > 7
    assert (_luminance(paper) > 0.5) == (scheme == "light")
    assert tab.screenshot(path=tmp_path / f"{scheme}.png", full_page=True)


def test_it_says_that_its_worker_is_gone(chromium: Browser, served: StatusAt, letters: Letters) -> None:
    tab, _ = opened(chromium, served.url)
    [worker] = letters.seine.started
    worker.send_signal(signal.SIGTERM)
    tab.get_by_text("connection lost, trying again").wait_for()


def _luminance(colour: str) -> float:
    red, green, blue = (int(part) / 255 for part in colour.removeprefix("rgb(").removesuffix(")").split(","))
    parts = [one / 12.92 if one <= 0.04045 else ((one + 0.055) / 1.055) ** 2.4 for one in (red, green, blue)]
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]


def _contrast(one: float, other: float) -> float:
    return (max(one, other) + 0.05) / (min(one, other) + 0.05)
