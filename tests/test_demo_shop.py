"""The demo shop keeps what it promises: its pages, its truth, its troubles, its log."""

from __future__ import annotations

import asyncio
import gzip
import json
import re
import socket
import subprocess
import sys
import time
import zlib
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import urljoin
from urllib.robotparser import RobotFileParser

import aiohttp
import extruct
import pytest
import requests
from lxml import html as lxml_html

from crawlers.items import AVAILABILITIES, CONDITIONS
from deploy.demo_shop import DemoShop, PortTaken, running_shop
from deploy.demo_shop.gtin import check_digit
from deploy.demo_shop.trouble.index import TROUBLES
from tests.servers.ports import free_row

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def open_shop() -> Iterator[DemoShop]:
    with running_shop(base_port=0) as shop:
        yield shop


@pytest.fixture
def shop(open_shop: DemoShop) -> DemoShop:
    open_shop.reset()
    return open_shop


def get(shop: DemoShop, path: str, domain: int = 0, **options: Any) -> requests.Response:
    return requests.get(shop.urls[domain] + path, timeout=10, **options)


def text_of(url: str) -> str:
    response = requests.get(url, timeout=10)
    if "charset" not in response.headers["Content-Type"]:
        response.encoding = "utf-8"
    return response.text


def of_markup(shop: DemoShop, markup: str) -> list[dict[str, Any]]:
    return [fact for fact in shop.truth() if fact["markup"] == markup]


def test_it_has_five_hundred_products_with_unique_skus_and_addresses(shop: DemoShop) -> None:
    truth = shop.truth()
    pages = [(fact["url"], text_of(fact["url"])) for fact in truth[::25]]
    assert len(truth) == 500
    assert len({fact["url"] for fact in truth}) == 500
    assert len({sku for fact in truth if (sku := fact.get("sku"))}) == 500
    assert all("<html" in text for _, text in pages)


def test_truth_speaks_the_items_terms(shop: DemoShop) -> None:
    for fact in shop.truth():
        assert fact["availability"] in AVAILABILITIES
        assert fact.get("condition") in {None, *CONDITIONS}
        assert fact["currency"] in {"USD", "EUR", "JPY", "CHF"}
        assert Decimal(fact["price"]) > 0
        assert 0 < fact.get("rating", 5) <= 5
        if gtin := fact.get("gtin"):
            assert check_digit(gtin[:-1]) == gtin[-1]


def test_every_kind_of_markup_is_there_more_than_a_few_times(shop: DemoShop) -> None:
    kinds = Counter(fact["markup"] for fact in shop.truth())
    assert len(kinds) == 12
    assert min(kinds.values()) >= 20


def test_two_starts_serve_the_same_bytes(shop: DemoShop) -> None:
    with running_shop(base_port=0) as other:
        for number, (one, two) in enumerate(zip(shop.urls, other.urls, strict=True)):
            paths = [fact["url"].removeprefix(one) for fact in shop.truth() if fact["url"].startswith(one)][::9]
            for path in ["/", "/sitemap.xml", *paths]:
                ours, theirs = (get(s, path, number).content for s in (shop, other))
                # Only the addresses differ; lengths of ports may.
                assert _without_ports(ours, shop) == _without_ports(theirs, other), (one, two, path)


def _without_ports(body: bytes, shop: DemoShop) -> bytes:
    for url in shop.urls:
        body = body.replace(url.encode(), b"BASE")
    return body


def test_a_polite_crawl_reaches_what_truth_calls_reachable_and_nothing_else(shop: DemoShop) -> None:
    fetched, found = asyncio.run(_crawl(shop))
    expected = {fact["url"] for fact in shop.truth() if fact["reachable"]}
    assert found == expected
    assert len(fetched) <= 900
    assert len(fetched) > len({url.partition("?")[0] for url in fetched}) + 20, "there are tracking duplicates"


