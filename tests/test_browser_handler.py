"""Scrapy with the browser's download handler: which requests are rendered, and what becomes of them."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from deploy.demo_shop import DemoShop
from tests.browsers import chromiums
from tests.polling import until
from tests.servers.certificates import Authority
from tests.servers.forward_proxy import RunningProxy
from tests.servers.web import Page, WebServer
from tests.support import Seine, events_in

SHOWN = "<p id=a>plain</p><script>document.getElementById('a').textContent = 'rendered'</script>"
Web = Callable[..., WebServer]


class Pages:
    """Crawls pages, and has what the spider made of them."""

    def __init__(self, seine: Seine, browser_folder: Path):
        self.seine = seine
        self._folder = browser_folder
        self.ended: Any = None

    def get(self, *requests: tuple[str, dict[str, Any]], **settings: Any) -> list[dict[str, Any]]:
        """What the spider yields of them."""
        return self.crawl("pages_spider", f"requests={json.dumps(requests)}", **settings)

    def crawl(self, spider: str, argument: str, **settings: Any) -> list[dict[str, Any]]:
        """What that spider yields."""
        out = self.seine.folder / "out.json"
        shared = {
            "SPIDER_MODULES": "tests.browser_spider",
            "BROWSER_TMP_DIR": self._folder,
            "ROBOTSTXT_OBEY": 0,
            "RETRY_ENABLED": 0,
            "ITEM_PIPELINES": "{}",
        }
        options = [part for name, value in {**shared, **settings}.items() for part in ("-s", f"{name}={value}")]
        self.ended = self.seine.run("crawl", spider, "-a", argument, "-O", str(out), *options)
        return json.loads(out.read_text() or "[]") if out.exists() else []

    def outcomes(self) -> list[tuple[str, str]]:
        return [(event["outcome"], event["reason"]) for event in self.ended.events("request")]


@pytest.fixture
def pages(offline: Seine, browser_folder: Path) -> Pages:
    return Pages(offline, browser_folder)


def test_only_what_asks_for_a_browser_gets_one(pages: Pages, web: Web) -> None:
    site = web({"/": Page(SHOWN)})
    asking: list[dict[str, Any]] = [{}, {"browser": True}, {"playwright": True}, {"browser": False, "playwright": True}]
    found = pages.get(*((site.url + "/", meta) for meta in asking))
    assert [("rendered</p>" in one["text"], one["rendered_by"]) for one in found] == [
        (False, None),
        (True, "playwright"),
        (True, "playwright"),
        (False, None),
    ]
    assert all(0 < one["latency"] < 20 for one in found)


def test_scrapy_playwrights_conventions(pages: Pages, web: Web) -> None:
    site = web({"/": Page("<button onclick=\"this.textContent = 'clicked'\">Go</button>")})
    methods = [{"method": "click", "args": ["button"]}, {"method": "wait_for_selector", "args": ["text=clicked"]}]
    meta = {"playwright": True, "playwright_page_methods": methods, "playwright_page_goto_kwargs": {"timeout": 9000}}
    assert "clicked" in pages.get((site.url + "/", meta))[0]["text"]


def test_a_spider_that_was_written_for_scrapy_playwright(pages: Pages, web: Web) -> None:
    """Its PageMethods are the package's own: what they return is in their `result`."""
    site = web({"/": Page("<h1>a title</h1>")})
    [found] = pages.crawl("playwright_spider", f"url={site.url}/")
    assert found == {"results": {"title": "a title", "renamed": "called with another"}, "title": "another"}
    assert dict(site.visits[0].headers)["Referer"] == "http://search.example/"


def test_a_page_is_not_lent(pages: Pages, web: Web) -> None:
    site = web({"/": Page(SHOWN)})
    assert not pages.get((site.url + "/", {"playwright": True, "playwright_include_page": True}))
    assert pages.outcomes() == [("dead", "NotSupported")]


