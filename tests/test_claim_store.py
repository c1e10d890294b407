"""The claim store on local files and on a real HDFS: a blob that has its name is complete, whatever died on the way."""

from __future__ import annotations

import asyncio
import hashlib
import json
import secrets
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

import pytest

from crawlers.exceptions import UserError
from pipelines.claims.address import HdfsAddress, read_address
from pipelines.claims.files import Files, StoreAway
from pipelines.claims.layout import blob_path, claims_in
from pipelines.claims.local_files import LocalFiles
from pipelines.claims.store import Blob, ClaimStore
from pipelines.claims.webhdfs import WebHdfs
from tests.servers.hdfs import HdfsServer
from tests.servers.tcp_proxy import TcpProxy
from tests.support import ROOT


def opened(url: str, timeout: float = 20) -> Files:
    address = read_address(url)
    return WebHdfs(address, "seine", timeout) if isinstance(address, HdfsAddress) else LocalFiles(address)


@asynccontextmanager
async def a_store(url: str, seconds: float = 20) -> AsyncIterator[ClaimStore]:
    store = ClaimStore(opened(url, seconds))
    try:
        yield store
    finally:
        await store.files.close()


def run(work: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(asyncio.wait_for(work, 60))


@pytest.fixture(params=["file", "hdfs"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty store of each kind."""
    if request.param == "file":
        return f"file://{tmp_path}/store"
    hdfs: HdfsServer = request.getfixturevalue("hdfs")
    return hdfs.url(f"store {secrets.token_hex(4)}")


def named(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


async def contents(store: ClaimStore, sha256: str) -> bytes:
    return b"".join([chunk async for chunk in store.read(sha256)])


async def listed(store: ClaimStore) -> list[Blob]:
    return [blob async for blob in store.blobs()]


def test_a_blob_is_read_back_as_it_was_stored_and_nothing_else_is_left(url: str) -> None:
    data = secrets.token_bytes(3_000_000)

    async def work() -> None:
        async with a_store(url) as store:
            assert await store.put(named(data), data)
            assert await contents(store, named(data)) == data
            [blob] = await listed(store)
            assert (blob.path, blob.sha256, blob.size) == (blob_path(named(data)), named(data), len(data))
            assert abs(blob.modified - time.time()) < 20

    run(work())


def test_bytes_that_are_there_are_not_stored_again_and_their_time_is_renewed(url: str) -> None:
    data = b"the same page"

    async def work() -> None:
        async with a_store(url) as store:
            assert await store.put(named(data), data)
            [first] = await listed(store)
            await asyncio.sleep(0.02)
            assert not await store.put(named(data), data)
            [second] = await listed(store)
            assert second.modified > first.modified

    run(work())


def test_uploads_of_the_same_bytes_at_the_same_time_leave_one_blob(url: str) -> None:
    data = b"a page that many workers fetch" * 1000

    async def work() -> None:
        async with a_store(url) as store:
            await asyncio.gather(*(store.put(named(data), data) for _ in range(6)))
            assert [blob.sha256 for blob in await listed(store)] == [named(data)]
            assert await contents(store, named(data)) == data

    run(work())


def test_what_is_not_there_is_said_to_be_missing(url: str) -> None:
    async def work() -> None:
        async with a_store(url) as store:
            assert await listed(store) == []
            assert not await store.touch(named(b"x"))
            with pytest.raises(FileNotFoundError):
                await contents(store, named(b"x"))

    run(work())


def test_a_blob_is_removed_unless_it_was_stored_again_meanwhile(url: str) -> None:
    async def work() -> None:
        async with a_store(url) as store:
            for data in (b"old", b"renewed"):
                await store.put(named(data), data)
            blobs = {blob.sha256: blob for blob in await listed(store)}
            await asyncio.sleep(0.02)
            now = time.time()
            await asyncio.sleep(0.02)
            await store.put(named(b"renewed"), b"renewed")
            assert await store.remove(blobs[named(b"old")], now)
            assert not await store.remove(blobs[named(b"renewed")], now)
            assert [blob.sha256 for blob in await listed(store)] == [named(b"renewed")]
            assert await store.files.list("claims/aside") == []

    run(work())


def test_what_a_killed_removal_left_aside_is_put_back(url: str) -> None:
    async def work() -> None:
        async with a_store(url) as store:
            for data in (b"one", b"two"):
                await store.put(named(data), data)
                assert await store.files.rename(blob_path(named(data)), f"claims/aside/{named(data)}")
            await store.put(named(b"two"), b"two")  # a worker has stored it again
            await store.recover()
            assert {blob.sha256 for blob in await listed(store)} == {named(b"one"), named(b"two")}
            assert await store.files.list("claims/aside") == []

    run(work())


_HALF_AN_UPLOAD = """
import asyncio, hashlib, sys, time
from pipelines.claims import local_files, webhdfs
from tests.test_claim_store import a_store

data = b"0123456789abcdef" * 200_000

async def half(data):
    yield data[: len(data) // 2]
    print("half", flush=True)
    await asyncio.sleep(600)

def half_written(path, data):
    local_files._make_folder(path.parent)
    path.write_bytes(data[: len(data) // 2])
    print("half", flush=True)
    time.sleep(600)

webhdfs._chunks = half
local_files._write = half_written

async def work():
    async with a_store(sys.argv[1]) as store:
        await store.put(hashlib.sha256(data).hexdigest(), data)

asyncio.run(work())
"""


def test_a_worker_that_is_killed_in_the_middle_of_an_upload_leaves_no_blob(url: str) -> None:
    data = b"0123456789abcdef" * 200_000
    with subprocess.Popen(
        [sys.executable, "-c", _HALF_AN_UPLOAD, url], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as worker:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "half\n"
        worker.kill()

    async def work() -> None:
        async with a_store(url) as store:
            [left] = await listed(store)
            assert left.sha256 is None
            assert await store.put(named(data), data)
            assert await contents(store, named(data)) == data
            assert await store.remove(left, time.time())
            assert [blob.sha256 for blob in await listed(store)] == [named(data)]

    run(work())


# --- HDFS ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(hdfs: HdfsServer) -> str:
    """A folder of a test's own, in HDFS."""
    name = f"ha-{secrets.token_hex(4)}"
    hdfs.make_folder(name)
    return name


class Answering(BaseHTTPRequestHandler):
    """A NameNode in a state that a single one does not get into."""

    def answer(self) -> None:
        raise NotImplementedError

    def reply(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        self.answer()

    def do_PUT(self) -> None:
        self.answer()

    def do_DELETE(self) -> None:
        self.answer()

    def log_message(self, *_: Any) -> None:
        """Nothing."""


class OnStandby(Answering):
    def answer(self) -> None:
        message = "Operation category WRITE is not supported in state standby."
        told = {"exception": "StandbyException", "javaClassName": "org.apache.hadoop.ipc.StandbyException"}
        self.reply(403, json.dumps({"RemoteException": {**told, "message": message}}).encode())


class WithKerberos(Answering):
    """Takes a ticket for a delegation token and the newest token for anything else, as NameNodes do."""

    tickets: ClassVar[list[str]] = []

    def answer(self) -> None:
        query = parse_qs(urlsplit(self.path).query)
        if query["op"] == ["GETDELEGATIONTOKEN"] and (ticket := self.headers["Authorization"]):
            self.tickets.append(ticket)
            self.reply(200, json.dumps({"Token": {"urlString": f"token-{len(self.tickets)}"}}).encode())
        elif "delegation" not in query:
            self.reply(401, WWW_Authenticate="Negotiate")
        elif query["delegation"] == [f"token-{len(self.tickets)}"]:
            self.reply(200)
        else:
            message = (
                "Failed to obtain user group information: org.apache.hadoop.security.token.SecretManager$InvalidToken"
            )
            self.reply(
                403, json.dumps({"RemoteException": {"exception": "SecurityException", "message": message}}).encode()
            )


@contextmanager
def namenode(kind: type[Answering]) -> Iterator[str]:
    """The address of one of that kind."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), kind)
    Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def standby() -> Iterator[str]:
    with namenode(OnStandby) as address:
        yield address


def test_a_ticket_is_shown_once_for_a_token_that_serves_until_it_is_refused() -> None:
    asked: list[str] = []

    async def negotiate(host: str) -> str:
        asked.append(host)
        return f"Negotiate ticket-{len(asked)}"

    async def work(address: str) -> None:
        files = WebHdfs(HdfsAddress("http", (address,), ""), "seine", 5, negotiate)
        assert all(await asyncio.gather(*(files.touch("page") for _ in range(5))))
        assert asked == ["127.0.0.1"]
        WithKerberos.tickets.append("of another")
        assert all(await asyncio.gather(*(files.touch("page") for _ in range(5))))
        await files.close()
        without = WebHdfs(HdfsAddress("http", (address,), ""), "seine", 5)
        with pytest.raises(StoreAway, match="CLAIM_CHECK_KERBEROS=1") as refused:
            await without.touch("page")
        assert refused.value.reason == "denied"
        await without.close()

    with namenode(WithKerberos) as address:
        run(work(address))
    assert WithKerberos.tickets == ["Negotiate ticket-1", "of another", "Negotiate ticket-2"]


@pytest.mark.parametrize("first", ["dead", "standby", "silent"])
def test_the_active_namenode_is_found_and_asked_first_from_then_on(
    hdfs: HdfsServer, folder: str, standby: str, first: str
) -> None:
    with TcpProxy(hdfs.port) as network:
        network.stall()
        other = {"dead": "127.0.0.1:1", "standby": standby, "silent": f"127.0.0.1:{network.port}"}[first]
        url = f"webhdfs://{other},127.0.0.1:{hdfs.port}/{folder}"

        async def work() -> None:
            async with a_store(url, seconds=3) as store:
                assert await store.put(named(b"page"), b"page")
                started = time.monotonic()
                assert await contents(store, named(b"page")) == b"page"
                assert time.monotonic() - started < 0.9  # less than one silent NameNode takes

        run(work())


def test_namenodes_of_which_none_is_active_are_named_with_their_reasons(standby: str) -> None:
    async def work() -> None:
        async with a_store(f"webhdfs://{standby},127.0.0.1:1/x") as store:
            with pytest.raises(StoreAway, match=r"StandbyException.*127\.0\.0\.1:1"):
                await store.put(named(b"page"), b"page")

    run(work())


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("webhdfs://nn:9871/seine/", HdfsAddress("http", ("nn:9871",), "/seine")),
        ("webhdfs://nn1,nn2:1/a%20b", HdfsAddress("http", ("nn1:9870", "nn2:1"), "/a b")),
        ("swebhdfs://[::1]/seine", HdfsAddress("https", ("[::1]:9871",), "/seine")),
        ("file:///data/seine", Path("/data/seine")),
    ],
)
def test_addresses_are_read(url: str, found: Any) -> None:
    assert read_address(url) == found


@pytest.mark.parametrize(
    "url", ["file://data", "file:///", "hdfs://nn/x", "webhdfs:///x", "webhdfs://a b/x", "webhdfs://nn/../x", "seine"]
)
def test_an_address_that_is_none_is_refused_with_what_is_expected(url: str) -> None:
    with pytest.raises(UserError, match=r"CLAIM_CHECK_URL=.*expected file:///"):
        read_address(url)


def test_claims_are_found_in_the_bytes_of_records() -> None:
    one, two = named(b"one"), named(b"two")
    uri = f"hdfs://shop/seine/{blob_path(one)}"
    avro = b"\x00\x00\x00\x00\x01" + bytes([len(uri) * 2 % 256]) + uri.encode() + b"\x80\x01" + one.encode()
    assert claims_in(avro) == {one}
    assert claims_in(f'{{"a": "{uri}", "b": "x/{blob_path(two)}"}}'.encode()) == {one, two}
    assert claims_in(b"claims/sha256/ab/cd/" + one.encode()) == set()