async def _crawl(shop: DemoShop) -> tuple[set[str], set[str]]:
    """Follows what demo.toml follows, obeying robots.txt; the pages asked for, and the products seen."""
    robots = {url: _robots(url) for url in shop.urls}
    fetched: set[str] = set()
    found: set[str] = set()
    async with aiohttp.ClientSession() as session:
        wave = {f"{url}/" for url in shop.urls} | await _sitemap_urls(session, shop.urls[1] + "/sitemap.xml")
        while wave:
            fetched |= wave
            pages = await asyncio.gather(*(_links(session, url) for url in wave))
            found |= {canonical for canonical, _ in pages if canonical and "/p/" in canonical}
            links = {link for _, page_links in pages for link in page_links}
            wave = {link for link in links - fetched if _follow(link, robots)}
    return fetched, found


def _robots(base: str) -> RobotFileParser:
    parser = RobotFileParser()
    parser.parse(requests.get(f"{base}/robots.txt", timeout=5).text.splitlines())
    return parser


def _follow(link: str, robots: dict[str, RobotFileParser]) -> bool:
    base = re.match(r"http://[^/]+", link)
    wanted = re.search(r"/c/|[?&]page=|/p/", link) and not re.search(r"/trouble/|/_shop/", link)
    return bool(base and base[0] in robots and wanted and robots[base[0]].can_fetch("TestBot", link))


async def _links(session: aiohttp.ClientSession, url: str) -> tuple[str, set[str]]:
    async with session.get(aiohttp.client.URL(url, encoded=True)) as response:
        assert response.status == 200, url
        tree = lxml_html.fromstring(await response.read())
    canonical = "".join(tree.xpath("//link[@rel='canonical']/@href"))
    return canonical, {urljoin(url, href).partition("#")[0] for href in tree.xpath("//a/@href")}


async def _sitemap_urls(session: aiohttp.ClientSession, url: str) -> set[str]:
    async with session.get(url) as response:
        body = await response.read()
    text = gzip.decompress(body).decode() if url.endswith(".gz") else body.decode()
    locations = set(re.findall(r"<loc>(.*?)</loc>", text))
    if "<sitemapindex" not in text:
        return locations
    return set().union(*[await _sitemap_urls(session, location) for location in locations])


@pytest.mark.parametrize("markup", ["json-ld", "json-ld-graph", "json-ld-itempage", "json-ld-many", "json-ld-variant"])
def test_json_ld_holds_the_truth(shop: DemoShop, markup: str) -> None:
    for fact in of_markup(shop, markup)[::7]:
        text = text_of(fact["url"])
        scripts = [json.loads(script) for script in re.findall(r'ld\+json">(.*?)</script>', text, re.S)]
        flat = json.dumps(scripts, ensure_ascii=False)
        for field in ("name", "sku", "gtin", "mpn", "brand", "description"):
            assert json.dumps(fact.get(field, ""), ensure_ascii=False).strip('"') in flat, (fact["url"], field)


@pytest.mark.parametrize(("markup", "syntax"), [("microdata", "microdata"), ("rdfa", "rdfa")])
def test_attributes_hold_the_truth_as_extruct_reads_it(shop: DemoShop, markup: str, syntax: str) -> None:
    for fact in of_markup(shop, markup)[::9]:
        body = requests.get(fact["url"], timeout=5).content
        data = json.dumps(extruct.extract(body, fact["url"], syntaxes=[syntax]), ensure_ascii=False)
        for field in ("name", "sku", "gtin", "mpn", "brand"):
            assert fact.get(field, "") in data, (fact["url"], field)
        assert fact["availability"] in data


def test_slightly_broken_json_ld_is_broken(shop: DemoShop) -> None:
    for fact in of_markup(shop, "json-ld-broken"):
        script = re.findall(r'ld\+json">(.*?)</script>', text_of(fact["url"]), re.S)[0]
        with pytest.raises(ValueError, match="Expecting"):
            json.loads(script)
        assert fact["sku"] in script


def test_open_graph_truth_names_only_what_meta_tags_carry(shop: DemoShop) -> None:
    for fact in of_markup(shop, "opengraph"):
        assert not {"gtin", "mpn", "rating", "review_count", "breadcrumbs"} & fact.keys()
    text = text_of(fact["url"])
    assert "ld+json" not in text
    assert f':price:amount" content="{fact["price"]}"' in text


def test_visible_only_pages_tell_machines_nothing(shop: DemoShop) -> None:
    for fact in of_markup(shop, "visible"):
        text = text_of(fact["url"])
        assert not re.search(r"ld\+json|itemprop|typeof=|og:|product:", text)
        assert fact["sku"] in text


