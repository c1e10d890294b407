"""A page that would stop its worker for hours costs nothing: tags with thousands of attributes are not parsed."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from scrapy.http import HtmlResponse

from crawlers.fetching.markup import MOST_ATTRIBUTES, as_parsed, has_giant_tag
from tests.fleet import FrontierSeine, links
from tests.servers.raw import RawServer
from tests.servers.web import Page, WebServer

MANY = 2 * MOST_ATTRIBUTES
FORMS: dict[str, Callable[[int], str]] = {
    "bare": lambda n: f" a{n}",
    "slashes": lambda n: f"/a{n}",
    "values": lambda n: f" a{n}=1",
    "quoted ends of tags": lambda n: f" a{n}='>'",
    "quoted tags": lambda n: f''' a{n}="><b '>"''',
    "spaces": lambda n: f"\n a{n} = ' > '",
    "nothing between": lambda n: f'a{n}=""',
    "the same again": lambda n: " ab",
}


@pytest.mark.parametrize("form", FORMS)
def test_a_tag_with_thousands_of_attributes_is_found(form: str) -> None:
    attributes = "".join(map(FORMS[form], range(MANY)))
    for before in ("", "<p>text</p>" * 5_000, "<script>a < b && c > d</script>" * 1_000):
        assert has_giant_tag(f"<html>{before}<div {attributes}>x".encode())
    assert has_giant_tag(f"<html><div {attributes}".encode()), "also where the page ends in it"


ORDINARY = {
    "text": "<p>" + "word 'x \" y " * 100_000,
    "script": "<script>" + "var a = 1; " * 50_000 + "</script>",
    "many tags": "<p class=a id=b title='c'>x</p>" * 50_000,
    "data": f"<div data-x='{'{&quot;a&quot;: 1} ' * 50_000}'>",
    "small": "<p " + "a " * 10_000 + ">",
}


@pytest.mark.parametrize("name", ORDINARY)
def test_other_pages_are_read(name: str) -> None:
    assert not has_giant_tag(ORDINARY[name].encode())


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "unicode_escape", "utf-8"])
def test_it_is_found_in_what_the_parser_gets(encoding: str) -> None:
    tag = "<\0a" + "".join(f" a{n}" for n in range(MANY)) + ">"
    body = f"<html>{tag}".encode(encoding)
    if encoding == "unicode_escape":
        body = b"<html>\\x3ca" + b"".join(b" a%d" % n for n in range(MANY)) + b">"
    headers = {"Content-Type": f"text/html; charset={encoding}"}
    response = HtmlResponse("http://shop.example/", body=body, headers=headers)
    assert has_giant_tag(as_parsed(response))


def test_a_status_beyond_three_digits_is_dead(fleet: FrontierSeine) -> None:
    def answer() -> list[bytes]:
        return [b"HTTP/1.1 987654321 Odd\r\nContent-Type: text/html\r\nContent-Length: 1\r\n\r\nx"]

    with RawServer({"/": answer}) as server:
        finished = fleet.run("crawl", "path_spider", "-a", f"url={server.url}/", *fleet.options(RETRY_TIMES=0))
    [event] = finished.events("request")
    assert (event["outcome"], event["reason"]) == ("dead", "status is none")


def test_such_a_page_is_dead_with_a_reason_and_its_worker_goes_on(
    fleet: FrontierSeine, web: Callable[..., WebServer]
) -> None:
    giant = "<p " + "".join(f" a{n}=1" for n in range(300_000)) + ">"
    server = web({"/": links("/giant", "/item-a"), "/giant": Page(giant), "/item-a": Page("x")})
    ended = fleet.crawl_from(server, "/", DOWNLOAD_TIMEOUT=20)
    assert ended.dead == {"/giant": ["hostile markup"]}
    assert ended.of("delivered", "expanded") == {"delivered": 1, "expanded": 1}
