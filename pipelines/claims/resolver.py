"""Gives consumers the bytes that a claim check stands for. docs/claim-check.md shows how it is used.

Blocks. Needs no other part of Seine than layout.py beside it, and no library but, before Python 3.14, backports.zstd.

ClaimError
├── NotAllowed       the URI is not below an allowed base, or not where its hash belongs
├── TooLarge         more bytes than the consumer wants, stored or decompressed
├── Missing          nothing is there any more
├── Corrupt          the bytes are not those that the claim was made of
├── UnknownEncoding  there is no decoder for content_encoding
└── Unavailable      the store does not answer: try again later
"""

from __future__ import annotations

import hashlib
import http.client
import json
import sys
import urllib.error
import urllib.request
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from pipelines.claims.layout import blob_path, is_sha256

_LARGEST = 64 * 1024 * 1024
_WEBHDFS = {"webhdfs": ("http", 9870), "swebhdfs": ("https", 9871)}
_GZIP = 16 + zlib.MAX_WBITS


class ClaimError(Exception):
    """The root of what a Resolver raises."""


class NotAllowed(ClaimError):
    """The URI is not below an allowed base, or not where its hash belongs."""


class TooLarge(ClaimError):
    """More bytes than the consumer wants."""


class Missing(ClaimError):
    """Nothing is there: the record has outlived its topic's retention, or was forgotten."""


class Corrupt(ClaimError):
    """The bytes are not those that the claim was made of."""


class UnknownEncoding(ClaimError):
    """There is no decoder for content_encoding."""


class Unavailable(ClaimError):
    """The store does not answer now."""


class Resolver:
    """Reads claims below `bases` only, at most `largest` bytes each, and checks their hash.

    `bases` are URIs as records have them; a mapping also says where to read them: `{"hdfs://shop/seine":
    "webhdfs://nn1:9870,nn2:9870/seine"}`. Known are file, webhdfs, swebhdfs, http and https.
    """

    def __init__(
        self,
        bases: Iterable[str] | Mapping[str, str],
        *,
        largest: int = _LARGEST,
        timeout: float = 30.0,
        user: str = "seine",
    ):
        named = bases if isinstance(bases, Mapping) else {base: base for base in bases}
        self._bases = {base.rstrip("/"): place.rstrip("/") for base, place in named.items()}
        self._largest = largest
        self._timeout = timeout
        self._user = user
        # No proxies, and of redirections those to HTTP alone: a NameNode sends readers to a DataNode.
        self._http = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def content(self, record: Mapping[str, Any], field: str = "content") -> bytes | None:
        """A decoded record's content as it was fetched, wherever it is; None where it has none. Raises ClaimError."""
        value = record[field]
        if value is None:
            return None
        if isinstance(value, (bytes, bytearray)):
            return decoded(bytes(value), record.get(f"{field}_encoding"), self._largest)
        return decoded(self.resolve(value), value["content_encoding"], self._largest)

    def resolve(self, claim: Mapping[str, Any]) -> bytes:
        """The bytes of `claim` (uri, sha256, size), as they are stored. Raises ClaimError."""
        place = self._place(claim["uri"], claim["sha256"])
        if claim["size"] > self._largest:
            raise TooLarge(f"{claim['uri']}: {claim['size']} bytes, and {self._largest} are allowed")
        data = self._read(place, claim["size"] + 1)
        if len(data) != claim["size"] or hashlib.sha256(data).hexdigest() != claim["sha256"]:
            raise Corrupt(f"{claim['uri']}: not the {claim['size']} bytes of that hash")
        return data

    def _place(self, uri: str, sha256: str) -> str:
        """Where to read `uri`. It is compared as a whole, so that no part of it can lead elsewhere."""
        if is_sha256(sha256):
            for base, place in self._bases.items():
                if uri == f"{base}/{blob_path(sha256)}":
                    return f"{place}/{blob_path(sha256)}"
        raise NotAllowed(f"{uri}: not a claim of {', '.join(self._bases)}")

    def _read(self, place: str, most: int) -> bytes:
        parts = urlsplit(place)
        if parts.scheme == "file":
            return _read_file(Path(parts.path), most)
        failures = []
        for url in self._urls(place):
            try:
                with self._http.open(url, timeout=self._timeout) as response:
                    return bytes(response.read(most))
            except urllib.error.HTTPError as error:
                failures.append(f"{url}: {_told(error)}")
                if error.code == 404:
                    raise Missing(failures[-1]) from None
            except (OSError, http.client.HTTPException) as error:
                failures.append(f"{url}: {error}")
        raise Unavailable("; ".join(failures))

    def _urls(self, place: str) -> Iterator[str]:
        """Where to ask, one after the other."""
        parts = urlsplit(place)
        if parts.scheme in ("http", "https"):
            yield place
        elif parts.scheme in _WEBHDFS:
            scheme, port = _WEBHDFS[parts.scheme]
            for namenode in parts.netloc.split(","):
                host = namenode if namenode.rpartition(":")[2].isdigit() else f"{namenode}:{port}"
                yield f"{scheme}://{host}/webhdfs/v1{parts.path}?op=OPEN&user.name={quote(self._user)}"
        else:
            raise NotAllowed(f"{place}: nothing here reads {parts.scheme}: map its base to one of webhdfs or https")


def decoded(data: bytes, encoding: str | None, largest: int = _LARGEST) -> bytes:
    """`data` without its content encoding. Raises TooLarge, Corrupt or UnknownEncoding."""
    if encoding is None:
        return data
    decompressor = _decompressor(encoding)
    try:
        content: bytes = decompressor.decompress(data, largest + 1)
    except Exception as error:  # each library has errors of its own
        raise Corrupt(f"not {encoding}: {error}") from None
    if len(content) > largest:
        raise TooLarge(f"more than {largest} bytes once it is decompressed")
    if not decompressor.eof:
        raise Corrupt(f"{encoding}, but not to its end")
    return content


def _decompressor(encoding: str) -> Any:
    if encoding == "gzip":
        return zlib.decompressobj(_GZIP)
    if encoding != "zstd":
        raise UnknownEncoding(f"{encoding}: expected zstd or gzip")
    try:
        if sys.version_info >= (3, 14):
            from compression import zstd
        else:
            from backports import zstd
    except ImportError:
        raise UnknownEncoding("zstd: pip install backports.zstd") from None
    return zstd.ZstdDecompressor()


def _read_file(path: Path, most: int) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(most)
    except FileNotFoundError:
        raise Missing(str(path)) from None
    except OSError as error:
        raise Unavailable(f"{path}: {error.strerror}") from None


def _told(error: urllib.error.HTTPError) -> str:
    """What WebHDFS says, in one line."""
    try:
        return str(json.load(error)["RemoteException"]["message"]).splitlines()[0]
    except (ValueError, LookupError, TypeError):
        return f"HTTP {error.code}"
