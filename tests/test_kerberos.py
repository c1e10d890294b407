"""The claim store on a real HDFS that knows its users by Kerberos, with a real KDC."""

from __future__ import annotations

import asyncio
import re
import secrets
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from pipelines.claims.address import HdfsAddress, read_address
from pipelines.claims.files import CHUNK
from pipelines.claims.kerberos import negotiator
from pipelines.claims.layout import blob_path
from pipelines.claims.store import ClaimStore
from pipelines.claims.webhdfs import WebHdfs
from tests.servers.kdc import Kdc
from tests.servers.kerberized_hdfs import STRANGER, SUPERUSER, WEB, KerberizedHdfs, missing
from tests.support import Seine
from tests.test_claim_store import contents, listed, named, run

pytestmark = pytest.mark.skipif(bool(missing()), reason=f"Kerberos is not installed: {missing()}, as .ci/run does")


@pytest.fixture(scope="module")
def kerberized(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KerberizedHdfs]:
    with KerberizedHdfs(tmp_path_factory.mktemp("kerberized")) as server:
        yield server


@pytest.fixture(scope="module")
def other_kdc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kdc]:
    """Of a realm with the same name, whose keys are others."""
    with Kdc(tmp_path_factory.mktemp("other-kdc")) as kdc:
        kdc.keytab(WEB)
        yield kdc


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """Where tickets go; nothing is there yet."""
    return tmp_path / "tickets"


@pytest.fixture
def nobody(kerberized: KerberizedHdfs, cache: Path) -> dict[str, str]:
    """The environment of a program in the realm that has neither a ticket nor a keytab."""
    return {**kerberized.kdc.env, "KRB5CCNAME": f"FILE:{cache}", "KRB5_CLIENT_KTNAME": f"FILE:{cache}.keytab"}


@pytest.fixture
def superuser(kerberized: KerberizedHdfs, nobody: dict[str, str]) -> dict[str, str]:
    return {**nobody, "KRB5_CLIENT_KTNAME": str(kerberized.keytab)}


