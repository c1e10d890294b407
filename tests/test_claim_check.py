"""Large fields on their way: stored before their record goes on, and waiting while the store is away."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import secrets
import subprocess
import sys
from base64 import b64decode
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from crawlers import metrics
from crawlers.exceptions import LostClaim, Undelivered, UserError
from crawlers.items import ClaimCheck, Product
from crawlers.sink_load import SinkLoad
from deploy.demo_shop import DemoShop
from pipelines.avro import AvroPipeline, ProductEncoder
from pipelines.claim_check import ClaimCheckPipeline
from pipelines.claims.address import HdfsAddress, read_address
from pipelines.claims.breaker import CircuitBreaker
from pipelines.claims.claims import Claims
from pipelines.claims.files import StoreAway
from pipelines.claims.kerberos import negotiator
from pipelines.claims.local_files import LocalFiles
from pipelines.claims.resolver import Resolver, decoded
from pipelines.claims.store import ClaimStore
from pipelines.claims.webhdfs import WebHdfs
from pipelines.content import ContentPipeline
from tests.polling import eventually, until
from tests.servers.hdfs import HdfsServer
from tests.servers.tcp_proxy import TcpProxy
from tests.servers.web import Page, WebServer
from tests.support import Seine, consume


def run(claims: Claims, work: Coroutine[Any, Any, Any]) -> Any:
    async def and_close() -> Any:
        try:
            return await asyncio.wait_for(work, 60)
        finally:
            await claims.close()

    return asyncio.run(and_close())


def claims_at(url: str, **options: Any) -> Claims:
    address = read_address(url)
    files = WebHdfs(address, "seine", 20) if isinstance(address, HdfsAddress) else LocalFiles(address)
    return Claims(ClaimStore(files), url, **{"longest_pause": 0.2, **options})


def retries(reason: str) -> float:
    return metrics.CLAIM_RETRIES.labels(reason)._value.get()


def is_away() -> bool:
    return metrics.CLAIMS_AWAY._value.get() == 1


def a_product(**fields: Any) -> Product:
    given = {"url": "http://shop/1", "canonical_url": "http://shop/1", "name": "Tent", "site": "shop", "identity": "1"}
    return Product(**given, fetched_at=datetime.now(UTC), **fields)


# --- Outages ---------------------------------------------------------------------------------------------------------


async def put_while(claims: Claims, is_tried: Callable[[], bool], mend: Callable[[], None]) -> list[ClaimCheck]:
    """The claims of uploads that begin while the store is broken, and end once it is mended."""
    uploads = [asyncio.create_task(claims.put(b"page %d" % number)) for number in range(12)]
    await eventually(lambda: is_tried() and is_away(), "no upload was tried in vain")
    assert not any(upload.done() for upload in uploads)
    await asyncio.to_thread(mend)
    found = await asyncio.gather(*uploads)
    assert not is_away()
    return found


async def check(claims: Claims, found: list[ClaimCheck]) -> None:
    for number, claim in enumerate(found):
        data = b"".join([chunk async for chunk in claims._store.read(claim.sha256)])
        assert data == b"page %d" % number


@pytest.fixture
def folder(hdfs: HdfsServer) -> str:
    name = f"outage-{secrets.token_hex(4)}"
    hdfs.make_folder(name)
    return name


def test_uploads_wait_for_a_namenode_that_cannot_be_reached(hdfs: HdfsServer, folder: str) -> None:
    with TcpProxy(hdfs.port) as network:
        claims = claims_at(f"webhdfs://127.0.0.1:{network.port}/{folder}")
        before = retries("unreachable")

        async def work() -> None:
            await claims.put(b"one before")
            network.cut()
            found = await put_while(claims, lambda: retries("unreachable") > before, network.mend)
            await check(claims, found)

        run(claims, work())


def test_uploads_wait_while_hdfs_is_in_safe_mode(hdfs: HdfsServer, folder: str) -> None:
    claims = claims_at(hdfs.url(folder))
    before = retries("safe mode")

    async def work() -> None:
        found = await put_while(claims, lambda: retries("safe mode") > before, hdfs.leave_safe_mode)
        await check(claims, found)

    hdfs.enter_safe_mode()
    try:
        run(claims, work())
    except BaseException:
        hdfs.leave_safe_mode()
        raise


def test_uploads_wait_while_there_is_no_room(hdfs: HdfsServer, folder: str) -> None:
    claims = claims_at(hdfs.url(folder))
    before = retries("full")
    hdfs.limit_space(folder, 1_000_000)

    async def work() -> None:
        found = await put_while(claims, lambda: retries("full") > before, lambda: hdfs.limit_space(folder, -1))
        await check(claims, found)

    run(claims, work())


def test_uploads_wait_for_an_hdfs_that_is_restarted(hdfs: HdfsServer, folder: str) -> None:
    claims = claims_at(hdfs.url(folder))
    before = retries("unreachable")

    async def work() -> None:
        await claims.put(b"one before")
        await asyncio.to_thread(hdfs.down)
        found = await put_while(claims, lambda: retries("unreachable") > before, hdfs.up)
        await check(claims, found)

    run(claims, work())


def test_a_closing_worker_says_what_the_store_did_not_take() -> None:
    claims = claims_at("webhdfs://127.0.0.1:1/nobody", closing=lambda: True, drain_seconds=0.3)
    with pytest.raises(Undelivered, match=r"within 0\.3 s"):
        run(claims, claims.put(b"page"))


def test_bytes_that_wait_hold_back_leasing(tmp_path: Path) -> None:
    load = SinkLoad(most_records=100, most_bytes=1_000_000)
    claims = claims_at("webhdfs://127.0.0.1:1/nobody", load=load)

    async def work() -> None:
        upload = asyncio.create_task(claims.put(b"x" * 1_000_000))
        await asyncio.sleep(0)
        assert not load.has_room()
        upload.cancel()
        await asyncio.gather(upload, return_exceptions=True)
        assert load.has_room()

    run(claims, work())


class CountingFiles(LocalFiles):
    """Local files that know how many uploads there were at once."""

    now = most = 0

    async def write(self, path: str, data: bytes) -> None:
        self.now += 1
        self.most = max(self.most, self.now)
        await super().write(path, data)
        self.now -= 1


def test_no_more_uploads_run_at_once_than_are_allowed(tmp_path: Path) -> None:
    files = CountingFiles(tmp_path)
    claims = Claims(ClaimStore(files), "file:///x", concurrency=3)

    async def work() -> None:
        await asyncio.gather(*(claims.put(secrets.token_bytes(50_000)) for _ in range(20)))

    run(claims, work())
    assert files.most == 3


class Flaky:
    """A service that fails until it is told to work, and knows how many asked it at once since its circuit opened."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.works = False
        self.now = self.most = 0
        opened = lambda error: self.events.append(f"opened: {error}")  # noqa: E731
        self.breaker = CircuitBreaker(opened, lambda: self.events.append("closed"), longest=0.001)

    async def answer(self) -> str:
        self.now += 1
        self.most = max(self.most, self.now) if self.breaker.is_open else 0
        await asyncio.sleep(0)
        self.now -= 1
        if not self.works:
            self.events.append("failed")
            raise StoreAway("error", "as asked")
        return "done"

    async def ask_until_it_answers(self) -> str:
        while True:
            with contextlib.suppress(StoreAway):
                return await self.breaker.call(self.answer)