def test_rules_of_a_request_and_a_mistake_in_them(pages: Pages, web: Web) -> None:
    fetching = "<script>fetch('/api').then(() => document.body.append('done'))</script><body>"
    answer = Page('{"price": 3}', headers={"Content-Type": "application/json"})
    site = web({"/": Page(fetching), "/api": answer})
    right = {"browser": {"capture": ["/api"], "wait_for": "text=done"}}
    found = pages.get((site.url + "/", right), (site.url + "/", {"browser": {"wait": 3}}))
    assert [one["captured"] for one in found] == [[{"price": 3}]]
    assert ("dead", "NotSupported") in pages.outcomes()


def test_cookies_of_http_reach_the_browser_and_its_own_reach_http(pages: Pages, web: Web) -> None:
    site = web({
        "/login": Page("in", headers={"Set-Cookie": "http=1; Path=/"}),
        "/shop": Page("<body><script>document.body.append(document.cookie); document.cookie='js=2; path=/'</script>"),
        "/basket": Page("basket"),
    })  # fmt: skip
    session = {"identity": "visitor-1"}
    by_browser = {**session, "browser": True}
    found = pages.get((site.url + "/login", session), (site.url + "/shop", by_browser), (site.url + "/basket", session))
    assert "http=1" in found[1]["text"]
    assert sorted(found[2]["sent"].split("; ")) == ["http=1", "js=2"]


def test_http_and_https_have_one_browser_and_https_its_hints_and_secure_cookies(
    pages: Pages, web: Web, tmp_path: Path
) -> None:
    certificate = Authority(tmp_path / "authority").issue("shop")
    plain = web({"/": Page(SHOWN), "/basket": Page("basket")})
    secure = web({
        "/login": Page("in", headers={"Set-Cookie": "http=1; Path=/; Secure"}),
        "/shop": Page(SHOWN + "<script>document.cookie = 'js=2; Path=/; Secure'</script>"),
        "/basket": Page("basket"),
    }, certificate)  # fmt: skip
    session = {"identity": "visitor-1"}
    by_browser = {**session, "browser": True}
    asked = (f"{secure.url}/login", session), (f"{plain.url}/", by_browser), (f"{secure.url}/shop", by_browser)
    asked += (f"{secure.url}/basket", session), (f"{plain.url}/basket", session)
    found = pages.get(
        *asked,
        EXTENSIONS=json.dumps({"tests.browser_spider.Trusting": 1}),
        TEST_TRUSTED_KEY=certificate.key_digest,
        SCHEDULER_PRIORITY_QUEUE="scrapy.pqueues.ScrapyPriorityQueue",  # one after another
    )
    assert ["rendered</p>" in one["text"] for one in found] == [False, True, True, False, False]
    headers = {name.lower(): value for name, value in secure.visits[1].headers}
    version = re.search(r"Chrome/(\d+)", headers["user-agent"])
    assert version is not None
    assert f';v="{version[1]}"' in headers["sec-ch-ua"]
    assert headers["sec-ch-ua-platform"]
    assert headers["cookie"] == "http=1"
    assert sorted(found[3]["sent"].split("; ")) == ["http=1", "js=2"]
    assert found[4]["sent"] == ""
    [browser] = pages.ended.events("browser ended")
    assert browser["pages"] == 2


def test_a_cookie_of_http_keeps_its_path_and_a_redirect_its_hosts(pages: Pages, web: Web) -> None:
    other = web({"/": Page("there", headers={"Set-Cookie": "other=2"}), "/next": Page("next")}, host="127.0.0.2")
    fetching = "<body><script>fetch('/api').then(() => document.body.append('done'))</script>"
    site = web({
        "/login": Page("in", headers={"Set-Cookie": "own=1; Path=/"}),
        "/shop/item": Page(fetching),
        "/api": Page("{}"),
        "/shop/away": Page("", 302, {"Location": other.url + "/"}),
        "/shop/next": Page("next"),
    })  # fmt: skip
    waiting = {"browser": {"wait_for": "text=done"}}
    asked = (f"{site.url}/login", {}), (f"{site.url}/shop/item", waiting), (f"{site.url}/shop/away", {"browser": True})
    asked += (f"{site.url}/shop/next", {}), (f"{other.url}/next", {})
    found = pages.get(*asked, SCHEDULER_PRIORITY_QUEUE="scrapy.pqueues.ScrapyPriorityQueue")  # one after another
    assert dict(next(visit.headers for visit in site.visits if visit.path == "/api"))["Cookie"] == "own=1"
    assert found[2]["url"] == f"{other.url}/"
    assert [one["sent"] for one in found[3:]] == ["own=1", "other=2"]