@pytest.mark.parametrize(
    ("domain", "shown"), [(0, r"\$\d+\.\d\d<"), (1, r">\d+,\d\d €<"), (2, r"¥\d+,\d{3}<"), (3, r"CHF \d'\d{3}\.\d\d<")]
)
def test_people_read_prices_in_their_own_form(shop: DemoShop, domain: int, shown: str) -> None:
    base = shop.urls[domain]
    pages = (requests.get(f["url"], timeout=5) for f in shop.truth() if f["url"].startswith(base) and f["reachable"])
    assert any(re.search(shown, page.content.decode("utf-8", "replace")) for page in pages)


def test_script_built_pages_are_shells_until_their_data_comes(shop: DemoShop) -> None:
    for fact in of_markup(shop, "js")[::8]:
        text = text_of(fact["url"])
        assert fact["name"] not in text
        assert "ld+json" not in text
        data = requests.get(urljoin(fact["url"], re.findall(r'fetch\("(.*?)"', text)[0]), timeout=5).json()
        assert fact["sku"] in data["html"]
        assert "ld+json" in data["head"]


def test_scrolling_brings_all_products_of_its_section(shop: DemoShop) -> None:
    seen, offset = get(shop, "/scroll/c/posters").text, 8
    while offset:
        data = get(shop, f"/scroll/api/posters?offset={offset}").json()
        seen, offset = seen + data["html"], data["next"]
    paths = [f["url"].removeprefix(shop.urls[0]) for f in shop.truth() if f["section"] == "scroll"]
    assert len(paths) == 40
    assert all(f'"{path}"' in seen for path in paths)


def test_prices_change_while_it_runs_and_a_reset_brings_them_back(shop: DemoShop) -> None:
    fact = of_markup(shop, "json-ld")[0]
    before = requests.get(fact["url"], timeout=5).content
    answer = requests.post(shop.urls[1] + "/_shop/prices", json={fact["sku"]: "4321.09"}, timeout=5)
    assert answer.json() == {"changed": 1}
    assert "$4,321.09" in text_of(fact["url"])
    assert next(f for f in get(shop, "/_shop/truth").json() if f.get("sku") == fact["sku"])["price"] == "4321.09"
    requests.post(shop.urls[0] + "/_shop/reset", timeout=5)
    assert requests.get(fact["url"], timeout=5).content == before


@pytest.mark.parametrize("prices", [{"no such": "1"}, {"LF-10007": "cheap"}, {"LF-10007": "-1"}, ["LF-10007"]])
def test_a_wrong_price_list_is_refused_and_changes_nothing(shop: DemoShop, prices: Any) -> None:
    answer = requests.post(shop.urls[0] + "/_shop/prices", json=prices, timeout=5)
    assert answer.status_code == 400
    assert answer.json()["error"]


def test_the_log_says_who_asked_what_when_and_with_which_headers(shop: DemoShop) -> None:
    begin = time.monotonic()
    get(shop, "/c/tents?page=2", headers={"X-Who": "me"})
    get(shop, "/nowhere", domain=1)
    first, second = get(shop, f"/_shop/log?since={begin}").json()
    assert (first["method"], first["path"], first["status"]) == ("GET", "/c/tents?page=2", 200)
    assert first["headers"]["X-Who"] == "me"
    assert begin <= first["start"] <= first["end"] <= second["start"]
    assert (second["domain"], second["status"]) == (shop.domains[1], 404)
    assert shop.log(path="tents") == [first]
    assert shop.log(domain=shop.domains[1]) == [second]
    requests.delete(shop.urls[0] + "/_shop/log", timeout=5)
    assert shop.log() == []


def test_robots_txt_closes_the_private_area_and_the_small_shop_asks_for_a_delay(shop: DemoShop) -> None:
    closed = [fact["url"] for fact in shop.truth() if fact["closed"]]
    assert closed
    assert not any(_robots(shop.urls[0]).can_fetch("TestBot", url) for url in closed)
    assert requests.get(closed[0], timeout=5).status_code == 200
    assert "Crawl-delay: 0.2" in get(shop, "/robots.txt", domain=3).text


