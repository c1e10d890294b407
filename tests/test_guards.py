"""What a hostile server must not do to a worker, each on a server that does it; `why` tells what became of it."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from time import sleep
from typing import Any

import brotli
import pytest

from deploy.demo_shop import DemoShop
from tests.fleet import Ended, FrontierSeine, links
from tests.servers.certificates import Authority
from tests.servers.raw import MIB, OK, Answer, RawServer, encoded, endless, zeros
from tests.servers.redis import RedisServer
from tests.servers.web import Page, WebServer
from tests.support import Seine

Web = Callable[..., WebServer]


def fate(fleet: FrontierSeine, url: str) -> tuple[str, str]:
    """As `scrapy frontier why` tells it."""
    told = fleet.run("frontier", "why", url, "--spider", "path_spider", "--json", "-s", "SPIDER_MODULES=tests.spiders")
    [answer] = json.loads(told.out)["requests"]
    return answer["fate"], answer["reason"]


def crawl(fleet: FrontierSeine, server: Any, path: str, **settings: Any) -> Ended:
    return fleet.crawl_from(server, path, RETRY_TIMES=0, **settings)


# --- Addresses


def test_no_spelling_of_a_private_host_is_asked(fleet: FrontierSeine, web: Web) -> None:
    inside = WebServer({}, host="127.0.0.2")
    port = inside.domain.rpartition(":")[2]
    spellings = ["127.0.0.2", "127.2", "2130706434", "0x7f000002", "0177.0.0.2", "[::ffff:127.0.0.2]", "[::1]", "0"]
    with inside:
        server = web({"/": links(*(f"http://{host}:{port}/secret" for host in spellings))})
        ended = crawl(fleet, server, "/", ALLOWED_PRIVATE_NETWORKS="127.0.0.1/32")
    assert inside.visits == []
    assert ended.counts["filtered:private address"] == len(spellings)
    assert fate(fleet, f"http://2130706434:{port}/secret") == ("filtered", "private address")


def test_a_redirect_into_the_private_network_is_refused(fleet: FrontierSeine, web: Web) -> None:
    with WebServer({}, host="127.0.0.2") as inside:
        server = web({"/": Page("", 302, {"Location": f"{inside.url}/secret"})})
        ended = crawl(fleet, server, "/", ALLOWED_PRIVATE_NETWORKS="127.0.0.1/32")
    assert inside.visits == []
    assert ended.of("redirected", "filtered:private address") == {"redirected": 1, "filtered:private address": 1}


def test_a_name_that_leads_elsewhere_the_second_time_is_not_followed_there(fleet: FrontierSeine) -> None:
    """DNS rebinding: what was resolved and checked is what is dialled, connection by connection."""
    close = {"Connection": "close"}
    with WebServer({"/": links("/a", "/b")._replace(headers=close), "/a": Page("a", 200, close)}) as outside:
        port = outside.domain.rpartition(":")[2]
        names = {"rebind.test": ["127.0.0.1", "127.0.0.3", "127.0.0.3"]}
        inside = WebServer({"/a": Page("secret"), "/b": Page("secret")}, host="127.0.0.3", port=int(port))
        with inside:
            outside.url = f"http://rebind.test:{port}"
            ended = crawl(
                fleet,
                outside,
                "/",
                ALLOWED_PRIVATE_NETWORKS="127.0.0.1/32",
                TWISTED_DNS_RESOLVER="tests.resolvers.TableResolver",
                TEST_NAMES=json.dumps(names),
                DNSCACHE_ENABLED=0,
            )
    assert [visit.path for visit in outside.visits] == ["/"]
    assert inside.visits == []
    assert ended.counts["filtered:private address"] == 2
    assert fate(fleet, f"http://rebind.test:{port}/a") == ("filtered", "private address")


def test_an_ipv6_name_is_checked_as_well(fleet: FrontierSeine, web: Web) -> None:
    server = web({"/": Page("never")})
    server.url = f"http://localhost:{server.domain.rpartition(':')[2]}"
    resolver = "scrapy.resolver.CachingHostnameResolver"
    ended = crawl(fleet, server, "/", ALLOWED_PRIVATE_NETWORKS="", TWISTED_DNS_RESOLVER=resolver)
    assert ended.counts["filtered:private address"] == 1
    assert server.visits == []


def test_https_is_no_way_around(fleet: FrontierSeine, web: Web, tmp_path: Path) -> None:
    certificate = Authority(tmp_path / "authority").issue("shop")
    with WebServer({}, host="127.0.0.2", certificate=certificate) as inside:
        port = inside.domain.rpartition(":")[2]
        server = web({"/": links(f"{inside.url}/", f"https://inside.test:{port}/"), "/open": Page("x")}, certificate)
        ended = crawl(
            fleet,
            server,
            "/",
            ALLOWED_PRIVATE_NETWORKS="127.0.0.1/32",
            TWISTED_DNS_RESOLVER="tests.resolvers.TableResolver",
            TEST_NAMES=json.dumps({"inside.test": ["127.0.0.2"]}),
        )
    assert len(server.visits) == 1
    assert inside.visits == []
    assert ended.counts["filtered:private address"] == 2


def test_without_redis_the_same_holds(offline: Seine, web: Web) -> None:
    with WebServer({}, host="127.0.0.2") as inside:
        server = web({"/": Page("", 302, {"Location": f"{inside.url}/secret"})})
        named = f"http://inside.test:{inside.domain.rpartition(':')[2]}/"
        finished = offline.crawl(
            "-a",
            f"urls={server.url}/,{named}",
            ALLOWED_PRIVATE_NETWORKS="127.0.0.1/32",
            ROBOTSTXT_OBEY=0,
            TWISTED_DNS_RESOLVER="tests.resolvers.TableResolver",
            TEST_NAMES=json.dumps({"inside.test": ["127.0.0.2"]}),
        )
    assert inside.visits == []
    refused = finished.events("request", outcome="filtered", reason="private address")
    assert {event["url"] for event in refused} == {f"{inside.url}/secret", named}


def test_through_a_proxy_private_hosts_and_local_names_are_refused_and_others_are_the_proxys(
    fleet: FrontierSeine, web: Web
) -> None:
    page = links("http://127.0.0.2/", "http://localhost/", "https://localhost/", "http://other.test/")
    proxy = web({"http://shop.test/": page, "http://other.test/": Page("x")})
    target = web({})
    target.url = "http://shop.test"
    ended = crawl(fleet, target, "/", ALLOWED_PRIVATE_NETWORKS="", PROXIES=proxy.url)
    assert sorted(visit.path for visit in proxy.visits) == ["http://other.test/", "http://shop.test/"]
    assert ended.counts["filtered:private address"] == 3


def test_a_sites_own_networks_hold_for_its_domains_alone(fleet: FrontierSeine, web: Web, sites: Any) -> None:
    """The path spider knows no sites; the product spider's are of SITES_DIR."""
    mine, other = web({"/": Page("<h1>mine</h1>")}), web({"/": Page("<h1>other</h1>")})
    (sites / "mine.toml").write_text(f'name = "mine"\ndomains = ["{mine.domain}"]\nprivate_networks = ["127.0.0.0/8"]')
    fleet.crawl("-a", f"urls={mine.url}/,{other.url}/", ALLOWED_PRIVATE_NETWORKS="", ROBOTSTXT_OBEY=0)
    assert (len(mine.visits), len(other.visits)) == (1, 0)