def test_an_open_circuit_lets_one_caller_try_at_a_time() -> None:
    service = Flaky()

    async def work() -> list[str]:
        callers = [asyncio.create_task(service.ask_until_it_answers()) for _ in range(5)]
        await eventually(lambda: service.events.count("failed") > 20, "nobody tried")
        service.most = 0
        await eventually(lambda: service.events.count("failed") > 40, "nobody tried")
        assert service.most == 1
        service.works = True
        return await asyncio.gather(*callers)

    assert asyncio.run(work()) == ["done"] * 5
    assert [event for event in service.events if event != "failed"] == ["opened: as asked", "closed"]


# --- Items -----------------------------------------------------------------------------------------------------------


def process(claims: Claims, item: Product, threshold: int) -> Product:
    return run(claims, ClaimCheckPipeline(claims, threshold).process_item(item))


def test_an_item_within_the_threshold_keeps_its_bytes(tmp_path: Path) -> None:
    item = a_product(content=b"x" * 5000, content_type="text/html")
    claims = claims_at(f"file://{tmp_path}")
    assert process(claims, item, threshold=6000).content == b"x" * 5000


def test_an_item_past_the_threshold_gets_a_claim_that_says_how_to_read_its_bytes(tmp_path: Path) -> None:
    item = a_product(content=b"x" * 5000, content_type="text/html", content_encoding="gzip")
    claims = claims_at(f"file://{tmp_path}")

    claim = process(claims, item, threshold=5000).content

    sha256 = hashlib.sha256(b"x" * 5000).hexdigest()
    uri = f"file://{tmp_path}/claims/sha256/{sha256[:2]}/{sha256[2:4]}/{sha256}"
    assert claim == ClaimCheck(uri=uri, sha256=sha256, size=5000, content_type="text/html", content_encoding="gzip")
    assert len(ProductEncoder().encode(item)) < 1000
    record = AvroPipeline("products", 7).process_item(item)
    assert dict(record.headers)["ce_dataref"] == uri.encode()


