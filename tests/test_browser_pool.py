"""What a page of the pool is: as its scripts leave it, with what the network said of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from typing import Any

import pytest

from browser_pool import playwright_page, refreshes, selenium_page
from browser_pool.backend import Cookie, Rendered
from browser_pool.blocking import blocked_urls
from browser_pool.egress import EgressPort
from browser_pool.errors import BrowserTimeout, NotAPage, PageFailed, PageTooLarge, RedirectLoop
from browser_pool.playwright import PlaywrightBackend
from browser_pool.pool import BrowserPool
from crawlers.browser_rules import Action
from crawlers.fetching.addresses import AddressRules
from crawlers.identity import Identity
from tests.browsers import BACKENDS, BOT, anywhere, children, command_of, pool_of, run, short_folder, task
from tests.servers.web import Page, WebServer

SCROLLING = """<ul id="list"></ul><script>
let count = 0;
function more() { for (let i = 0; i < 20; i++) {
    const one = document.createElement("li"); one.textContent = "item " + count++; one.style.height = "100px";
    document.getElementById("list").append(one); } }
more();
addEventListener("scroll", () => { if (count < 60) setTimeout(more, 50); });
</script>"""
SHADOW = "host.attachShadow({mode: 'open'}).innerHTML = '<p class=ready>a</p>'"
FORM = """<div id="banner"><button id="accept" onclick="document.getElementById('banner').remove()">OK</button></div>
<input id="q"><button id="go" onclick="document.body.append('you asked for ' + document.getElementById('q').value)">Go
</button>"""


class Shared:
    """A pool that the module's tests share, on an event loop of its own."""

    def __init__(self, runner: asyncio.Runner, pool: BrowserPool):
        self._runner = runner
        self.pool = pool

    def render(self, url: str, identity: Identity = BOT, depart: Any = None, **changes: Any) -> Rendered:
        return self._runner.run(self.pool.render(task(url, **changes), identity, depart))

    def way_out(self, identity: Identity) -> EgressPort:
        """Of what a browser sends for that identity."""
        return self._runner.run(self.pool.egress.port(identity.label, identity.proxy))

    def render_all(self, urls: list[str]) -> list[Rendered]:
        async def together() -> list[Rendered]:
            return await asyncio.gather(*(self.pool.render(task(url), BOT) for url in urls))

        return self._runner.run(together())


@pytest.fixture(scope="module", params=BACKENDS, ids=lambda backend: backend.name)
def browsers(request: pytest.FixtureRequest) -> Iterator[Shared]:
    with short_folder() as folder, asyncio.Runner() as runner:
        opened = pool_of(request.param(), folder)
        yield Shared(runner, runner.run(opened.__aenter__()))
        runner.run(opened.__aexit__(None, None, None))


Web = Callable[..., WebServer]


def cookie(name: str, value: str, **more: Any) -> Cookie:
    return Cookie(name, value, "127.0.0.1", **more)


def test_a_page_is_what_its_scripts_make_of_it(browsers: Shared, web: Web) -> None:
    script = "<script>document.getElementById('a').textContent = 'é' + 1 + 1</script>"
    site = web({"/": Page(f"<meta charset=utf-8><p id=a></p>{script}")})
    rendered = browsers.render(site.url + "/")
    assert '<p id="a">é11</p>'.encode() in rendered.body
    assert (rendered.url, rendered.status) == (site.url + "/", 200)
    assert ("content-type", "text/html") in [(name.lower(), value) for name, value in rendered.headers]
    assert rendered.timings["first_byte"] <= rendered.timings["total"]


def test_a_page_departs_with_its_tab_and_tells_when_it_is_asked_for(browsers: Shared, web: Web) -> None:
    site = web({"/": Page("x")})
    steps = []

    async def depart() -> None:
        steps.append("departs")
        assert not site.visits

    browsers.render(site.url + "/", depart=depart, on_asked=lambda: steps.append("is asked for"))
    assert steps == ["departs", "is asked for"]