def test_the_demo_needs_no_setting(offline: Seine, shop: DemoShop, sites: Path) -> None:
    (sites / "demo.toml").write_text(shop.site_toml().replace("pages = 5000", "pages = 40"))
    finished = offline.crawl("-a", "sites=demo", ALLOWED_PRIVATE_NETWORKS="")
    assert finished.code == 0
    assert not finished.events("request", reason="private address")
    assert finished.events("request", outcome="delivered")


def test_a_wrong_network_is_told_in_one_line(offline: Seine, sites: Any) -> None:
    finished = offline.crawl("-a", "urls=http://shop.test/", ALLOWED_PRIVATE_NETWORKS="lan")
    assert (finished.code, len(finished.err.splitlines())) == (2, 1), finished.err
    assert "seine: ALLOWED_PRIVATE_NETWORKS: lan: expected a network" in finished.err
    (sites / "mine.toml").write_text('name = "mine"\ndomains = ["a.test"]\nprivate_networks = ["lan"]')
    finished = offline.crawl("-a", "sites=mine")
    assert finished.code == 2
    assert "mine.toml:3: private_networks: lan: expected a network" in finished.err


# --- Sizes


def drip() -> Iterable[bytes]:
    yield OK + b"\r\n"
    for _ in range(200):
        yield b"<p>"
        sleep(0.1)