@pytest.fixture
def as_superuser(superuser: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in superuser.items():
        monkeypatch.setenv(name, value)


@asynccontextmanager
async def a_store(url: str) -> AsyncIterator[ClaimStore]:
    address = read_address(url)
    assert isinstance(address, HdfsAddress)
    store = ClaimStore(WebHdfs(address, "nobody", 20, negotiator()))
    try:
        yield store
    finally:
        await store.files.close()


@pytest.mark.usefixtures("as_superuser")
def test_a_claim_is_stored_read_touched_listed_moved_and_deleted_with_a_keytab(kerberized: KerberizedHdfs) -> None:
    page = secrets.token_bytes(3 * CHUNK + 1)

    async def work() -> None:
        async with a_store(kerberized.url(secrets.token_hex(4))) as store:
            await store.files.check()
            assert await store.put(named(page), page)
            assert not await store.put(named(page), page)
            assert await contents(store, named(page)) == page
            assert await store.touch(named(page))
            found = await store.files.status(blob_path(named(page)))
            assert found is not None
            assert found.size == len(page)
            (blob,) = await listed(store)
            assert blob.sha256 == named(page)
            assert await store.remove(blob, unused_since=time.time() + 60)
            assert await listed(store) == []
            with pytest.raises(FileNotFoundError):
                await contents(store, named(page))

    run(work())


@pytest.mark.usefixtures("as_superuser")
def test_any_number_of_uploads_leaves_one_delegation_token_with_the_namenode(kerberized: KerberizedHdfs) -> None:
    pages = [secrets.token_bytes(100) for _ in range(20)]
    before = kerberized.tokens()

    async def work() -> None:
        async with a_store(kerberized.url(secrets.token_hex(4))) as store:
            await asyncio.gather(*(store.put(named(page), page) for page in pages))
            assert await asyncio.gather(*(contents(store, named(page)) for page in pages)) == pages

    run(work())
    assert kerberized.tokens() == before + 1


@pytest.mark.usefixtures("as_superuser")
def test_a_delegation_token_that_the_namenode_takes_no_more_is_replaced(kerberized: KerberizedHdfs) -> None:
    async def work() -> None:
        async with a_store(kerberized.url(secrets.token_hex(4))) as store:
            await store.files.check()
            assert isinstance(store.files, WebHdfs)
            token = store.files._delegation
            assert token is not None
            await asyncio.to_thread(kerberized.ask, "PUT", "", "CANCELDELEGATIONTOKEN", token=token, delegation=token)
            assert await store.put(named(b"page"), b"page")
            assert await contents(store, named(b"page")) == b"page"
            assert store.files._delegation != token

    run(work())


@pytest.mark.usefixtures("as_superuser")
def test_a_keytab_replaces_a_ticket_that_has_expired(kerberized: KerberizedHdfs, cache: Path) -> None:
    kerberized.kdc.expired_ticket(SUPERUSER, kerberized.keytab, cache)

    async def work() -> None:
        async with a_store(kerberized.url(secrets.token_hex(4))) as store:
            await store.files.check()

    run(work())


@pytest.mark.usefixtures("as_superuser")
def test_the_command_line_reads_with_a_keytab(
    kerberized: KerberizedHdfs, offline: Seine, superuser: dict[str, str]
) -> None:
    page = b"<html>" + secrets.token_bytes(10)

    folder = kerberized.url("command")

    async def work() -> None:
        async with a_store(folder) as store:
            await store.put(named(page), page)

    run(work())
    offline.env |= {**superuser, "CLAIM_CHECK_URL": folder, "CLAIM_CHECK_KERBEROS": "1"}
    got = offline.run("claims", "get", named(page), "-o", str(offline.folder / "page"))

    assert got.code == 0, got.err
    assert (offline.folder / "page").read_bytes() == page


@pytest.fixture
def refused(kerberized: KerberizedHdfs, offline: Seine, nobody: dict[str, str]) -> Seine:
    offline.env |= {**nobody, "CLAIM_CHECK_URL": kerberized.url("refused"), "CLAIM_CHECK_KERBEROS": "1"}
    return offline


def test_no_ticket_stops_the_start_with_one_line(refused: Seine, cache: Path) -> None:
    why = f"No Kerberos credentials available (default cache: FILE:{cache})"
    assert_one_line(refused, f"no Kerberos ticket for HTTP@localhost: {why}")


def test_an_expired_ticket_stops_the_start_with_one_line(
    kerberized: KerberizedHdfs, refused: Seine, cache: Path
) -> None:
    kerberized.kdc.expired_ticket(SUPERUSER, kerberized.keytab, cache)
    assert_one_line(refused, "no Kerberos ticket for HTTP@localhost: Ticket expired")


def test_a_ticket_that_hdfs_cannot_decipher_stops_the_start_with_one_line(refused: Seine, other_kdc: Kdc) -> None:
    refused.env |= {**other_kdc.env, "KRB5_CLIENT_KTNAME": str(other_kdc.keytab("impostor"))}
    assert_one_line(refused, "HTTP 403 GSSException: Failure unspecified at GSS-API level")


def test_a_user_without_the_right_to_write_stops_the_start_with_one_line(
    kerberized: KerberizedHdfs, refused: Seine
) -> None:
    refused.env["KRB5_CLIENT_KTNAME"] = str(kerberized.strangers_keytab)
    assert_one_line(refused, f"AccessControlException: Permission denied: user={STRANGER}")


def test_a_kdc_that_is_away_stops_the_start_with_one_line(
    superuser: dict[str, str], refused: Seine, nowhere: str, tmp_path: Path
) -> None:
    config = tmp_path / "krb5.conf"
    config.write_text(re.sub(r"kdc = [\d.:]+", f"kdc = {nowhere}", Path(superuser["KRB5_CONFIG"]).read_text()))
    refused.env |= {**superuser, "KRB5_CONFIG": str(config)}
    assert_one_line(refused, "no Kerberos ticket for HTTP@localhost: Cannot contact any KDC for realm 'SEINE.TEST'")


def test_hdfs_with_kerberos_and_seine_without_is_told_in_one_line(superuser: dict[str, str], refused: Seine) -> None:
    refused.env |= {**superuser, "CLAIM_CHECK_KERBEROS": "0"}
    assert_one_line(refused, "HTTP 401: it asks for Kerberos (CLAIM_CHECK_KERBEROS=1, and a ticket)")


def assert_one_line(seine: Seine, message: str) -> None:
    crawl = seine.crawl("-a", "urls=http://127.0.0.1:1/")
    assert (crawl.code, crawl.err.count("seine: ")) == (1, 1), crawl.err
    assert message in crawl.err
    assert "Traceback" not in crawl.err
