"""The way out of the browsers: every connection is resolved, checked and dialled there, or by an upstream proxy."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from python_socks import ProxyError
from python_socks.async_.asyncio import Proxy

from browser_pool.backend import Backend
from browser_pool.egress import Egress, EgressPort
from browser_pool.errors import BrowserGone, PageFailed
from browser_pool.playwright import PlaywrightBackend
from browser_pool.selenium import SeleniumBackend
from crawlers.fetching.addresses import AddressRules
from crawlers.identity import Identity
from tests.browsers import BOT, anywhere, pool_of, run, short_folder, task
from tests.servers.forward_proxy import ForwardProxy
from tests.servers.web import Page, WebServer

Web = Callable[..., WebServer]


@asynccontextmanager
async def egress_of(rules: Callable[[str, int], AddressRules] = anywhere) -> AsyncIterator[Egress]:
    egress = Egress(rules)
    try:
        yield egress
    finally:
        await egress.close()


async def fetch(port: EgressPort, site: WebServer, path: str = "/", host: str = "127.0.0.1") -> bytes:
    """GET `path` through `port`, to the end of the connection."""
    connected = await Proxy.from_url(port.url).connect(host, int(site.domain.rpartition(":")[2]))
    reader, writer = await asyncio.open_connection(sock=connected)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    return answer


def test_bytes_go_both_ways_and_are_counted(web: Web) -> None:
    site = web({"/": Page("x" * 5_000_000)})

    async def through() -> None:
        async with egress_of() as egress:
            port = await egress.port("one")
            answers = await asyncio.gather(*(fetch(port, site) for _ in range(3)))
            assert all(answer.endswith(b"x" * 5_000_000) for answer in answers)
            assert port.received == sum(map(len, answers))
            assert port.sent == 3 * len("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")

    run(through())


def test_an_answer_without_end_is_cut_off_and_many_that_end_are_not(web: Web) -> None:
    """What is counted begins again with each request of a connection."""
    site = web({"/": Page("x" * 60_000), "/large": Page("x" * 5_000_000)})

    async def through() -> None:
        egress = Egress(anywhere, largest_answer=100_000)
        port = await egress.port("one")
        number = int(site.domain.rpartition(":")[2])
        connected = await Proxy.from_url(port.url).connect("127.0.0.1", number)
        reader, writer = await asyncio.open_connection(sock=connected)
        for _ in range(4):
            writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            await reader.readuntil(b"\r\n\r\n")
            assert await reader.readexactly(60_000) == b"x" * 60_000
        writer.write(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await reader.readexactly(5_000_000)
        writer.close()
        assert 240_000 < port.received < 1_000_000
        await egress.close()

    run(through())


def test_names_are_resolved_once_and_what_was_checked_is_dialled(web: Web) -> None:
    site = web({"/": Page("here")})
    asked: list[tuple[str, int]] = []

    def rules(host: str, port: int) -> AddressRules:
        asked.append((host, port))
        return AddressRules(["127.0.0.1/32"])

    async def through() -> None:
        async with egress_of(rules) as egress:
            port = await egress.port("one")
            assert (await fetch(port, site, host="localhost")).endswith(b"here")
            with pytest.raises(ProxyError):
                await fetch(port, site, host="127.0.0.2")
            number = int(site.domain.rpartition(":")[2])
            assert port.refusals == {("127.0.0.2", number): "127.0.0.2 is a loopback address"}
            assert asked == [("localhost", number), ("127.0.0.2", number)]

    run(through())


@asynccontextmanager
async def names(**table: list[list[str]]) -> AsyncIterator[None]:
    """The running loop's resolver knows `table` too: a name's addresses, one answer after another, the last for ever.

    A name's `_` stands for a dot.
    """
    loop: Any = asyncio.get_running_loop()
    known = {name.replace("_", "."): answers for name, answers in table.items()}
    ask = loop.getaddrinfo

    async def answer(host: str, port: int, **how: Any) -> Any:
        if host not in known:
            return await ask(host, port, **how)
        addresses = known[host].pop(0) if len(known[host]) > 1 else known[host][0]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]

    loop.getaddrinfo = answer
    try:
        yield
    finally:
        loop.getaddrinfo = ask


def test_a_name_that_leads_elsewhere_the_second_time_is_not_followed_there() -> None:
    """DNS rebinding; nor is the private one of a name's addresses tried, whether it comes first or last."""
    outside = WebServer({"/": Page("here")})
    number = int(outside.domain.rpartition(":")[2])
    inside = WebServer({"/": Page("secret")}, host="127.0.0.2", port=number)
    table = {
        "rebind_test": [["127.0.0.1"], ["127.0.0.2"]],
        "first_test": [["127.0.0.2", "127.0.0.1"]],
        "last_test": [["127.0.0.3", "127.0.0.2"]],
    }

    async def through() -> None:
        async with names(**table), egress_of(lambda *_: AddressRules(["127.0.0.1/32", "127.0.0.3/32"])) as egress:
            port = await egress.port("one")
            for host in ("rebind.test", "first.test"):
                assert (await fetch(port, outside, host=host)).endswith(b"here")
            for host in ("rebind.test", "last.test"):
                with pytest.raises(ProxyError):
                    await fetch(port, outside, host=host)
            assert port.refusals == {("rebind.test", number): "127.0.0.2 is a loopback address"}
            assert set(port.failures) == {("last.test", number)}

    with outside, inside:
        run(through())
    assert len(outside.visits) == 2
    assert inside.visits == []