FILM = b"HTTP/1.1 200 OK\r\nContent-Type: video/mp4\r\n\r\n"
WELL_COMPRESSED = gzip.compress(b"<p>again and again</p>" * 40_000)
HOSTILE: dict[str, tuple[Answer, tuple[str, str]]] = {
    "/gzip": (encoded("gzip", lambda: zeros(64)), ("dead", "decompression ratio")),
    "/brotli": (encoded("br", lambda: [brotli.compress(bytes(64 * MIB), quality=5)]), ("dead", "decompression ratio")),
    "/gzip-in-gzip": (
        encoded("gzip, gzip", lambda: [gzip.compress(b"".join(zeros(16)))]),
        ("dead", "decompression ratio"),
    ),
    "/layers": (encoded("gzip, gzip, gzip, gzip", lambda: [b"x"]), ("dead", "decompression ratio")),
    "/below-a-mebibyte": (encoded("gzip", lambda: [WELL_COMPRESSED]), ("empty", "")),
    "/body": (endless(OK + b"\r\n", b"x" * 65_536), ("dead", "too large")),
    "/length": (lambda: [OK + b"Content-Length: 99999999999\r\n\r\n"], ("dead", "too large")),
    "/headers": (endless(OK, b"X-More: " + b"y" * 1000 + b"\r\n"), ("dead", "too large")),
    "/informational": (endless(b"", b"HTTP/1.1 100 Continue\r\nX: y\r\n\r\n" * 100), ("dead", "too large")),
    "/line": (endless(OK + b"X-Long: ", b"y" * 65_536), ("dead", "DownloadFailedError")),
    "/film": (endless(FILM, b"x" * 65_536), ("filtered", "content type")),
    "/drip": (drip, ("dead", "DownloadTimeoutError")),
}


@pytest.fixture(scope="module")
def hostile(redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RawServer, Ended]]:
    """One crawl of everything in HOSTILE."""
    env = {"REDIS_URL": redis_server.url, "FRONTIER_NAMESPACE": "test-hostile", "DOWNLOAD_DELAY": "0"}
    fleet = FrontierSeine(tmp_path_factory.mktemp("hostile"), env, redis_server.client())
    start = OK + b"Connection: close\r\n\r\n" + links(*HOSTILE).body.encode()
    with RawServer({"/": lambda: [start], **{path: answer for path, (answer, _) in HOSTILE.items()}}) as server:
        ended = crawl(fleet, server, "/", DOWNLOAD_MAXSIZE=64 * MIB, DOWNLOAD_TIMEOUT=5)
        assert fate(fleet, f"{server.url}/gzip") == ("dead", "decompression ratio")
        assert fate(fleet, f"{server.url}/film") == ("filtered", "content type")
        yield server, ended


@pytest.mark.parametrize("path", HOSTILE)
def test_what_a_hostile_server_sends_is_cut_off_and_told(hostile: tuple[RawServer, Ended], path: str) -> None:
    server, ended = hostile
    [event] = ended.finished.events("request", url=server.url + path)
    assert (event["outcome"], event["reason"]) == HOSTILE[path][1]
    assert server.written[path] < 96 * MIB


# --- Redirects


def test_a_chain_of_redirects_has_an_end(fleet: FrontierSeine, web: Web) -> None:
    server = web({f"/{n}": Page("", 302, {"Location": f"/{n + 1}"}) for n in range(20)})
    ended = crawl(fleet, server, "/0", REDIRECT_MAX_TIMES=5)
    assert len(server.visits) == 6
    assert ended.dead == {"/5": ["redirect loop"]}
    assert ended.counts["redirected"] == 5


def test_a_redirect_leads_to_the_web_only(fleet: FrontierSeine, web: Web) -> None:
    targets = ["file:///etc/passwd", "ftp://127.0.0.1/x", "data:text/html,x", "gopher://127.0.0.1/"]
    pages = {f"/{n}": Page("", 302, {"Location": target}) for n, target in enumerate(targets)}
    server = web({"/": links(*pages, *targets), **pages})
    ended = crawl(fleet, server, "/")
    assert len(server.visits) == 1 + len(targets)
    assert ended.counts.get("delivered", 0) == 0
    assert "root:" not in ended.finished.err


# --- Types


def test_an_error_stays_an_error_whatever_its_type(fleet: FrontierSeine, web: Web) -> None:
    server = web({"/picture": Page("x", 404, {"Content-Type": "image/png"})})
    assert crawl(fleet, server, "/picture").dead == {"/picture": ["http 404"]}


def test_types_are_the_operators_choice(fleet: FrontierSeine, web: Web) -> None:
    server = web({"/item-x": Page("%PDF", 200, {"Content-Type": "application/pdf"})})
    ended = crawl(fleet, server, "/item-x", CONTENT_TYPES="text/*,application/pdf")
    assert "filtered:content type" not in ended.counts
