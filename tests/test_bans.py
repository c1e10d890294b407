"""Walls are told from pages, end the attempt, and everybody who must know hears of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from scrapy.http import Headers

from crawlers.bans.detecting import find_wall
from crawlers.bans.signatures import PAGES
from crawlers.bans.site_rules import SiteWalls
from crawlers.exceptions import SiteError
from crawlers.site_config import load_site
from tests.fleet import FrontierSeine, links
from tests.servers.web import Page, WebServer
from tests.support import Seine

Web = Callable[..., WebServer]


def seen(status: int, body: str, headers: dict[str, str] | None = None) -> tuple[str, str] | None:
    wall = find_wall("http://a.test/", status, Headers(headers or {}), body.encode(), frozenset({999}))
    return (wall.kind, wall.vendor) if wall else None


def titled(title: str, rest: str = "") -> str:
    return f"<!doctype html><html><head><meta charset=utf-8><title>{title}</title></head><body>{rest}</body></html>"


@pytest.mark.parametrize(
    ("status", "body", "headers", "expected"),
    [
        (403, "x", {"cf-mitigated": "challenge"}, ("challenge", "cloudflare")),
        (405, "", {"x-amzn-waf-action": "captcha"}, ("captcha", "aws waf")),
        (403, titled("Just a moment..."), {}, ("challenge", "")),
        (403, titled("Attention Required! | Cloudflare"), {}, ("ban", "")),
        (200, titled("Access denied"), {}, ("soft ban", "")),
        (200, titled("Pardon Our Interruption"), {}, ("soft ban", "")),
        (200, titled(" Robot\n Check "), {}, ("captcha", "")),
        (200, titled("Security check | Shop"), {}, ("captcha", "")),
        (403, titled("Are you a robot?"), {}, ("captcha", "")),
        (403, titled("Hello", '<div class="g-recaptcha">'), {}, ("captcha", "recaptcha")),
        (503, titled("Hello", '<div class="h-captcha">'), {}, ("captcha", "hcaptcha")),
        (200, titled("Are you human?", '<div class="cf-turnstile">'), {}, ("captcha", "turnstile")),
        (429, "<script src=/x?KPSDK></script>", {}, ("challenge", "kasada")),
        (999, "", {}, ("ban", "")),
    ],
)
def test_a_wall_is_seen_by_status_header_title_or_text(
    status: int, body: str, headers: dict[str, str], expected: tuple[str, str]
) -> None:
    assert seen(status, body, headers) == expected


@pytest.mark.parametrize("signature", PAGES, ids=lambda one: one.text)
def test_a_vendors_page_is_seen_with_any_status(signature: Any) -> None:
    body = titled("Hello", f"<p>{signature.text}</p>")
    for status in (200, 403, 503):
        kind = "soft ban" if signature.kind == "ban" and status == 200 else signature.kind
        assert seen(status, body) == (kind, signature.vendor)


PRODUCT = '<script type="application/ld+json">{"@type": "Product"}</script>'


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, titled("Ridge tunnel tent", PRODUCT)),
        (200, titled("Contact us", '<form><div class="g-recaptcha"></div></form>')),
        (200, titled("Captcha T-shirt | Shop", PRODUCT)),
        (200, titled("Access denied", PRODUCT)),
        (200, titled("Blocked drain cleaner")),
        (200, titled("Security checks at airports: what to pack")),
        (200, titled("Just a moment of silence, the album")),
        (200, titled("Hello", "x" * 40_000 + "px-captcha")),
        (200, ""),
        (403, titled("Forbidden")),
        (404, titled("Not found", '<div class="g-recaptcha"></div>')),
        (500, titled("Internal Server Error")),
        (301, titled("Access denied")),
    ],
)
def test_a_page_is_no_wall(status: int, body: str) -> None:
    assert seen(status, body) is None


def test_a_site_has_rules_of_its_own(sites: Path) -> None:
    text = 'name = "mine"\ndomains = ["a.test"]\n[product]\nallow = ["/p/"]\n[bans]\n'
    (sites / "mine.toml").write_text(
        text + 'statuses = [418]\ntitles = ["^Oops"]\ntexts = ["too quick"]\nproducts_have = "class=.price"\n'
    )
    own = SiteWalls(load_site(sites / "mine.toml"))

    def kind(url: str, status: int, body: str) -> str | None:
        wall = find_wall(url, status, Headers(), body.encode(), frozenset(), own)
        return wall.kind if wall else None

    assert kind("http://a.test/", 418, "") == "ban"
    assert kind("http://a.test/", 200, titled("Oops!")) == "soft ban"
    assert kind("http://a.test/", 503, titled("Hello", "you are too quick")) == "ban"
    assert kind("http://a.test/p/1", 200, titled("Hello")) == "soft ban", "a product's page without its price"
    assert kind("http://a.test/p/1", 200, titled("Hello", '<b class="price">')) is None
    assert kind("http://a.test/c/1", 200, titled("Hello")) is None
    (sites / "mine.toml").write_text(text + 'titles = ["("]\n')
    with pytest.raises(SiteError, match=r"mine\.toml:6: bans\.titles: '\(': expected a regular expression"):
        load_site(sites / "mine.toml")


def test_a_crawl_goes_by_the_rules_of_each_site(offline: Seine, sites: Path, web: Web) -> None:
    """Its pages look like any others; and where nobody is to look, a wall's page is one, too."""
    priced, empty = titled("Tent", '<b class="price">3</b>'), titled("Tent", "Loading")
    pages = {"/p/priced": Page(priced), "/p/empty": Page(empty), "/quick": Page(titled("Hello", "you are too quick"))}
    strict, open_ = web(pages), web({"/p/denied": Page(titled("Access denied")), "/p/empty": Page(empty)})
    for name, server, rules in (
        ("strict", strict, 'products_have = "class=.price"\ntexts = ["too quick"]\n'),
        ("open", open_, "detect = false\n"),
    ):
        seeds = json.dumps([server.url + path for path in server.pages])
        (sites / f"{name}.toml").write_text(
            f'name = "{name}"\ndomains = ["{server.domain}"]\nseeds = {seeds}\n'
            f'[product]\nallow = ["/p/"]\n[follow]\ndeny = ["."]\n[bans]\n{rules}'
        )
    finished = offline.crawl("-a", "sites=strict,open", ROBOTSTXT_OBEY=0, RETRY_ENABLED=0)
    ended = {event["url"]: (event["outcome"], event["reason"]) for event in finished.events("request")}
    assert ended == {
        f"{strict.url}/p/priced": ("empty", ""),
        f"{strict.url}/p/empty": ("dead", "soft ban"),
        f"{strict.url}/quick": ("dead", "soft ban"),
        f"{open_.url}/p/denied": ("empty", ""),
        f"{open_.url}/p/empty": ("empty", ""),
    }
    signs = {event["url"].removeprefix(strict.url): event["sign"] for event in finished.events("wall")}
    assert signs == {"/p/empty": "products_have", "/quick": "too quick"}