def test_the_last_of_all_redirects_counts(browsers: Shared, web: Web) -> None:
    pages = {
        "/http": Page("", 302, {"Location": "/script"}),
        "/script": Page("<script>location.href = '/late'</script>"),
        "/late": Page("<script>addEventListener('load', () => location.replace('/meta'))</script>"),
        "/meta": Page("<meta http-equiv=refresh content='0;url=/end'>"),
        "/end": Page("the end", 404, {"X-Which": "last"}),
    }
    site = web(pages)
    rendered = browsers.render(site.url + "/http")
    assert (rendered.url, rendered.status) == (site.url + "/end", 404)
    assert b"the end" in rendered.body
    assert ("x-which", "last") in [(name.lower(), value) for name, value in rendered.headers]


@pytest.mark.parametrize("how", ["meta", "header"])
def test_a_refresh_within_a_second_is_a_redirect(browsers: Shared, web: Web, how: str) -> None:
    meta = {"/": Page("<meta http-equiv=REFRESH content='1; url=/end'>"), "/end": Page("the end")}
    header = {"/": Page("wait", 200, {"Refresh": "1; url=/end"}), "/end": Page("the end")}
    site = web(meta if how == "meta" else header)
    assert browsers.render(site.url + "/").url == site.url + "/end"


@pytest.mark.parametrize("refresh", ["2; url=/end", "0; url=javascript:1"])
def test_a_page_that_shows_for_longer_or_does_not_go_counts_as_it_is(
    browsers: Shared, web: Web, monkeypatch: pytest.MonkeyPatch, refresh: str
) -> None:
    monkeypatch.setattr(refreshes, "LATE", 0.2)
    site = web({"/": Page(f"<meta http-equiv=refresh content='{refresh}'>here"), "/end": Page("the end")})
    rendered = browsers.render(site.url + "/")
    assert (rendered.url, b"here" in rendered.body) == (site.url + "/", True)


@pytest.mark.parametrize("path", ["/script", "/status", "/into-status"])
def test_redirects_without_end_are_a_loop(browsers: Shared, web: Web, path: str) -> None:
    site = web({
        "/script": Page("<script>location.reload()</script>"),
        "/status": Page("", 302, {"Location": "/status"}),
        "/into-status": Page("<script>location = '/status'</script>"),
    })  # fmt: skip
    with pytest.raises(RedirectLoop):
        browsers.render(site.url + path)


def test_as_many_redirects_by_scripts_as_are_followed_lead_somewhere(browsers: Shared, web: Web) -> None:
    pages = {f"/{n}": Page(f"<script>location = '/{n + 1}'</script>") for n in range(15)}
    site = web({**pages, "/15": Page("the end")})
    assert b"the end" in browsers.render(site.url + "/0").body


@pytest.mark.parametrize("status", [200, 403, 429, 503])
def test_an_empty_answer_has_its_status_and_headers(browsers: Shared, web: Web, status: int) -> None:
    site = web({"/": Page("", status, {"Retry-After": "7"})})
    rendered = browsers.render(site.url + "/")
    assert (rendered.status, rendered.url) == (status, site.url + "/")
    assert ("retry-after", "7") in [(name.lower(), value) for name, value in rendered.headers]


def test_what_is_no_document_comes_as_it_is(browsers: Shared, web: Web) -> None:
    site = web({"/": Page('{"a": 1}', headers={"Content-Type": "application/json"})})
    rendered = browsers.render(site.url + "/")
    assert (rendered.body, rendered.is_document) == (b'{"a": 1}', False)


def test_a_download_is_not_a_page(browsers: Shared, web: Web) -> None:
    site = web({"/": Page("PK", headers={"Content-Type": "application/zip", "Content-Disposition": "attachment"})})
    with pytest.raises(NotAPage):
        browsers.render(site.url + "/")


def test_a_document_over_the_limit_is_refused(browsers: Shared, web: Web) -> None:
    site = web({"/": Page("<body><script>document.body.append('x'.repeat(100000))</script>")})
    with pytest.raises(PageTooLarge):
        browsers.render(site.url + "/", max_bytes=50_000)


def test_nobody_there_is_a_failed_page(browsers: Shared, nowhere: str) -> None:
    with pytest.raises(PageFailed):
        browsers.render(f"http://{nowhere}/")


def test_dialogs_are_dismissed_and_pop_ups_come_to_nothing(browsers: Shared, web: Web) -> None:
    site = web({
        "/": Page("""<body><script>alert(1); const said = confirm('sure?'); prompt('name?');
            open('/other'); document.body.append('confirmed: ' + said)</script>"""),
        "/other": Page("other"),
    })  # fmt: skip
    assert b"confirmed: false" in browsers.render(site.url + "/").body


