"""Recorded pages come back under their own URLs, and nothing else does."""

from __future__ import annotations

import gzip
import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from w3lib.url import safe_url_string

from bench.replay import RecordingError, ReplayProxy, replay

PAGES = {
    "a1": ("https://shop.example/p/one?x=1&y=a%20b#size=2", "<h1>Één</h1>".encode("cp1252")),
    "b2": ("https://www.shop.example/té/two|2.html", b"<h1>Two</h1>"),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recording")
    (folder / "html").mkdir()
    for page_id, (_, body) in PAGES.items():
        (folder / "html" / f"{page_id}.html.gz").write_bytes(gzip.compress(body))
    (folder / "ground-truth.json").write_text(json.dumps({key: {"url": url} for key, (url, _) in PAGES.items()}))
    return folder


@pytest.fixture(scope="module")
def proxy(folder: Path) -> Iterator[ReplayProxy]:
    with replay(folder) as proxy:
        yield proxy


def get(proxy: ReplayProxy, url: str) -> requests.Response:
    session = requests.Session()
    session.trust_env = False
    return session.get(url, proxies={"http": proxy.url}, timeout=5)


def test_a_page_comes_back_byte_for_byte_as_html_without_a_charset(proxy: ReplayProxy) -> None:
    response = get(proxy, "http://shop.example/p/one?x=1&y=a%20b")
    assert response.content == PAGES["a1"][1]
    assert response.headers["Content-Type"] == "text/html"


def test_pages_are_listed_as_http_without_fragment_and_each_listed_url_is_served(proxy: ReplayProxy) -> None:
    assert proxy.urls[0] == "http://shop.example/p/one?x=1&y=a%20b"
    assert {proxy.pages[url]: get(proxy, url).content for url in proxy.urls} == {
        page_id: body for page_id, (_, body) in PAGES.items()
    }


def test_a_url_is_found_in_the_spelling_that_scrapy_sends(proxy: ReplayProxy) -> None:
    for url in proxy.urls:
        assert get(proxy, safe_url_string(url)).status_code == 200


def test_an_unknown_url_and_robots_txt_are_404(proxy: ReplayProxy) -> None:
    assert get(proxy, "http://shop.example/p/three").status_code == 404
    assert get(proxy, "http://shop.example/robots.txt").status_code == 404


def test_a_request_that_is_not_for_a_proxy_is_told_so(proxy: ReplayProxy) -> None:
    response = requests.get(proxy.url + "/p/one", timeout=5)
    assert response.status_code == 400
    assert "proxy" in response.text


def test_connect_is_refused_with_the_way_out(proxy: ReplayProxy) -> None:
    with socket.create_connection(("127.0.0.1", proxy.server_port), timeout=5) as sock:
        sock.sendall(b"CONNECT shop.example:443 HTTP/1.1\r\nHost: shop.example:443\r\n\r\n")
        answer = b"".join(iter(lambda: sock.recv(4096), b""))
    assert answer.startswith(b"HTTP/1.1 501 ")
    assert b"http form" in answer


def test_a_folder_that_is_no_recording_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match=r"ground-truth\.json"), replay(tmp_path):
        pass


def test_the_command_prints_its_address_and_writes_the_list(folder: Path, tmp_path: Path) -> None:
    urls = tmp_path / "urls.txt"
    command = [sys.executable, "-m", "bench.replay", str(folder), "--list", str(urls)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            address = process.stdout.readline().strip()
            listed = urls.read_text().split()
            response = requests.get(listed[1], proxies={"http": address}, timeout=5)
            assert response.content == PAGES["b2"][1]
        finally:
            process.terminate()
