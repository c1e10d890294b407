"""What a consumer gets for a claim: the right bytes, or an error that says which kind of wrong it is."""

from __future__ import annotations

import gzip
import hashlib
import secrets
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from backports import zstd

from pipelines.claims.layout import blob_path
from pipelines.claims.resolver import (
    Corrupt,
    Missing,
    NotAllowed,
    Resolver,
    TooLarge,
    Unavailable,
    UnknownEncoding,
    decoded,
)
from tests.servers.hdfs import HdfsServer
from tests.support import ROOT
from tests.test_claim_store import a_store, run

PAGE = b"<html>a page</html>" * 100


def claim_of(data: bytes, base: str, **changes: Any) -> dict[str, Any]:
    sha256 = hashlib.sha256(data).hexdigest()
    claim = {"uri": f"{base}/{blob_path(sha256)}", "sha256": sha256, "size": len(data)}
    return {**claim, "content_type": "text/html", "content_encoding": None, **changes}


@pytest.fixture
def base(tmp_path: Path) -> str:
    return f"file://{tmp_path}"


def stored(data: bytes, folder: Path) -> Path:
    path = folder / blob_path(hashlib.sha256(data).hexdigest())
    path.parent.mkdir(parents=True)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(("encoding", "encode"), [("zstd", zstd.compress), ("gzip", gzip.compress), (None, bytes)])
def test_content_is_the_page_whether_it_is_in_the_record_or_claimed(
    tmp_path: Path, base: str, encoding: str | None, encode: Any
) -> None:
    data = encode(PAGE)
    stored(data, tmp_path)
    resolver = Resolver([base])
    claimed = {"content": claim_of(data, base, content_encoding=encoding), "content_encoding": encoding}
    assert resolver.content(claimed) == PAGE
    assert resolver.content({"content": data, "content_encoding": encoding}) == PAGE
    assert resolver.content({"content": None, "content_encoding": None}) is None


def test_claims_are_read_from_hdfs_past_a_dead_namenode_and_under_another_base(hdfs: HdfsServer) -> None:
    folder = f"resolver-{secrets.token_hex(4)}"
    sha256 = hashlib.sha256(PAGE).hexdigest()

    async def store() -> None:
        async with a_store(hdfs.url(folder)) as claims:
            await claims.put(sha256, PAGE)

    run(store())
    both = f"webhdfs://127.0.0.1:1,127.0.0.1:{hdfs.port}/{folder}"
    assert Resolver([hdfs.url(folder)]).resolve(claim_of(PAGE, hdfs.url(folder))) == PAGE
    assert Resolver({"hdfs://shop/seine": both}).resolve(claim_of(PAGE, "hdfs://shop/seine")) == PAGE
    with pytest.raises(Missing):
        Resolver([both]).resolve(claim_of(b"another", both))


def test_only_uris_below_an_allowed_base_are_read(tmp_path: Path, base: str) -> None:
    stored(PAGE, tmp_path)
    resolver = Resolver([base])
    good = claim_of(PAGE, base)
    assert resolver.resolve(good) == PAGE
    for uri in (
        "file:///etc/passwd",
        f"{base}/../claims/{good['uri']}",
        f"{base}/claims/sha256/aa/bb/../../../secret",
        f"{base}.evil/{blob_path(good['sha256'])}",
        "http://169.254.169.254/latest/meta-data",
    ):
        with pytest.raises(NotAllowed):
            resolver.resolve({**good, "uri": uri})
    with pytest.raises(NotAllowed):
        resolver.resolve({**good, "sha256": "../../../../etc/passwd"})


def test_what_is_not_what_the_claim_says_is_refused(tmp_path: Path, base: str) -> None:
    resolver = Resolver([base])
    with pytest.raises(Missing):
        resolver.resolve(claim_of(PAGE, base))
    path = stored(PAGE, tmp_path)
    with pytest.raises(Corrupt):
        resolver.resolve(claim_of(PAGE, base, size=len(PAGE) - 1))
    path.write_bytes(PAGE[:-1] + b"!")
    with pytest.raises(Corrupt):
        resolver.resolve(claim_of(PAGE, base))
    path.write_bytes(PAGE + b"more")
    with pytest.raises(Corrupt):
        resolver.resolve(claim_of(PAGE, base))


def test_nothing_larger_than_wanted_is_read_or_decompressed(tmp_path: Path, base: str) -> None:
    stored(PAGE, tmp_path)
    with pytest.raises(TooLarge, match="1900 bytes, and 1000 are allowed"):
        Resolver([base], largest=1000).resolve(claim_of(PAGE, base))
    for bomb, encoding in ((zstd.compress(b"0" * 10_000_000), "zstd"), (gzip.compress(b"0" * 10_000_000), "gzip")):
        with pytest.raises(TooLarge):
            decoded(bomb, encoding, 1_000_000)
        assert len(decoded(bomb, encoding, 10_000_000)) == 10_000_000


def test_what_cannot_be_decoded_is_named(base: str) -> None:
    with pytest.raises(UnknownEncoding, match="br"):
        decoded(PAGE, "br")
    for encoding in ("zstd", "gzip"):
        with pytest.raises(Corrupt):
            decoded(PAGE, encoding)
    with pytest.raises(Corrupt, match="not to its end"):
        decoded(zstd.compress(secrets.token_bytes(1000))[:-10], "zstd")
    with pytest.raises(NotAllowed, match="map its base"):
        Resolver(["hdfs://shop/seine"]).resolve(claim_of(PAGE, "hdfs://shop/seine"))


def test_a_store_that_does_not_answer_is_worth_another_try() -> None:
    base = "webhdfs://127.0.0.1:1/seine"
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1:1"):
        Resolver([base]).resolve(claim_of(PAGE, base))


def test_a_consumer_needs_neither_scrapy_nor_kafka() -> None:
    """In a process of its own, as this one has imported everything."""
    code = (
        "import sys; import pipelines.claims.resolver; "
        "print({'scrapy', 'twisted', 'confluent_kafka', 'aiohttp', 'structlog'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("set()\n", "")
