"""Who a site sees: headers, hints, cookies and languages that belong together, for as long as a session lasts."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from scrapy.http import Headers

from crawlers.exceptions import SiteError
from crawlers.identities.agents import desktop_browsers
from crawlers.identities.headers import OVERRIDABLE, dress, template_of, undress
from crawlers.identities.languages import languages_of
from crawlers.identities.profiles import BrowserProfile, engines_profile, profile_of
from crawlers.site_config import load_site
from tests.fleet import FrontierSeine, links
from tests.servers.browser import RemoteBrowser
from tests.servers.web import Page, Visit, WebServer
from tests.support import Seine

Web = Callable[..., WebServer]
CHROME = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{}.0.0.0 Safari/537.36"
)
EDGE = CHROME + " Edg/{}.0.0.0"
HINTS = {"Sec-Ch-Ua", "Sec-Ch-Ua-Mobile", "Sec-Ch-Ua-Platform"}
SYSTEMS = {'"Windows"': "Windows NT", '"macOS"': "Macintosh", '"Linux"': "X11; ", '"Chrome OS"': "X11; CrOS"}
BROWSER = '[identities]\nkind = "browser"\n'


def assert_coherent(headers: dict[str, str]) -> None:
    """Nothing in them says another browser, version or system than the User-Agent does."""
    agent = headers["User-Agent"]
    if version := re.search(r"Chrome/(\d+)", agent):
        assert headers.keys() >= HINTS
        assert f'"Chromium";v="{version[1]}"' in headers["Sec-Ch-Ua"]
        assert ('"Microsoft Edge"' in headers["Sec-Ch-Ua"]) == ("Edg/" in agent)
        assert SYSTEMS[headers["Sec-Ch-Ua-Platform"]] in agent
        assert "image/apng" in headers["Accept"]
    else:
        assert re.search("Firefox/|Version/.* Safari/", agent)
        assert not HINTS & headers.keys()
        assert "image/apng" not in headers["Accept"]
    is_firefox = "Firefox/" in agent
    assert ("Upgrade-Insecure-Requests" in headers) == ("Version/" not in agent)
    assert re.search(r"en;q=0\.[35]$" if is_firefox else r"en;q=0\.[789]$", headers["Accept-Language"])


def write_site(sites: Path, server: WebServer, *paths: str, rules: str = BROWSER, head: str = "") -> None:
    seeds = json.dumps([f"{server.url}{path}" for path in paths])
    (sites / "mine.toml").write_text(
        f'name = "mine"\ndomains = ["{server.domain}"]\nseeds = {seeds}\n{head}\n{rules}\n[limits]\ndelay = 0\n'
    )


def pages_of(server: WebServer) -> list[Visit]:
    return [visit for visit in server.visits if visit.path != "/robots.txt"]


def agents_of(server: WebServer) -> list[str]:
    return [dict(visit.headers)["User-Agent"] for visit in pages_of(server)]


# --- What a browser is


@pytest.mark.parametrize(
    ("user_agent", "brands"),
    [
        (CHROME.format(124), '"Chromium";v="124", "Google Chrome";v="124", "Not-A.Brand";v="99"'),
        (CHROME.format(131), '"Google Chrome";v="131", "Chromium";v="131", "Not_A Brand";v="24"'),
        (CHROME.format(136), '"Chromium";v="136", "Google Chrome";v="136", "Not.A/Brand";v="99"'),
        (EDGE.format(135, 135), '"Microsoft Edge";v="135", "Not-A.Brand";v="8", "Chromium";v="135"'),
    ],
)
def test_hints_follow_from_the_user_agent_as_real_browsers_derive_them(user_agent: str, brands: str) -> None:
    profile = profile_of(user_agent)
    assert profile is not None
    assert profile.brands == brands


@pytest.mark.parametrize(
    "user_agent",
    [
        "Seine (+https://example.org/seine-bot)",
        CHROME.format(124) + " OPR/110.0.0.0",
        EDGE.format(135, 134),
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:137.0) Gecko/20100101 Firefox/136.0",
    ],
)
def test_what_is_no_browser_that_we_know_has_no_profile(user_agent: str) -> None:
    assert profile_of(user_agent) is None


@pytest.mark.parametrize(
    ("user_agent", "brands", "family"),
    [
        (CHROME.format(150), ["Chromium", "Not.A/Brand"], "chromium"),
        (CHROME.format(150), ["Chromium", "Not.A/Brand", "Google Chrome"], "chrome"),
        (EDGE.format(150, 150), ["Chromium", "Not.A/Brand", "Microsoft Edge"], "edge"),
    ],
)
def test_an_engine_is_known_by_name_and_brands(user_agent: str, brands: list[str], family: str) -> None:
    profile = engines_profile(user_agent, brands)
    assert profile == BrowserProfile(family, 150, "Windows", user_agent)


@pytest.mark.parametrize("profile", desktop_browsers(), ids=lambda profile: f"{profile.name}-{profile.platform}")
@pytest.mark.parametrize("url", ["https://shop.example/a", "http://shop.example/a"])
def test_every_browser_is_coherent(profile: BrowserProfile, url: str) -> None:
    is_safe = url.startswith("https")
    headers = Headers({"X-Own": "1", "Referer": "https://shop.example/"})
    dress(headers, template_of(profile, languages_of("de-AT"), is_safe=is_safe), url, ())
    told = {name.decode(): value.decode() for name, [value] in dict.items(headers)}
    if is_safe:
        assert_coherent(told)
    else:
        assert not any(name.startswith("Sec-") for name in told)
    assert told["Host"] == "shop.example"
    assert told["Accept-Language"].startswith("de-AT,de;q=0.")
    assert list(told)[-1] == "X-Own"


def test_a_request_keeps_what_it_brought_and_loses_what_it_was_given() -> None:
    headers = Headers({"Accept": "application/json", "User-Agent": "me", "X-Own": "1"})
    chrome, firefox = (next(one for one in desktop_browsers() if one.family == name) for name in ("chrome", "firefox"))
    own = [name for name in headers if name in OVERRIDABLE]
    for profile in (chrome, firefox):
        undress(headers, own)
        dress(headers, template_of(profile, ("en",), is_safe=True), "https://shop.example/", own)
        assert headers["User-Agent"] == profile.user_agent.encode()
    assert not any(name.startswith(b"Sec-Ch-Ua") for name in headers)
    undress(headers, own)
    assert headers == Headers({"Accept": "application/json", "X-Own": "1"})


@pytest.mark.parametrize(
    ("referer", "relation"),
    [
        ("", b"none"),
        ("https://a.shop.co.uk/x", b"same-origin"),
        ("https://b.shop.co.uk/x", b"same-site"),
        ("https://other.co.uk/", b"cross-site"),
        ("http://a.shop.co.uk/", b"cross-site"),
    ],
)
def test_the_way_that_led_to_a_page_is_told(referer: str, relation: bytes) -> None:
    headers = Headers({"Referer": referer} if referer else {})
    dress(headers, template_of(desktop_browsers()[0], ("en",), is_safe=True), "https://a.shop.co.uk/y", ())
    assert headers["Sec-Fetch-Site"] == relation


# --- In a crawl


def test_without_being_asked_it_is_an_honest_bot(fleet: FrontierSeine, web: Web) -> None:
    server = web({"/": links("/a"), "/a": Page("a")})
    fleet.crawl_from(server, "/", USER_AGENT="Shopper (+https://shopper.example)")
    assert set(agents_of(server)) == {"Shopper (+https://shopper.example)"}
    assert not any(name.startswith("Sec-") for visit in server.visits for name, _ in visit.headers)


def test_one_identity_asks_for_all_pages_of_a_site(fleet: FrontierSeine, sites: Path, web: Web) -> None:
    cookie = {"Set-Cookie": "basket=7; Path=/"}
    server = web({
        "/": links(*(f"/{n}" for n in range(10)))._replace(headers=cookie),
        "/0": Page("", 302, {"Location": "/moved"}),
        **{f"/{n}": Page("x") for n in range(1, 10)},
        "/moved": Page("moved"),
    })  # fmt: skip
    write_site(sites, server, "/", head='locale = "fr-FR"')
    assert fleet.crawl("-a", "sites=mine").code == 0
    first, *others = [dict(visit.headers) for visit in pages_of(server)]
    assert len(others) == 11
    assert_coherent(first)
    assert "Cookie" not in first
    for headers in others:
        assert headers.pop("Cookie") == "basket=7"
        assert headers.pop("Sec-Fetch-Site") == "same-origin"
        assert headers.pop("Referer").startswith(server.url)
        assert headers == {name: value for name, value in first.items() if name != "Sec-Fetch-Site"}
    assert first["Accept-Language"].startswith("fr-FR,fr;q=0.")
    order = [name for name, _ in pages_of(server)[1].headers]
    assert order.index("Host") == 0
    assert order[-1] == "Cookie"
    [robots] = [dict(visit.headers) for visit in server.visits if visit.path == "/robots.txt"]
    assert robots["User-Agent"].startswith("Seine ")


def test_many_identities_never_mix(fleet: FrontierSeine, sites: Path, web: Web) -> None:
    """Each has its own cookie, set at its first page, and shows it with the same headers from then on."""
    pages = [f"/{n}" for n in range(60)]

    def page(_: int) -> Page:
        cookie = dict(server.visits[-1].headers).get("Cookie")
        return Page("x", headers={} if cookie else {"Set-Cookie": f"who={len(server.visits)}; Path=/"})

    server = web(dict.fromkeys(pages, page))
    write_site(sites, server, *pages, rules=f"{BROWSER}count = 6\n")
    assert fleet.crawl("-a", "sites=mine", CONCURRENT_REQUESTS=1, CONCURRENT_REQUESTS_PER_DOMAIN=1).code == 0
    seen: dict[str, set[str]] = {}
    for visit in pages_of(server):
        headers = dict(visit.headers)
        assert_coherent(headers)
        if "Cookie" in headers:
            seen.setdefault(headers["Cookie"], set()).add(headers["User-Agent"])
    assert len(pages_of(server)) == 60
    assert len(seen) == 6
    assert all(len(agents) == 1 for agents in seen.values())


def test_who_has_met_a_wall_is_not_seen_again(fleet: FrontierSeine, sites: Path, web: Web) -> None:
    wall = Page("<title>Access denied</title>", 403, {"Set-Cookie": "marked=1; Path=/", "Server": "cloudflare"})
    server = web({"/": lambda earlier: Page("through") if earlier > 1 else wall})
    rules = f"{BROWSER}[bans]\nstatuses = [403]"
    write_site(sites, server, "/", rules=rules)
    ended = fleet.crawl("-a", "sites=mine", RETRY_BACKOFF_SECONDS=0.01)
    assert ended.code == 0
    assert len(pages_of(server)) == 3
    assert not any("Cookie" in dict(visit.headers) for visit in pages_of(server))
    retired = [event["identity"] for event in ended.events("identity retired", reason="banned")]
    assert len(set(retired)) == 2
    for visit in pages_of(server):
        assert_coherent(dict(visit.headers))


def test_an_identity_ages(fleet: FrontierSeine, sites: Path, web: Web) -> None:
    cookie = {"Set-Cookie": "who=1; Path=/"}
    server = web({f"/{n}": links(f"/{n + 1}")._replace(headers=cookie) for n in range(4)})
    server.latency = 0.2
    write_site(sites, server, "/0", rules=f"{BROWSER}seconds = 0.1\n")
    ended = fleet.crawl("-a", "sites=mine")
    assert len(ended.events("identity retired", reason="aged")) == 4
    assert not any("Cookie" in dict(visit.headers) for visit in pages_of(server))


def test_a_session_has_its_identity_to_itself(offline: Seine, web: Web) -> None:
    def page(earlier: int) -> Page:
        return Page("x", headers={"Set-Cookie": f"visit={earlier}; Path=/"})

    server = web({"/": page})
    requests = [[f"{server.url}/", {"session": name}] for name in ("one", "two", "one", "two", "one")]
    options = {"SPIDER_MODULES": "tests.browser_spider", "IDENTITY": "browser", "ITEM_PIPELINES": "{}"}
    offline.run(
        "crawl", "pages_spider", "-a", f"requests={json.dumps(requests)}",
        *(part for name, value in options.items() for part in ("-s", f"{name}={value}")),
    )  # fmt: skip
    sent = [dict(visit.headers).get("Cookie") for visit in pages_of(server)]
    assert sent == [None, None, "visit=0", "visit=1", "visit=2"]
    agents = agents_of(server)
    assert agents[0] == agents[2] == agents[4]
    assert agents[1] == agents[3]


@pytest.fixture(params=["installed", "remote chromium", "remote chromedriver"])
def browser(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[dict[str, Any]]:
    """Settings that say where the browser is; the one beside a remote one has another version."""
    kind = request.param.removeprefix("remote ")
    if kind == "installed":
        yield {}
        return
    other = tmp_path / "chromium"
    other.write_text("#!/bin/sh\necho Chromium 99.0.4844.51\n")
    other.chmod(0o755)
    backend = {"chromium": "playwright", "chromedriver": "selenium"}[kind]
    with RemoteBrowser(kind) as remote:
        yield {"BROWSER_REMOTE_URL": remote.url, "BROWSER_BACKEND": backend, "BROWSER_EXECUTABLE": other}


def test_http_and_browser_are_one_identity(
    fleet: FrontierSeine, sites: Path, web: Web, browser_folder: Path, browser: dict[str, Any]
) -> None:
    """A sitemap comes by plain HTTP, its page by a real Chromium: by their headers nobody can tell them apart."""
    headers = {"Content-Type": "application/xml", "Set-Cookie": "basket=7; Path=/"}
    server = web({"/page": Page("<p>here</p>")})
    server.pages["/map.xml"] = Page(f"<urlset><url><loc>{server.url}/page</loc></url></urlset>", headers=headers)
    rules = f'{BROWSER}[browser]\nwhen = "always"'
    write_site(sites, server, rules=rules, head=f'locale = "de-DE"\nsitemaps = ["{server.url}/map.xml"]')
    assert fleet.crawl("-a", "sites=mine", BROWSER_TMP_DIR=browser_folder, **browser).code == 0
    plain, rendered = (
        dict(visit.headers) for path in ("/map.xml", "/page") for visit in server.visits if visit.path == path
    )
    assert rendered.pop("Cookie") == "basket=7"
    lower = {name.lower(): value for name, value in plain.items()}
    theirs = {name.lower(): value for name, value in rendered.items()}
    for one in (lower, theirs):
        for name in ("referer", "sec-fetch-site"):
            one.pop(name, None)
    assert lower == theirs
    assert '"Chromium";v=' in lower["sec-ch-ua"]
    assert '"Chromium";v="99"' not in lower["sec-ch-ua"]


@pytest.mark.parametrize("backend", ["playwright", "selenium"])
def test_a_remote_browser_that_does_not_tell_its_version_stops_the_start(
    offline: Seine, nowhere: str, backend: str
) -> None:
    remote = {"BROWSER_REMOTE_URL": f"http://me:secret@{nowhere}", "BROWSER_BACKEND": backend}
    ended = offline.crawl("-a", "urls=http://a.test/", IDENTITY="browser", **remote)
    [line] = [line for line in ended.err.splitlines() if "BROWSER_REMOTE_URL" in line]
    assert "which browser is there could not be asked: launch: " in line
    assert "secret" not in ended.err
    assert (ended.code, "Traceback" in ended.err) == (1, False)


def test_mistakes_are_named(tmp_path: Path, offline: Seine) -> None:
    start = 'name = "mine"\ndomains = ["a.test"]\n[identities]\n'
    for rules, message in {
        'kind = "robot"': "identities.kind: .* expected one of bot, browser",
        "count = -1": "count = -1: expected a number of at least 0",
        'languages = ["de_AT"]': "expected a BCP 47 tag",
    }.items():
        (tmp_path / "mine.toml").write_text(start + rules)
        with pytest.raises(SiteError, match=message):
            load_site(tmp_path / "mine.toml")
    ended = offline.crawl("-a", "urls=http://a.test/", IDENTITY="person")
    assert (ended.code, "IDENTITY=person: expected one of bot, browser" in ended.err) == (2, True)