def test_an_unchanged_page_answers_304_to_its_etag(shop: DemoShop) -> None:
    etag = get(shop, "/c/tents").headers["ETag"]
    assert get(shop, "/c/tents", headers={"If-None-Match": etag}).status_code == 304


def test_a_page_tells_since_when_it_is_as_it_is(shop: DemoShop) -> None:
    path, changed, other = of_markup(shop, "json-ld")[0]["url"], {"LF-10007": "9.99"}, "/about"
    before, about = requests.get(path, timeout=5).headers, get(shop, other).headers
    held = {"If-Modified-Since": before["Last-Modified"]}
    assert requests.get(path, headers=held, timeout=5).status_code == 304
    assert requests.get(path, headers={**held, "If-None-Match": '"other"'}, timeout=5).status_code == 200
    assert requests.get(path, headers={"If-Modified-Since": "Mon, 01 Jan 2001 00:00:00 GMT"}, timeout=5).ok
    shop.set_prices(changed)
    assert get(shop, other).headers["Last-Modified"] == about["Last-Modified"]


def test_a_product_that_was_removed_is_nowhere(shop: DemoShop) -> None:
    fact = next(f for f in of_markup(shop, "json-ld") if f["section"] == "catalog")
    path = fact["url"].removeprefix(shop.urls[0])
    domain = next(n for n, url in enumerate(shop.urls) if fact["url"].startswith(url))
    answer = requests.post(shop.urls[1] + "/_shop/removed", json=[fact["sku"]], timeout=5)
    assert answer.json() == {"removed": 1}
    assert requests.get(fact["url"], timeout=5).status_code == 404
    assert fact["url"] not in [row["url"] for row in get(shop, "/_shop/truth").json()]
    for listing in ("/sitemap-products-1.xml.gz", "/sitemap-products-2.xml"):
        body = get(shop, listing, domain).content
        assert path.encode() not in (gzip.decompress(body) if listing.endswith(".gz") else body)
    shop.reset()
    assert requests.get(fact["url"], timeout=5).status_code == 200


@pytest.mark.parametrize("skus", [["no such"], {"LF-10007": "1"}])
def test_a_wrong_list_of_removals_is_refused(shop: DemoShop, skus: Any) -> None:
    answer = requests.post(shop.urls[0] + "/_shop/removed", json=skus, timeout=5)
    assert (answer.status_code, bool(answer.json()["error"])) == (400, True)


def test_the_swiss_shop_is_not_utf_8_and_says_so(shop: DemoShop) -> None:
    response = get(shop, "/c/papeterie", domain=3)
    assert response.headers["Content-Type"] == "text/html; charset=iso-8859-1"
    assert "Précédent" in response.content.decode("cp1252") or "Léman" in response.content.decode("cp1252")


@pytest.mark.parametrize("status", [403, 404, 410, 500])
def test_errors_have_their_status(shop: DemoShop, status: int) -> None:
    assert get(shop, f"/trouble/{status}").status_code == status


def test_redirects_end_at_a_product_or_never(shop: DemoShop) -> None:
    response = get(shop, "/trouble/301")
    assert [r.status_code for r in response.history] == [301, 302]
    assert response.url == shop.truth()[0]["url"]
    assert len(get(shop, "/trouble/chain?hops=7").history) == 7
    with pytest.raises(requests.TooManyRedirects):
        get(shop, "/trouble/loop")


def test_busy_pages_relent_after_as_many_asks_as_they_were_told(shop: DemoShop) -> None:
    asks = [get(shop, "/trouble/429?first=2&retry_after=3") for _ in range(3)]
    assert [r.status_code for r in asks] == [429, 429, 200]
    assert asks[0].headers["Retry-After"] == "3"
    assert [get(shop, "/trouble/503?first=1").status_code for _ in range(2)] == [503, 200]
    shop.reset()
    assert get(shop, "/trouble/429?first=2&retry_after=3").status_code == 429


def test_slow_and_dripping_pages_take_their_time(shop: DemoShop) -> None:
    for path in ("/trouble/slow?seconds=0.2", "/trouble/drip?seconds=0.2"):
        begin = time.monotonic()
        assert "</html>" in get(shop, path).text
        assert time.monotonic() - begin >= 0.2


