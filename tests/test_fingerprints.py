"""Fingerprints are Scrapy's, whatever the request."""

from __future__ import annotations

import pytest
from hypothesis import example, given, reject, settings
from hypothesis import strategies as st
from scrapy import Request
from scrapy.utils.request import RequestFingerprinter

from crawlers.fingerprints import _CANONICAL, QuickFingerprinter

ours, scrapys = QuickFingerprinter(), RequestFingerprinter()
texts = st.text(st.sampled_from("aZ09-._~/?=&%+;:@#[]é!'()*, "), max_size=24)
hosts = st.sampled_from(
    ["shop.example", "127.0.0.1:80", "Shop.Example", "a-b.c", "x.", "-x", "xn--p1ai", "u:p@h", "[::1]", "1"]
)


@settings(max_examples=1500, deadline=None, derandomize=True)
@given(st.sampled_from(["http", "https", "HTTP", "ftp"]), hosts, texts)
@example("http", "shop.example", "/a/../b")
@example("http", "shop.example", "/a//b")
@example("http", "shop.example:0080", "/")
@example("https", "shop.example:443", "/")
@example("http", "shop.example", "/?b=1&a=2")
@example("http", "shop.example", "")
def test_fingerprints_are_scrapys(scheme: str, host: str, rest: str) -> None:
    try:
        request = Request(f"{scheme}://{host}{rest}")
        expected = scrapys.fingerprint(request.copy())
    except ValueError:
        reject()  # no address at all
    assert ours.fingerprint(request) == expected


@pytest.mark.parametrize(
    "request_",
    [
        Request("http://shop.example/p/1", method="POST"),
        Request("http://shop.example/p/1", body=b"x"),
        Request("http://shop.example/p/1", meta={"verbatim_url": True}),
        Request("http://shop.example/p/1", headers={"X": "1"}),
    ],
)
def test_other_requests_are_fingerprinted_as_by_scrapy(request_: Request) -> None:
    assert ours.fingerprint(request_) == scrapys.fingerprint(request_.copy())


def test_the_usual_address_takes_the_short_way() -> None:
    assert _CANONICAL("https://www.shop.example/p/ridge-tunnel-tent-lf-10007?page=3")
    assert not _CANONICAL("https://www.shop.example/p/./x")
