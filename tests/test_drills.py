"""What docs/runbooks say of losses, performed: something is lost, and what the page says brings it back."""

from __future__ import annotations

import secrets
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.fleet import links
from tests.letters import Letters, product
from tests.outages import Crawl, ShopPages
from tests.polling import until
from tests.servers.hdfs import HdfsServer
from tests.servers.redis import RedisServer, binaries, newest
from tests.servers.web import Page, WebServer
from tests.support import Seine, consume
from tests.test_claims_command import PAGES, deliver
from tests.topics import admin_of, delete_topic

_FS_SHELL, _DFS_ADMIN = "org.apache.hadoop.fs.FsShell", "org.apache.hadoop.hdfs.tools.DFSAdmin"


@pytest.fixture(params=binaries().values(), ids=binaries())
def own_redis(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RedisServer]:
    """As docs/frontier.md wants it: it keeps what it is told. Of each version, as files differ between them."""
    with RedisServer(tmp_path / "redis", request.param, appendonly="yes", appendfsync="everysec") as server:
        yield server


@pytest.fixture
def crawl(seine: Seine, own_redis: RedisServer, web: Callable[..., WebServer]) -> Crawl:
    seine.env |= {
        "REDIS_URL": own_redis.url,
        "FRONTIER_NAMESPACE": f"test-{secrets.token_hex(4)}",
        "REDIS_TIMEOUT": "1",
    }
    shop = ShopPages(120)
    return Crawl(seine, own_redis.client(), shop, web(shop))


# --- Redis: docs/runbooks/restore-redis.md


def test_a_redis_that_was_lost_is_restored_from_a_snapshot_and_the_crawl_goes_on(
    crawl: Crawl, own_redis: RedisServer, tmp_path: Path
) -> None:
    crawl.pages.hold_after(40)
    worker = crawl.start()
    crawl.await_delivered(20)
    client, backup = own_redis.client(), tmp_path / "dump.rdb"
    before = client.lastsave()
    client.bgsave()
    until(
        lambda: client.lastsave() != before or not client.info("persistence")["rdb_bgsave_in_progress"], "no snapshot"
    )
    shutil.copy(own_redis.folder / "dump.rdb", backup)

    crawl.pages.hold_after(90)
    crawl.await_delivered(70)
    own_redis.kill()
    shutil.rmtree(own_redis.folder)
    worker.says("redis away")

    own_redis.folder.mkdir()
    shutil.copy(backup, own_redis.folder)
    own_redis.options["appendonly"] = "no"
    own_redis.start()
    own_redis.client().config_set("appendonly", "yes")
    crawl.pages.let_go()
    crawl.check(worker)
    assert worker.says("redis back")
    assert len(crawl.server.visits) > crawl.pages.count, "what was settled after the backup is fetched again"


def test_a_redis_that_was_lost_is_restored_from_a_copy_of_its_append_only_file(
    crawl: Crawl, own_redis: RedisServer, tmp_path: Path
) -> None:
    crawl.pages.hold_after(40)
    worker = crawl.start()
    crawl.await_delivered(20)
    backup = tmp_path / "backup"
    shutil.copytree(own_redis.folder, backup)  # while it is written to: what is cut off at its end is left out

    crawl.pages.hold_after(90)
    crawl.await_delivered(70)
    own_redis.kill()
    shutil.rmtree(own_redis.folder)
    worker.says("redis away")

    shutil.copytree(backup, own_redis.folder)
    own_redis.start()
    crawl.pages.let_go()
    crawl.check(worker)


@pytest.mark.parametrize("own_redis", [newest()], indirect=True, ids=[""])
def test_a_crawl_whose_redis_was_lost_for_good_is_crawled_anew(crawl: Crawl, own_redis: RedisServer) -> None:
    crawl.pages.hold_after(40)
    worker = crawl.start()
    crawl.await_delivered(20)
    own_redis.kill()
    shutil.rmtree(own_redis.folder)
    worker.says("redis away")
    worker.process.kill()
    worker.ended(code=-9)

    own_redis.start()
    crawl.pages.let_go()
    crawl.check(crawl.start())


# --- Kafka: docs/runbooks/restore-kafka.md