def test_an_item_that_is_sent_again_renews_its_claim_and_one_without_its_bytes_is_a_dead_letter(
    tmp_path: Path,
) -> None:
    claims = claims_at(f"file://{tmp_path}")
    item = process(claims, a_product(content=b"x" * 5000), threshold=100)
    claim = item.content
    assert isinstance(claim, ClaimCheck)
    assert process(claims, item, threshold=100).content == claim
    Path(claim.uri.removeprefix("file://")).unlink()
    with pytest.raises(LostClaim, match=claim.sha256):
        process(claims, item, threshold=100)


def test_a_page_is_compressed_once_and_only_where_that_makes_it_smaller() -> None:
    def packed(item: Product) -> Product:
        return asyncio.run(ContentPipeline().process_item(item))

    for page in (b"<html>" + b"tent " * 1000, b"tent " * 100_000):
        item = packed(a_product(content=page))
        assert isinstance(item.content, bytes)
        assert (item.content_encoding, decoded(item.content, "zstd")) == ("zstd", page)
        once = item.content
        assert packed(item).content is once
    noise = secrets.token_bytes(1000)
    item = packed(a_product(content=noise))
    assert (item.content, item.content_encoding) == (noise, None)


# --- Crawls ----------------------------------------------------------------------------------------------------------


_PAGE = (
    '<script type="application/ld+json">{"@type": "Product", "name": "Tent", "sku": "1"}</script>'
    + secrets.token_hex(5000)
)


def test_a_crawl_stores_its_large_pages_on_hdfs_and_its_records_say_where(
    seine: Seine, hdfs: HdfsServer, folder: str, shop: DemoShop
) -> None:
    url = next(row["url"] for row in shop.truth() if row["markup"] == "json-ld" and row["reachable"])
    settings = {
        "STORE_CONTENT": 1,
        "CLAIM_CHECK_URL": hdfs.url(folder),
        "CLAIM_CHECK_CONSUMER_URL": "hdfs://shop/seine/",
        "KAFKA_CREATE_TOPICS": 1,
    }
    small = seine.crawl("-a", f"urls={url}", **settings)
    large = seine.crawl("-a", f"urls={url}", "-O", str(seine.folder / "out.jsonl"), **settings, CLAIM_CHECK_THRESHOLD=0)
    assert (small.code, large.code) == (0, 0), small.err + large.err

    inline, claimed = sorted(
        consume(seine.env, seine.env["KAFKA_TOPIC_PRODUCTS"]), key=lambda record: "ce_dataref" in record.headers
    )
    resolver = Resolver({"hdfs://shop/seine": hdfs.url(folder)})
    with urlopen(url) as response:
        page = response.read()
    for record in (inline, claimed):
        content = resolver.content(record.value)
        assert content == page
        assert hashlib.sha256(page).hexdigest() == record.value["content_hash"]
        assert record.value["content_type"].startswith("text/html")
    assert isinstance(inline.value["content"], bytes)
    assert claimed.value["content"]["uri"] == claimed.headers["ce_dataref"]
    assert claimed.value["content"]["uri"].startswith("hdfs://shop/seine/claims/sha256/")
    [exported] = (seine.folder / "out.jsonl").read_text().splitlines()
    assert json.loads(exported)["content"] == claimed.value["content"]


def test_a_stored_page_is_masked_before_it_is_compressed(offline: Seine, web: Callable[..., WebServer]) -> None:
    server = web({"/1": Page(_PAGE + "<p>Write to jane@shop.example</p>")})
    settings = {"STORE_CONTENT": 1, "ROBOTSTXT_OBEY": 0, "MASKING_PATTERNS": "email=mask"}
    assert offline.crawl("-a", f"urls={server.url}/1", "-O", str(offline.folder / "out.jsonl"), **settings).code == 0

    row = json.loads((offline.folder / "out.jsonl").read_text())
    page = decoded(b64decode(row["content"]), row["content_encoding"]).decode()
    assert page.endswith("<p>Write to *email*</p>")
    assert page.startswith(_PAGE[:100])