def test_actions_are_done_in_turn(browsers: Shared, web: Web) -> None:
    site = web({"/": Page(FORM)})
    actions = (Action(consent="#accept"), Action(fill="#q", value="tents"), Action(click="#go"))
    body = browsers.render(site.url + "/", actions=actions).body
    assert b"you asked for tents" in body
    assert b"banner" not in body


def test_a_banner_that_is_not_there_does_no_harm(browsers: Shared, web: Web) -> None:
    site = web({"/": Page("no banner")})
    assert b"no banner" in browsers.render(site.url + "/", actions=(Action(consent="#accept"),)).body


@pytest.mark.parametrize(("times", "items"), [(1, 40), (10, 60)])
def test_scrolling_ends_with_the_growth_or_with_its_cap(browsers: Shared, web: Web, times: int, items: int) -> None:
    site = web({"/": Page(SCROLLING)})
    body = browsers.render(site.url + "/", actions=(Action(scroll=times),)).body
    assert body.count(b"<li") == items


def test_what_a_page_waits_for_must_come(browsers: Shared, web: Web) -> None:
    late = "<script>setTimeout(() => document.body.innerHTML = '<p class=ready>now</p>', %d)</script><body>"
    site = web({"/soon": Page(late % 300), "/never": Page(late % 60_000)})
    assert b"now" in browsers.render(site.url + "/soon", wait_for=".ready").body
    with pytest.raises(BrowserTimeout):
        browsers.render(site.url + "/never", wait_for=".ready", timeout=1)


def test_a_page_is_waited_for_until_it_is_visible(browsers: Shared, web: Web) -> None:
    showing = "document.querySelector('p').hidden = false; document.body.append('sho' + 'wn')"
    site = web(
        {"/": Page(f"<body><p class=ready hidden>now</p><script>setTimeout(() => {{ {showing} }}, 300)</script>")}
    )
    assert b"shown" in browsers.render(site.url + "/", wait_for=".ready").body


def test_waiting_goes_on_in_the_document_that_a_script_leads_to(browsers: Shared, web: Web) -> None:
    site = web({
        "/": Page("<script>setTimeout(() => location.href = '/next', 300)</script>"),
        "/next": Page("<p class=ready>there</p>"),
    })  # fmt: skip
    rendered = browsers.render(site.url + "/", wait_for=".ready")
    assert (rendered.url, b"there" in rendered.body) == (site.url + "/next", True)


@pytest.mark.parametrize("browsers", [PlaywrightBackend], ids=["playwright"], indirect=True)
@pytest.mark.parametrize(
    ("body", "selector"),
    [
        (f"<div id=host></div><script>{SHADOW}</script>", ".ready"),
        ("<div class=ready style='display: contents'>text</div>", ".ready"),
        ("<p>all there</p>", "text=all there"),
        ("<p>all there</p>", "p:has-text('there')"),
        ("<p>all there</p>", "//p"),
    ],
)
def test_playwright_finds_what_css_does_not(browsers: Shared, web: Web, body: str, selector: str) -> None:
    site = web({"/": Page(f"<body>{body}")})
    assert browsers.render(site.url + "/", wait_for=selector).status == 200


@pytest.mark.parametrize("browsers", [PlaywrightBackend], ids=["playwright"], indirect=True)
def test_windows_have_no_pages_of_their_own(browsers: Shared, web: Web) -> None:
    site = web({"/": Page("a page")})
    browsers.render(site.url + "/")
    assert not [part for process in children() for part in command_of(process) if "webui" in part]


def test_json_that_scripts_fetch_is_captured_by_pattern(browsers: Shared, web: Web) -> None:
    fetching = """<script>Promise.all(['/api/a', '/api/b', '/other'].map(path => fetch(path))).then(
        () => document.body.innerHTML = '<p id=done>x</p>')</script><body>"""
    answer = {"Content-Type": "application/json"}
    site = web({
        "/": Page(fetching),
        "/api/a": Page('{"n": 1}', headers=answer),
        "/api/b": Page("not json", 500),
        "/other": Page("{}", headers=answer),
    })  # fmt: skip
    captured = browsers.render(site.url + "/", capture=("/api/",), wait_for="#done").captured
    assert [(one.url, one.status, one.data) for one in captured] == [(f"{site.url}/api/a", 200, {"n": 1})]