def test_a_lost_topic_is_full_again_after_the_next_crawl_even_where_only_changes_are_told(
    letters: Letters, web: Callable[..., WebServer]
) -> None:
    seine, site = letters.seine, letters.site(web({"/": links("/a", "/b"), "/a": product("a"), "/b": product("b")}))
    topic = seine.env["KAFKA_TOPIC_PRODUCTS"]
    for crawl in ("one", "two"):
        assert seine.crawl("-a", f"sites={site}", EMIT="changes", FRONTIER_CRAWL_ID=crawl).code == 0
    assert len(consume(seine.env, topic)) == 2, "nothing has changed between the two"

    delete_topic(admin_of(seine.env), topic)
    assert seine.crawl("-a", f"sites={site}", EMIT="changes", FRONTIER_CRAWL_ID="three").code == 0
    assert {(one.value["name"], one.value["change"]) for one in consume(seine.env, topic)} == {
        ("a", "new"),
        ("b", "new"),
    }


def test_a_lost_ledger_is_told_and_a_new_namespace_crawls_again(
    letters: Letters, web: Callable[..., WebServer]
) -> None:
    seine, site = letters.seine, letters.site(web({"/": links("/a", "/b"), "/a": product("a"), "/b": product("b")}))
    ledger = f"{seine.env['KAFKA_TOPIC_PRODUCTS']}.ledger"
    once = {"KAFKA_DELIVERY": "exactly_once", "KAFKA_TOPIC_LEDGER": ledger, "KAFKA_SLOTS": 1}
    assert seine.crawl("-a", f"sites={site}", **once).code == 0

    delete_topic(admin_of(seine.env), ledger)
    lost = seine.crawl("-a", f"sites={site}", **once)
    assert (lost.code, len(lost.events("ledger behind redis"))) == (1, 1)

    anew = f"test-{secrets.token_hex(4)}"
    assert seine.crawl("-a", f"sites={site}", **once, FRONTIER_NAMESPACE=anew).code == 0
    records = consume(seine.env, seine.env["KAFKA_TOPIC_PRODUCTS"])
    assert Counter(record.value["name"] for record in records) == {"a": 2, "b": 2}


def test_dead_letters_are_replayed_when_their_cause_is_gone(letters: Letters, web: Callable[..., WebServer]) -> None:
    server = web({"/": links("/a", "/b"), "/a": product("a"), "/b": Page("gone mad", status=500)})
    letters.crawl(server, FRONTIER_CRAWL_ID="monday", RETRY_TIMES=0)
    seine = letters.seine
    assert "http 500" in seine.run("dlq", "stats").out
    server.pages["/b"] = product("b")

    assert seine.run("dlq", "replay", "--error", "http 500").code == 0
    letters.crawl(server, FRONTIER_CRAWL_ID="monday")
    records = consume(seine.env, seine.env["KAFKA_TOPIC_PRODUCTS"])
    assert {record.value["name"] for record in records} == {"a", "b"}
    counts = letters.counts("monday")
    assert (counts["delivered"], counts["dead"], counts["seeded"] + counts["discovered"]) == (2, 0, 3)


# --- HDFS: docs/runbooks/restore-hdfs.md


def test_claims_that_were_lost_are_named_and_come_back_from_a_snapshot(seine: Seine, hdfs: HdfsServer) -> None:
    folder = f"drill-{secrets.token_hex(4)}"
    seine.env["CLAIM_CHECK_URL"] = hdfs.url(folder)
    deliver(seine)
    administer(hdfs, _DFS_ADMIN, "-allowSnapshot", f"/{folder}")
    hdfs.ask("PUT", folder, "CREATESNAPSHOT", snapshotname="night")
    hdfs.ask("DELETE", f"{folder}/claims", "DELETE", recursive="true")

    told = seine.run("claims", "verify")
    assert told.code == 1
    assert told.out.count("missing: ") == len(PAGES)

    administer(hdfs, _FS_SHELL, "-cp", "-p", f"/{folder}/.snapshot/night/claims", f"/{folder}/")
    told = seine.run("claims", "verify")
    assert (told.code, told.out.strip().endswith("2 good")) == (0, True), told.out


def test_claims_that_were_lost_for_good_are_stored_again_by_the_next_crawl(seine: Seine, hdfs: HdfsServer) -> None:
    folder = f"drill-{secrets.token_hex(4)}"
    seine.env["CLAIM_CHECK_URL"] = hdfs.url(folder)
    deliver(seine)
    hdfs.ask("DELETE", f"{folder}/claims", "DELETE", recursive="true")
    deliver(seine)
    told = seine.run("claims", "verify")
    assert (told.code, "missing" in told.out) == (0, False), told.out


def administer(hdfs: HdfsServer, program: str, *arguments: str) -> None:
    """What `hdfs dfs` or `hdfs dfsadmin` does, by its own class."""
    done = subprocess.run(hdfs.service.java_command(program, arguments), capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
