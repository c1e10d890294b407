"""Services beside the web that answer as no service does: a registry, a proxy. And seeds that somebody else wrote."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from tests.fleet import FrontierSeine
from tests.letters import OTHER_SITE
from tests.servers.raw import MIB, OK, Answer, RawServer, endless
from tests.servers.web import Page, WebServer
from tests.support import Seine

JSON = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


class Everywhere(dict[str, Answer]):
    """The same answer at every path, but for those that end as one of `others` says."""

    def __init__(self, answer: Answer, others: dict[str, Answer] | None = None):
        super().__init__()
        self._answer = answer
        self._others = others or {}

    def __missing__(self, path: str) -> Answer:
        """A query is no part of a path."""
        return next((one for end, one in self._others.items() if path.partition("?")[0].endswith(end)), self._answer)


def said(body: bytes, head: bytes = JSON) -> Answer:
    return lambda: [head + f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body]


def moved(target: str) -> Answer:
    return lambda: [f"HTTP/1.1 307 Moved\r\nLocation: {target}\r\nContent-Length: 0\r\n\r\n".encode()]


REGISTRIES: dict[str, Callable[[], Answer]] = {
    "a web page": lambda: said(b"<html>Sign in</html>", OK),
    "no JSON": lambda: said(b"{]"),
    "a number": lambda: said(b"7"),
    "odd versions": lambda: said(b'[{"x": 1}, "../../x"]'),
    "deep JSON": lambda: said(b"[" * 200_000),
    "an endless body": lambda: endless(JSON + b"\r\n", b"[1," * 16_384),
    "endless headers": lambda: endless(JSON, b"X-More: " + b"y" * 1000 + b"\r\n"),
    "no HTTP": lambda: endless(b"SSH-2.0-OpenSSH_9.2\r\n", b"x" * 65_536),
}


@pytest.mark.parametrize("name", REGISTRIES)
def test_a_registry_that_is_none_stops_the_start_in_one_line(seine: Seine, name: str) -> None:
    with RawServer(Everywhere(REGISTRIES[name]())) as server:
        finished = seine.crawl("-a", "urls=http://127.0.0.1:9/", SCHEMA_REGISTRY_URL=server.url)
        taken = max(server.written.values())
    assert finished.code == 1
    [told] = [line for line in finished.err.splitlines() if not line.startswith("{")]
    assert told.startswith("seine: ")
    assert server.url in told
    assert "SCHEMA_REGISTRY_URL" in told
    assert taken < 64 * MIB


@pytest.mark.parametrize("text", ["{]", "7", '{"type": "record"}', "[" * 100_000, '{"type": ["a", {"b": 1}]}'])
def test_a_schema_that_is_none_stops_the_start_in_one_line(seine: Seine, text: str) -> None:
    version = {"subject": "x", "version": 1, "id": 1, "schema": text}
    answers = Everywhere(said(json.dumps(version).encode()), {"/versions": said(b"[1]")})
    with RawServer(answers) as server:
        finished = seine.crawl("-a", "urls=http://127.0.0.1:9/", SCHEMA_REGISTRY_URL=server.url)
    assert finished.code == 1
    [told] = [line for line in finished.err.splitlines() if not line.startswith("{")]
    assert "version 1: is no schema of Avro's" in told


def test_a_registry_leads_nowhere_else(seine: Seine, web: Callable[..., WebServer]) -> None:
    inner = web({"/": Page("x")})
    with RawServer(Everywhere(moved(inner.url + "/"))) as server:
        url = server.url.replace("http://", "http://user:pass-word@")
        finished = seine.crawl("-a", "urls=http://127.0.0.1:9/", SCHEMA_REGISTRY_URL=url)
    assert finished.code == 1
    assert not inner.visits
    assert "pass-word" not in finished.err


# --- Proxies


def drip() -> Iterable[bytes]:
    while True:
        yield b"HTTP/1.1 200 OK\r\nX: y\r\n"


PROXIES: dict[str, Callable[[], Answer]] = {
    "endless headers": lambda: endless(b"HTTP/1.1 200 OK\r\n", b"X-More: " + b"y" * 1000 + b"\r\n"),
    "no HTTP": lambda: endless(b"\x05\x00\x00" * 100, b"\x00" * 65_536),
    "an endless line": lambda: endless(b"HTTP/1.1 200 ", b"OK" * 32_768),
    "one answer after the other": lambda: drip,
}


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("name", PROXIES)
def test_a_proxy_that_is_none_costs_an_attempt_and_no_more(
    fleet: FrontierSeine, web: Callable[..., WebServer], name: str, scheme: str
) -> None:
    settings = {"RETRY_TIMES": 0, "DOWNLOAD_TIMEOUT": 5, "ALLOWED_PRIVATE_NETWORKS": "127.0.0.0/8"}
    with RawServer(Everywhere(PROXIES[name]())) as proxy:
        server = web({"/": Page("x")})
        url = server.url.replace("http://", f"{scheme}://")
        options = fleet.options(PROXIES=proxy.url, **settings)
        finished = fleet.run("crawl", "path_spider", "-a", f"url={url}/", *options)
        assert max(proxy.written.values(), default=0) < 64 * MIB
    [event] = finished.events("request")
    assert event["outcome"] == "dead"
    assert "Traceback" not in finished.err
    assert not server.visits


# --- Seeds


def test_seeds_that_somebody_else_wrote_lead_to_the_web_only(
    fleet: FrontierSeine, web: Callable[..., WebServer], sites: Path, tmp_path: Path
) -> None:
    (sites / "other.toml").write_text(OTHER_SITE)
    inner = web({"/": Page("x")})
    port = inner.domain.rpartition(":")[2]
    odd = [
        "file:///etc/passwd",
        "javascript:alert(1)",
        "ftp://127.0.0.1/",
        "//127.0.0.1/",
        "http://",
        "http://[",
        "x" * 100_000,
    ]
    odd += ["data:text/html,<script>", "http://a b/", "\x00", "http://user:pass@", "gopher://127.0.0.1:6379/_FLUSHALL"]
    private = [
        inner.url + "/",
        f"http://2130706433:{port}/",
        f"http://localhost:{port}/",
        "http://169.254.169.254/",
    ]
    file = tmp_path / "seeds"
    file.write_text("\n".join([*odd, *private, "https://shop.example/ok"]) + "\n")
    fleet.env["ALLOWED_PRIVATE_NETWORKS"] = ""
    told = fleet.run("frontier", "seed", str(file), "--crawl", "one")
    assert (told.code, told.out.splitlines()[1]) == (2, "  6 new, 0 known already, 11 refused")
    assert "Traceback" not in told.err
    assert max(map(len, told.err.splitlines())) < 300
    finished = fleet.run(
        "crawl", "product_spider", "-s", "FRONTIER_CRAWL_ID=one", "-s", "RETRY_TIMES=0", "-s", "ROBOTSTXT_OBEY=0"
    )
    outcomes = {event["url"]: (event["outcome"], event["reason"]) for event in finished.events("request")}
    assert {outcomes[url] for url in private} == {("filtered", "private address")}
    assert not inner.visits