def test_what_is_captured_has_limits(browsers: Shared, web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of each answer, and of all of them."""
    for module in (playwright_page, selenium_page):
        monkeypatch.setattr(module, "LARGEST_CAPTURE", 100)
        monkeypatch.setattr(module, "MOST_CAPTURED", 150)
    fetching = """<script>(async () => {
        for (const path of ['/api/a', '/api/big', '/api/b', '/api/c']) await (await fetch(path)).text();
        document.body.innerHTML = '<p id=done>x</p>';
    })()</script><body>"""
    answers = {"/api/a": "a" * 80, "/api/big": "b" * 101, "/api/b": "b" * 80, "/api/c": "c" * 40}
    site = web({"/": Page(fetching), **{path: Page(json.dumps(text)) for path, text in answers.items()}})
    captured = browsers.render(site.url + "/", capture=("/api/",), wait_for="#done").captured
    assert [one.data[0] for one in captured] == ["a", "c"]


def test_a_page_that_empties_itself_is_none(browsers: Shared, web: Web) -> None:
    site = web({"/": Page("<script>addEventListener('load', () => location = 'about:blank')</script>")})
    with pytest.raises(PageFailed):
        browsers.render(site.url + "/")


def test_a_screenshot_of_a_page_without_end_shows_its_upper_part(browsers: Shared, web: Web) -> None:
    site = web({"/": Page("<body style='margin:0'><div style='height:100000px;width:10px'>tall</div>")})
    shot = browsers.render(site.url + "/", screenshot=True).screenshot
    assert shot is not None
    assert int.from_bytes(shot[20:24]) == 16_384
    assert browsers.render(site.url + "/", screenshot=True, max_bytes=len(shot) - 1).screenshot is None


def test_a_screenshot_is_a_png(browsers: Shared, web: Web) -> None:
    site = web({"/": Page("<h1>hello</h1>")})
    shot = browsers.render(site.url + "/", screenshot=True).screenshot
    assert shot is not None
    assert shot.startswith(b"\x89PNG")


PARTS = """<style>@font-face { font-family: f; src: url(/f.woff2) } body { font-family: f }</style>a<img src=/i.png?v=1>
<video src=/film.mp4 preload=auto></video><script src=https://www.google-analytics.com/analytics.js></script>"""


def test_what_is_blocked_is_not_fetched(browsers: Shared, web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trackers are known by their names; here nobody is led to them."""
    hosts: set[str] = set()

    def rules(host: str, port: int) -> AddressRules:
        hosts.add(host)
        if host != "127.0.0.1":
            raise PermissionError(host)
        return anywhere(host, port)

    monkeypatch.setattr(browsers.way_out(BOT), "rules", rules)
    site = web({"/": Page(PARTS), "/i.png?v=1": Page(""), "/f.woff2": Page(""), "/film.mp4": Page("")})
    browsers.render(site.url + "/")
    assert (set(site.times), hosts) == ({"/"}, {"127.0.0.1"})
    browsers.render(site.url + "/", block=())
    assert {"/i.png?v=1", "/f.woff2", "/film.mp4"} < set(site.times)
    assert "www.google-analytics.com" in hosts


def test_each_kind_of_what_is_blocked_has_its_patterns() -> None:
    def is_blocked(url: str, *kinds: str) -> bool:
        return any(fnmatchcase(url, pattern.replace("?", "[?]")) for pattern in blocked_urls(kinds))

    kinds = {
        "images": ("http://a.test/i.png", "http://a.test/i.webp?v=1"),
        "fonts": ("http://a.test/f.woff2", "http://a.test/f.ttf?v=1"),
        "media": ("http://a.test/film.mp4", "http://a.test/list.m3u8?v=1"),
        "trackers": ("https://www.google-analytics.com/g/collect?v=2", "https://bat.bing.com/bat.js"),
    }
    for kind, urls in kinds.items():
        others = tuple(other for other in kinds if other != kind)
        for url in urls:
            assert (is_blocked(url, kind), is_blocked(url, *others)) == (True, False), url
    for url in ("http://a.test/p/1", "http://a.test/app.js", "http://a.test/png", "https://google-analytics.test/"):
        assert not is_blocked(url, *kinds), url


def test_cookies_go_both_ways(browsers: Shared, web: Web) -> None:
    site = web({"/": Page("<script>document.write(document.cookie); document.cookie = 'js=2; path=/'</script>")})
    identity = Identity("cookies")
    first = browsers.render(site.url + "/", identity, cookies=(cookie("http", "1"),))
    assert b"http=1" in first.body
    assert {(cookie.name, cookie.value) for cookie in first.cookies} == {("http", "1"), ("js", "2")}
    second = browsers.render(site.url + "/", identity, cookies=(cookie("http", "9"), cookie("js", "2")))
    assert b"http=9" in second.body


def test_cookies_are_sent_where_their_path_says(browsers: Shared, web: Web) -> None:
    asking = (
        "<body><script>fetch('/api').then(() => document.body.insertAdjacentHTML('beforeend', '<p id=a>a'))</script>"
    )
    site = web({"/shop/item/1": Page(asking), "/api": Page("{}")})
    sent = (cookie("all", "1"), cookie("shop", "2", path="/shop"))
    rendered = browsers.render(site.url + "/shop/item/1", Identity("paths"), cookies=sent, wait_for="#a")
    assert [dict(visit.headers)["Cookie"] for visit in site.visits] == ["shop=2; all=1", "all=1"]
    assert {(one.name, one.path) for one in rendered.cookies} == {("all", "/"), ("shop", "/shop")}


def test_a_cookie_that_no_browser_takes_costs_no_page(browsers: Shared, web: Web) -> None:
    site = web({"/shop/": Page("here")})
    sent = (cookie("__Host-bad", "1"), cookie("__Host-good", "2", is_secure=True), cookie("plain", "3"))
    assert browsers.render(site.url + "/shop/", Identity("strict"), cookies=sent).status == 200
    assert sorted(dict(site.visits[0].headers)["Cookie"].split("; ")) == ["__Host-good=2", "plain=3"]


def test_cookies_of_both_ends_of_a_redirect_are_told(browsers: Shared, web: Web) -> None:
    other = web({"/": Page("here", headers={"Set-Cookie": "other=2"})}, host="127.0.0.2")
    site = web({"/": Page("", 302, {"Location": other.url + "/"})})
    found = browsers.render(site.url + "/", Identity("both"), cookies=(cookie("own", "1"),)).cookies
    assert {(one.name, one.domain) for one in found} == {("own", "127.0.0.1"), ("other", "127.0.0.2")}


def test_identities_share_no_cookies(browsers: Shared, web: Web) -> None:
    site = web({"/": Page("<script>document.cookie = 'mine=1; path=/'</script>")})
    assert browsers.render(site.url + "/", Identity("one")).cookies
    site.pages["/"] = Page("<body>")
    assert browsers.render(site.url + "/", Identity("one")).cookies
    assert not browsers.render(site.url + "/", Identity("other")).cookies


def test_a_browser_has_a_bounded_number_of_contexts(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("browser_pool.running._MOST_PROFILES", 2)
    site = web({"/": Page("here")})

    async def visit() -> None:
        with short_folder() as folder:
            async with pool_of(PlaywrightBackend(), folder, pages=1) as pool:
                for name in ("one", "two", "three", "one"):
                    assert (await pool.render(task(site.url + "/"), Identity(name))).status == 200
                [running] = pool._running
                assert running.labels == {"three", "one"}

    run(visit())


def test_a_page_says_who_asks(browsers: Shared, web: Web) -> None:
    site = web({"/": Page("<script>document.write(navigator.userAgent + navigator.languages)</script>")})
    bot = browsers.render(site.url + "/").body
    assert BOT.user_agent.encode() in bot
    own = browsers.render(site.url + "/", Identity("own", is_browser_like=True, accept_language="de-CH,de")).body
    assert b"Chrome/" in own
    assert b"Headless" not in own
    assert b"de-CH,de" in own


def test_pages_are_rendered_side_by_side(browsers: Shared, web: Web) -> None:
    site = web({f"/{number}": Page(f"page {number}") for number in range(12)})
    rendered = browsers.render_all([f"{site.url}/{number}" for number in range(12)])
    assert [f"page {number}".encode() in one.body for number, one in enumerate(rendered)] == [True] * 12