def test_endless_pages_end_when_their_reader_leaves(shop: DemoShop) -> None:
    with get(shop, "/trouble/endless", stream=True) as response:
        parts = response.iter_content(65536)
        assert sum(len(next(parts)) for _ in range(40)) > 1_000_000
    deadline = time.monotonic() + 5
    while shop.log(path="endless")[0]["end"] is None and time.monotonic() < deadline:
        time.sleep(0.02)
    assert shop.log(path="endless")[0]["end"]


def test_huge_pages_are_as_long_as_they_say(shop: DemoShop) -> None:
    with get(shop, "/trouble/huge?mb=8", stream=True) as response:
        assert int(response.headers["Content-Length"]) == sum(map(len, response.iter_content(1 << 20))) == 8 << 20


def test_the_bomb_is_valid_gzip_a_thousand_times_its_size(shop: DemoShop) -> None:
    with get(shop, "/trouble/bomb?mb=16", stream=True) as response:
        sent = response.raw.read(decode_content=False)
    assert len(sent) < 32_000
    assert len(zlib.decompress(sent, wbits=31)) == 16 << 20


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("drop", requests.exceptions.ChunkedEncodingError),
        ("no-answer", requests.ConnectionError),
        ("invalid-gzip", requests.exceptions.ContentDecodingError),
    ],
)
def test_broken_answers_break(shop: DemoShop, path: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        get(shop, f"/trouble/{path}")


def test_bodies_are_not_what_was_hoped_for(shop: DemoShop) -> None:
    assert get(shop, "/trouble/empty").content == b""
    assert get(shop, "/trouble/pdf").content.startswith(b"%PDF-")
    assert get(shop, "/trouble/png").content.startswith(b"\x89PNG")
    assert get(shop, "/trouble/json").json()
    assert get(shop, "/trouble/captcha").status_code == 403
    assert get(shop, "/trouble/soft-ban").status_code == 200
    wrong = get(shop, "/trouble/charset", domain=1)
    assert wrong.encoding == "iso-8859-1"
    assert "ä" in wrong.content.decode("utf-8")


def test_the_index_lists_every_trouble_and_a_wrong_parameter_is_named(shop: DemoShop) -> None:
    index = get(shop, "/trouble/").text
    assert all(f'href="/trouble/{name}"' in index for name in TROUBLES)
    answer = get(shop, "/trouble/slow?seconds=soon")
    assert (answer.status_code, "soon" in answer.text) == (400, True)


def test_the_committed_site_file_is_the_shops_own(shop: DemoShop) -> None:
    text = (ROOT / "crawlers/sites/demo.toml").read_text()
    for url, port in zip(shop.urls, range(18100, 18104), strict=True):
        text = text.replace(f"127.0.0.1:{port}", url.removeprefix("http://"))
    assert text == shop.site_toml()


def test_a_taken_port_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(PortTaken, match=f"port {port} is taken"), running_shop(base_port=port):
            pass


def test_it_can_listen_elsewhere_and_be_called_by_a_name() -> None:
    """As in a container, whose service's name others know it by."""

    async def home() -> tuple[list[str], bytes]:
        async with DemoShop(base_port=0, host="0.0.0.0", name="shop") as shop:
            port = shop.urls[0].rpartition(":")[2]
            async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.2:{port}/") as answer:
                return shop.urls, await answer.read()

    urls, page = asyncio.run(home())
    assert all(url.startswith("http://shop:") for url in urls)
    assert urls[0].encode() in page
    assert b"127.0.0.1" not in page


def test_the_command_starts_it_once_tells_of_it_and_stops_it(tmp_path: Path) -> None:
    port = str(free_row(4))

    def command(action: str) -> subprocess.CompletedProcess[str]:
        arguments = [sys.executable, "-m", "deploy.demo_shop", action, "--port", port, "--dir", str(tmp_path)]
        return subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True, timeout=30)

    try:
        up = command("up")
        assert up.returncode == 0, up.stderr
        pid = (tmp_path / "demo_shop.pid").read_text()
        assert command("up").stdout == up.stdout
        assert (tmp_path / "demo_shop.pid").read_text() == pid
        assert command("status").stdout.startswith(f"running, pid {pid.strip()}")
    finally:
        assert command("down").stdout == "stopped\n"
    assert command("status").returncode == 1