async def reply_to(port: EgressPort, host: str, number: int, kind: int = 3) -> int:
    """SOCKS's reply code to a request whose address is of that type: 3 is a name, 1 and 4 are IPv4 and IPv6."""
    address = bytes([len(host)]) + host.encode() if kind == 3 else ip_address(host).packed
    reader, writer = await asyncio.open_connection("127.0.0.1", int(port.url.rpartition(":")[2]))
    writer.write(b"\x05\x01\x00\x05\x01\x00" + bytes([kind]) + address + struct.pack("!H", number))
    assert await reader.readexactly(2) == b"\x05\x00"
    code = (await reader.readexactly(2))[1]
    writer.close()
    return code


NOT_ALLOWED = 2
SPELLED = {
    "2130706434": "127.0.0.2 is a loopback address",
    "0x7f000002": "127.0.0.2 is a loopback address",
    "0177.0.0.2": "127.0.0.2 is a loopback address",
    "127.2": "127.0.0.2 is a loopback address",
    "0": "0.0.0.0 is a this host address",
    "::1": "::1 is a loopback address",
    "::ffff:7f00:2": "::ffff:127.0.0.2 is a loopback address",
    "metadata.test": "169.254.169.254 is a metadata address",
    "link.test": "169.254.1.1 is a link-local address",
}
"""Hosts as a browser may name them, and why they are refused."""


def test_no_spelling_of_a_private_host_is_dialled() -> None:
    """As a name and as an address of either type: also where the machine has no IPv6."""
    inside = WebServer({}, host="127.0.0.2")
    number = int(inside.domain.rpartition(":")[2])
    numeric = {(1, "127.0.0.2"), (1, "169.254.169.254"), (4, "::1"), (4, "::ffff:127.0.0.2"), (4, "fd00:ec2::254")}

    async def through() -> None:
        table = {"metadata_test": [["169.254.169.254"]], "link_test": [["169.254.1.1"]]}
        async with names(**table), egress_of(lambda *_: AddressRules(["127.0.0.1/32"])) as egress:
            port = await egress.port("named")
            for host in SPELLED:
                assert await reply_to(port, host, number) == NOT_ALLOWED, host
            assert port.refusals == {(host, number): why for host, why in SPELLED.items()}
            port = await egress.port("numeric")
            for kind, address in numeric:
                assert await reply_to(port, address, number, kind) == NOT_ALLOWED, address
            assert {ip_address(host) for host, _ in port.refusals} == {ip_address(address) for _, address in numeric}

    with inside:
        run(through())
    assert inside.visits == []


def test_nobody_there_is_told_and_remembered(nowhere: str) -> None:
    async def through() -> None:
        async with egress_of() as egress:
            port, number = await egress.port("one"), int(nowhere.rpartition(":")[2])
            for host in ("127.0.0.1", "no-such-host.invalid"):
                with pytest.raises(ProxyError):
                    await Proxy.from_url(port.url).connect(host, number)
            assert set(port.failures) == {("127.0.0.1", number), ("no-such-host.invalid", number)}

    run(through())


def test_what_is_no_socks_request_is_closed() -> None:
    async def through() -> None:
        async with egress_of() as egress:
            port = await egress.port("one")
            for said in (b"GET / HTTP/1.1\r\n\r\n" * 40, b"\x05\x01\x00\x05\x02\x00\x01\x7f\x00\x00\x01\x00\x50"):
                reader, writer = await asyncio.open_connection("127.0.0.1", int(port.url.rpartition(":")[2]))
                writer.write(said)
                assert len(await asyncio.wait_for(reader.read(), 5)) <= 12
                writer.close()

    run(through())


@pytest.mark.parametrize("scheme", ["http", "socks5"])
def test_an_upstream_proxy_gets_its_credentials(web: Web, scheme: str) -> None:
    site = web({"/": Page("here")})

    async def through() -> None:
        async with ForwardProxy(scheme, "user", "p@ss") as upstream, egress_of() as egress:
            port = await egress.port("one", upstream.url)
            assert (await fetch(port, site, host="localhost")).endswith(b"here")
            assert upstream.asked == [("localhost", int(site.domain.rpartition(":")[2]))]
            wrong = await egress.port("two", upstream.url.replace("p%40ss", "other"))
            with pytest.raises(ProxyError):
                await fetch(wrong, site)

    run(through())