CAPTCHA = Page(titled("Are you a robot?", '<div class="g-recaptcha">'), 403)


def test_a_captcha_is_tried_again_later_and_ends_dead(fleet: FrontierSeine, web: Web) -> None:
    server = web({"/": links("/wall", "/item-x"), "/wall": CAPTCHA, "/item-x": Page("x")})
    ended = fleet.crawl_from(server, "/", RETRY_TIMES=2)
    assert ended.dead == {"/wall": ["captcha"] * 3}
    assert len(server.visits_of("/wall")) == 3
    [event] = ended.finished.events("request", url=f"{server.url}/wall", outcome="dead")
    assert (event["reason"], event["status"]) == ("captcha", 403)
    assert [event["kind"] for event in ended.finished.events("heard")] == ["captcha"] * 3, "every wall is signalled"
    told = fleet.run(
        *("frontier", "why", f"{server.url}/wall", "--spider", "path_spider", "--json"),
        *("-s", "SPIDER_MODULES=tests.spiders"),
    )
    assert json.loads(told.out)["requests"][0]["reason"] == "captcha"


def test_a_wall_that_says_200_opens_the_circuit(fleet: FrontierSeine, web: Web) -> None:
    wall = Page(titled("Access denied"))
    walls = {f"/wall-{n}": wall for n in range(8)}
    server = web({"/": links(*walls), **walls})
    ended = fleet.crawl_from(server, "/", RETRY_TIMES=0, BREAKER_FAILURES=4, BREAKER_COOL_DOWN=0.1, BREAKER_OPENINGS=2)
    assert set(reason for reasons in ended.dead.values() for reason in reasons) == {"soft ban", "domain down"}


def test_a_solver_answers_with_a_page_or_with_a_request(fleet: FrontierSeine, web: Web) -> None:
    def once(earlier: int) -> Page:
        return Page("through") if earlier else CAPTCHA

    server = web({"/": links("/page", "/request", "/never"), "/page": CAPTCHA, "/request": once, "/never": CAPTCHA})
    ended = fleet.crawl_from(server, "/", RETRY_TIMES=1, CAPTCHA_SOLVER="tests.spiders.Solver")
    assert ended.dead == {"/never": ["captcha", "captcha"]}
    assert ended.counts["empty"] == 2
    assert (len(server.visits_of("/page")), len(server.visits_of("/request"))) == (1, 2)


def test_without_redis_a_wall_is_tried_again_in_memory(offline: Seine, web: Web) -> None:
    server = web({"/": CAPTCHA})
    finished = offline.crawl("-a", f"urls={server.url}/", RETRY_TIMES=2, ROBOTSTXT_OBEY=0)
    assert len(server.visits) == 3
    [event] = finished.events("request", outcome="dead")
    assert event["reason"] == "captcha"


@pytest.mark.parametrize(
    ("setting", "value", "message"),
    [
        ("CAPTCHA_SOLVER", "nowhere.Solver", "CAPTCHA_SOLVER=nowhere.Solver: expected the path of a class"),
        ("CAPTCHA_SOLVER", "tests.spiders.Pipeline", "expected a class with `async def solve"),
        ("BAN_STATUSES", "403,none", "BAN_STATUSES: none: expected HTTP statuses"),
    ],
)
def test_a_wrong_setting_is_one_clear_line(offline: Seine, setting: str, value: str, message: str) -> None:
    finished = offline.crawl("-a", "urls=http://a.test/", **{setting: value})
    assert finished.code == 2
    assert message in finished.err
    assert "Traceback" not in finished.err