@pytest.mark.parametrize("key", ["cookiejar", "playwright_context"])
def test_sessions_share_no_cookies_in_the_browser_nor_after_it(pages: Pages, web: Web, key: str) -> None:
    site = web({
        "/login": Page("<script>document.cookie = 'token=alices; path=/'; localStorage.token = 'alices'</script>"),
        "/shop": Page("<body><script>document.body.append(`<${document.cookie} ${localStorage.token}>`)</script>"),
    })  # fmt: skip
    alice, bob = {key: "alice"}, {key: "bob"}
    visits = ("/login", alice, True), ("/shop", bob, True), ("/shop", bob, False), ("/shop", alice, True)
    found = pages.get(*((site.url + path, {**who, "browser": browser}) for path, who, browser in visits))
    assert "&lt; undefined&gt;" in found[1]["text"]
    assert found[2]["sent"] == ""
    assert "&lt;token=alices alices&gt;" in found[3]["text"]


@pytest.mark.parametrize("scheme", ["http", "socks5"])
def test_a_page_leaves_by_the_proxy_of_its_request(pages: Pages, web: Web, scheme: str) -> None:
    site = web(
        {"/": Page("<body><script>document.body.append('had' + document.cookie); document.cookie = 'a=1'</script>")}
    )
    with RunningProxy(scheme, "user", "p@ss") as first, RunningProxy("http") as second:
        asked = [{"browser": True, "proxy": proxy} for proxy in (first.url, second.address)]
        found = pages.get(*((site.url + "/", meta) for meta in asked), COOKIES_ENABLED=0)
        assert [one["status"] for one in found] == [200, 200]
        assert len(first.asked) == len(second.asked) == 1
    assert "hada=1" not in found[1]["text"]


def test_a_proxy_that_a_browser_cannot_have_is_refused(pages: Pages, web: Web) -> None:
    site = web({"/": Page(SHOWN)})
    assert not pages.get((site.url + "/", {"browser": True, "proxy": "https://127.0.0.1:9"}))
    assert pages.outcomes() == [("dead", "NotSupported")]
    assert not site.visits


def test_what_goes_wrong_is_a_failed_download(pages: Pages, web: Web, nowhere: str) -> None:
    site = web({"/late": Page("late"), "/big": Page("<body><script>document.body.append('x'.repeat(90000))</script>")})
    rendered: dict[str, Any] = {"browser": True}
    never = {"browser": {"wait_for": "#never"}, "download_timeout": 2}
    asked = (f"http://{nowhere}/", rendered), (site.url + "/late", never), (site.url + "/big", rendered)
    assert not pages.get(*asked, DOWNLOAD_MAXSIZE=50_000)
    assert sorted(pages.outcomes()) == [
        ("dead", "DownloadFailedError"),
        ("dead", "DownloadTimeoutError"),
        ("dead", "too large"),
    ]


def test_a_download_goes_by_plain_http(pages: Pages, web: Web) -> None:
    site = web({"/": Page("a,b", headers={"Content-Type": "text/csv", "Content-Disposition": "attachment"})})
    found = pages.get((site.url + "/", {"browser": True}))
    assert [(one["text"], one["rendered_by"]) for one in found] == [("a,b", None)]