@pytest.mark.parametrize("scheme", ["http", "socks5"])
def test_an_upstream_proxy_is_not_asked_for_private_hosts(scheme: str) -> None:
    """It resolves names itself: what a host says of itself is all there is to go by."""
    hosts = ["127.0.0.2", "2130706434", "0x7f.2", "::1", "::ffff:7f00:2", "169.254.169.254", "10.0.0.1"]
    hosts += ["localhost", "shop.localhost", "LOCALHOST.", "metadata.google.internal", "printer.local"]

    async def through() -> None:
        async with ForwardProxy(scheme) as upstream, egress_of(lambda *_: AddressRules()) as egress:
            upstream.trouble = "502"
            port = await egress.port("one", upstream.url)
            for host in hosts:
                assert await reply_to(port, host, 80) == NOT_ALLOWED, host
            assert await reply_to(port, "shop.test", 80) != NOT_ALLOWED
            assert upstream.asked == [("shop.test", 80)]

    run(through())


def test_an_identity_that_changes_its_proxy_gets_another_port(web: Web) -> None:
    async def through() -> None:
        async with ForwardProxy("http", "user", "pass") as upstream, egress_of() as egress:
            plain = await egress.port("one")
            assert await egress.port("one") is plain
            assert await egress.port("other") is not plain
            assert await egress.port("one", upstream.url) is not plain

    run(through())


def test_the_port_of_an_identity_that_is_gone_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("browser_pool.egress._IDLE", 0.0)

    async def through() -> None:
        async with egress_of() as egress:
            kept, gone = await egress.port("kept"), await egress.port("gone")
            number = int(gone.url.rpartition(":")[2])
            await egress.tidy({"kept"})
            assert await egress.port("kept") is kept
            assert await egress.port("gone") is not gone
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection("127.0.0.1", number)

    run(through())


def test_a_closed_egress_opens_no_port() -> None:
    async def through() -> None:
        egress = Egress(anywhere)
        port = await egress.port("one")
        assert egress.find("one") is port
        await egress.close()
        assert egress.find("one") is None
        with pytest.raises(BrowserGone):
            await egress.port("one")

    run(through())


def test_all_of_a_browsers_traffic_goes_out_there(web: Web) -> None:
    """Also that of a page's parts and frames; what is refused is refused to them as well."""
    other = web({"/part.js": Page("document.body.append('part')"), "/frame": Page("frame")}, host="127.0.0.3")
    hidden = web({"/": Page("secret")}, host="127.0.0.2")
    site = web({"/": Page(f"<body><script src={other.url}/part.js></script><iframe src={other.url}/frame></iframe>"
                          f"<iframe src={hidden.url}/></iframe>")})  # fmt: skip

    async def through() -> None:
        egress = Egress(lambda host, port: AddressRules(["127.0.0.1/32", "127.0.0.3/32"]))
        with short_folder() as folder:
            async with pool_of(PlaywrightBackend(), folder, egress) as pool:
                assert b"part" in (await pool.render(task(site.url + "/"), BOT)).body
                port = await egress.port(BOT.label)
                assert port.sent > 0
                [(host, why)] = [(place[0], why) for place, why in port.refusals.items()]
                assert (host, why) == ("127.0.0.2", "127.0.0.2 is a loopback address")
                with pytest.raises(PageFailed):
                    await pool.render(task(hidden.url + "/"), BOT)
                assert not hidden.visits

    run(through())


@pytest.mark.parametrize("backend", [PlaywrightBackend, SeleniumBackend])
def test_what_chromium_asks_for_by_itself_does_not_leave(backend: Callable[[], Backend], web: Web) -> None:
    """It would in its first second."""
    site = web({"/": Page("here")})
    asked = set()

    def rules(host: str, port: int) -> AddressRules:
        asked.add(host)
        return anywhere(host, port)

    async def through() -> None:
        with short_folder() as folder:
            async with pool_of(backend(), folder, Egress(rules)) as pool:
                for _ in range(3):
                    await pool.render(task(site.url + "/"), BOT)
                assert asked == {"127.0.0.1"}

    run(through())


def test_a_browser_goes_through_its_identitys_upstream_proxy(web: Web, tmp_path: Path) -> None:
    site = web({"/": Page("here")})

    async def through() -> None:
        with short_folder() as folder:
            async with (
                ForwardProxy("socks5", "user", "secret") as upstream,
                pool_of(PlaywrightBackend(), folder) as pool,
            ):
                identity = Identity("abroad", proxy=upstream.url, proxy_label="abroad-1")
                assert b"here" in (await pool.render(task(site.url + "/"), identity)).body
                assert set(upstream.asked) == {("127.0.0.1", int(site.domain.rpartition(":")[2]))}

    run(through())