def test_without_kafka_a_feed_holds_the_page_as_base64(offline: Seine, shop: DemoShop) -> None:
    url = next(row["url"] for row in shop.truth() if row["markup"] == "json-ld" and row["reachable"])
    assert offline.crawl("-a", f"urls={url}", "-O", str(offline.folder / "out.jsonl"), STORE_CONTENT=1).code == 0

    row = json.loads((offline.folder / "out.jsonl").read_text())
    page = decoded(b64decode(row["content"]), row["content_encoding"])
    assert hashlib.sha256(page).hexdigest() == row["content_hash"]


@dataclass
class Waiting:
    """A crawl of one page whose store went away as the page was fetched."""

    process: subprocess.Popen[str]
    network: TcpProxy
    log: Path

    def events(self, start: str) -> list[dict[str, Any]]:
        """The events whose names begin so."""
        lines = [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith('{"')]
        return [event for event in lines if event["event"].startswith(start)]


@pytest.fixture
def waiting(offline: Seine, hdfs: HdfsServer, folder: str, web: Callable[..., WebServer]) -> Iterator[Waiting]:
    with TcpProxy(hdfs.port) as network:

        def cut(_: int) -> Page:
            network.cut()
            return Page(_PAGE)

        settings = {
            "STORE_CONTENT": 1,
            "CLAIM_CHECK_URL": f"webhdfs://127.0.0.1:{network.port}/{folder}",
            "CLAIM_CHECK_THRESHOLD": 0,
            "CLAIM_CHECK_DRAIN_TIMEOUT": 0.2,
            "ROBOTSTXT_OBEY": 0,
            "LOG_FILE": offline.folder / "log",
        }
        options = [part for name, value in settings.items() for part in ("-s", f"{name}={value}")]
        process = offline.start("crawl", "product_spider", "-a", f"urls={web({'/1': cut}).url}/1", *options)
        log = offline.folder / "log"
        until(lambda: log.exists() and "claims away" in log.read_text(), "the crawl did not say that it waits")
        yield Waiting(process, network, log)


def test_a_crawl_waits_for_its_store_and_says_so_once(waiting: Waiting) -> None:
    waiting.network.mend()
    _, err = waiting.process.communicate(timeout=60)

    assert waiting.process.returncode == 0, err
    told = [(event["event"], event.get("reason")) for event in waiting.events("claims")]
    assert told == [("claims away", "unreachable"), ("claims back", None)]
    assert [event["fate"] for event in waiting.events("item")] == ["passed"]


def test_a_worker_that_must_close_leaves_its_request_pending(waiting: Waiting) -> None:
    waiting.process.terminate()
    _, err = waiting.process.communicate(timeout=60)

    assert waiting.process.returncode == 1, err
    assert [event["fate"] for event in waiting.events("item")] == ["pending"]
    assert [event["outcome"] for event in waiting.events("request")] == ["pending"]


@pytest.mark.parametrize(
    ("settings", "code", "message"),
    [
        ({"CLAIM_CHECK_URL": "webhdfs://127.0.0.1:1/x"}, 1, "does not take anything at webhdfs://127.0.0.1:1/x"),
        ({"CLAIM_CHECK_URL": "file:///dev/null/x"}, 1, "does not take anything at file:///dev/null/x"),
        ({"CLAIM_CHECK_URL": "hdfs://x/y"}, 2, "CLAIM_CHECK_URL=hdfs://x/y: expected file:///folder"),
        (
            {"STORE_CONTENT": "1", "KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1", "SCHEMA_REGISTRY_URL": "http://x"},
            *(2, "STORE_CONTENT is set and CLAIM_CHECK_URL is not"),
        ),
    ],
)
def test_a_store_that_cannot_be_used_stops_the_start_with_one_line(
    offline: Seine, settings: dict[str, str], code: int, message: str
) -> None:
    crawl = offline.crawl("-a", "urls=http://127.0.0.1:1/", **settings)
    assert (crawl.code, crawl.err.count("seine: ")) == (code, 1), crawl.err
    assert message in crawl.err
    assert "Traceback" not in crawl.err


def test_kerberos_without_its_library_is_a_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "spnego", None)
    with pytest.raises(UserError, match=r"pip install 'pyspnego\[kerberos\]'"):
        negotiator()