def test_without_a_browser_the_error_says_how_to_get_one(pages: Pages, web: Web) -> None:
    site = web({"/": Page(SHOWN)})
    assert not pages.get((site.url + "/", {"browser": True}), BROWSER_EXECUTABLE="/nowhere/chromium")
    assert any("BROWSER_EXECUTABLE" in event.get("error", "") for event in pages.ended.events("request"))


def test_a_site_of_browser_pages_does_not_start_without_one(offline: Seine, sites: Path) -> None:
    rules = '[browser]\nwhen = "always"'
    (sites / "js.toml").write_text(f'name = "js"\ndomains = ["a.test"]\nseeds = ["http://a.test/"]\n{rules}\n')
    ended = offline.crawl("-a", "sites=js", BROWSER_EXECUTABLE="/nowhere/chromium")
    assert ended.code == 2
    assert "BROWSER_EXECUTABLE=/nowhere/chromium: expected a program" in ended.err
    assert "Traceback" not in ended.err


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"BROWSER_TMP_DIR": "/nowhere/x"}, "BROWSER_TMP_DIR=/nowhere/x: expected a folder that can be written to"),
        ({"BROWSER_TMP_DIR": f"/{'x' * 32}"}, "expected at most 32 bytes"),
        ({"BROWSER_BACKEND": "selenium", "PATH": "/usr/sbin"}, "BROWSER_BACKEND=selenium: no chromedriver on PATH"),
    ],
)
def test_what_no_browser_can_run_with_is_told_before_the_crawl(
    pages: Pages, settings: dict[str, Any], said: str
) -> None:
    """Also where it is requests that ask for one."""
    if path := settings.pop("PATH", None):
        pages.seine.env["PATH"] = f"{Path(sys.executable).parent}:{path}"
    assert not pages.get(**settings)
    assert pages.ended.code == 2
    assert said in pages.ended.err
    assert "Traceback" not in pages.ended.err


def test_a_browser_is_there_before_the_first_page_is_asked_for(
    offline: Seine, sites: Path, web: Web, browser_folder: Path
) -> None:
    """While the site's robots.txt is waited for; it is the one that renders the page."""
    site = web({"/": Page(SHOWN)})
    (sites / "js.toml").write_text(
        f'name = "js"\ndomains = ["{site.domain}"]\nseeds = ["{site.url}/"]\n[browser]\nwhen = "always"\n'
    )
    site.may_answer.clear()
    options = ("-s", f"BROWSER_TMP_DIR={browser_folder}", "-s", "ROBOTSTXT_OBEY=1")
    crawl = offline.start("crawl", "product_spider", "-a", "sites=js", *options)
    until(chromiums, "a browser", 20)
    assert "/" not in site.times
    site.may_answer.set()
    _, err = crawl.communicate(timeout=60)
    ended = events_in(err)
    [request] = [event for event in ended if event["event"] == "request"]
    assert request["url"] == f"{site.url}/"
    assert [event["pages"] for event in ended if event["event"] == "browser ended"] == [1]


def test_products_of_pages_that_are_scripts(offline: Seine, sites: Path, shop: DemoShop, browser_folder: Path) -> None:
    """The demo shop's JavaScript section, by its site's rules alone."""
    told = [product for product in shop.truth() if product["needs_js"]]
    domain = urlsplit(told[0]["url"]).netloc
    wanted = [product["url"] for product in told if urlsplit(product["url"]).netloc == domain][:8]
    (sites / "js.toml").write_text(
        f'name = "js"\ndomains = ["{domain}"]\nseeds = {json.dumps(wanted)}\nfollow = {{ deny = ["."] }}\n'
        '[browser]\nwhen = "always"\nwait_for = "[data-ready]"\n'
    )
    out = offline.folder / "out.jsonl"
    ended = offline.crawl("-a", "sites=js", "-O", str(out), BROWSER_TMP_DIR=browser_folder)
    assert ended.code == 0, ended.err[-2000:]
    found = [json.loads(line) for line in out.read_text().splitlines()]
    assert sorted(one["url"] for one in found) == sorted(wanted)
    assert {one["rendered_by"] for one in found} == {"playwright"}
