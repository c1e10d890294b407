"""HDFS over its REST API: `webhdfs://host:port/folder`, with several NameNodes `webhdfs://nn1:9870,nn2:9870/folder`.

Writing and reading take two steps: the NameNode names a DataNode, which takes or gives the bytes.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from posixpath import dirname
from typing import TYPE_CHECKING, Any

import aiohttp
from yarl import URL

from pipelines.claims.files import CHUNK, FileStatus, StoreAway
from pipelines.claims.layout import ROOT

if TYPE_CHECKING:
    from pipelines.claims.address import HdfsAddress

Negotiate = Callable[[str], Awaitable[str]]
"""The Authorization header for a host: pipelines/claims/kerberos.py."""

_CONNECT_SECONDS = 5.0
_CONNECTIONS = 32
_REASONS = {
    "StandbyException": "standby",
    "RetriableException": "standby",
    "ObserverRetryOnActiveException": "standby",
    "SafeModeException": "safe mode",
    "DSQuotaExceededException": "full",
    "NSQuotaExceededException": "full",
    "QuotaByStorageTypeExceededException": "full",
    "AccessControlException": "denied",
    "SecurityException": "denied",
}
_ASK_ANOTHER = ("unreachable", "timeout", "standby")
_NO_DATANODE = "could only be written to 0 of the"
"""How HDFS says that no DataNode has room, or that there is none."""


class WebHdfs:
    """Files of HDFS. The NameNode that answered last is asked first; one that is down or on standby is passed over."""

    def __init__(self, address: HdfsAddress, user: str, timeout: float, negotiate: Negotiate | None = None):
        self._address = address
        self._active = address.namenodes[0]
        self._user = user
        self._timeout = timeout
        self._namenode_seconds = timeout / (len(address.namenodes) + 1)  # time is left to ask the next one
        self._negotiate = negotiate
        self._session: aiohttp.ClientSession | None = None

    async def check(self) -> None:
        await self._ask("PUT", ROOT, "MKDIRS")

    async def write(self, path: str, data: bytes) -> None:
        async with self._at_datanode("PUT", path, "CREATE", data, overwrite="true"):
            return

    async def status(self, path: str) -> FileStatus | None:
        try:
            found = await self._ask("GET", path, "GETFILESTATUS")
        except FileNotFoundError:
            return None
        return _status(found["FileStatus"], path)

    async def touch(self, path: str) -> bool:
        try:
            await self._ask("PUT", path, "SETTIMES", modificationtime=str(int(time.time() * 1000)))
        except FileNotFoundError:
            return False
        return True

    async def rename(self, old: str, new: str) -> bool:
        if await self._rename(old, new):
            return True
        await self._ask("PUT", dirname(new), "MKDIRS")
        return await self._rename(old, new)

    async def delete(self, path: str) -> None:
        await self._ask("DELETE", path, "DELETE")

    async def list(self, path: str) -> list[FileStatus]:
        try:
            found = await self._ask("GET", path, "LISTSTATUS")
        except FileNotFoundError:
            return []
        return [_status(one, path) for one in found["FileStatuses"]["FileStatus"]]

    async def read(self, path: str) -> AsyncIterator[bytes]:
        async with self._at_datanode("GET", path, "OPEN") as response:
            async for chunk in response.content.iter_chunked(CHUNK):
                yield chunk

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _rename(self, old: str, new: str) -> bool:
        try:
            answer = await self._ask("PUT", old, "RENAME", destination=f"{self._address.path}/{new}")
        except FileNotFoundError:
            return False
        return bool(answer["boolean"])

    async def _ask(self, method: str, path: str, op: str, **params: str) -> dict[str, Any]:
        """The JSON that the active NameNode answers; empty where it answers nothing."""
        async with self._at_namenode(method, path, op, params) as response, _told(response.url):
            return await response.json(content_type=None) or {}

    @asynccontextmanager
    async def _at_namenode(
        self, method: str, path: str, op: str, params: dict[str, str]
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """What the active NameNode answers."""
        failures: dict[str, StoreAway] = {}
        for namenode in sorted(self._address.namenodes, key=lambda name: name != self._active):
            url = URL(f"{self._address.scheme}://{namenode}").with_path(f"/webhdfs/v1{self._address.path}/{path}")
            try:
                response = await self._authorized(method, url.with_query({"op": op, **self._identity(), **params}))
            except StoreAway as error:
                if error.reason not in _ASK_ANOTHER:
                    raise
                failures[namenode] = error
                continue
            self._active = namenode
            async with response:
                yield response
            return
        raise StoreAway(next(iter(failures.values())).reason, "; ".join(str(error) for error in failures.values()))

    @asynccontextmanager
    async def _at_datanode(
        self, method: str, path: str, op: str, data: bytes | None = None, **params: str
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """What the DataNode that the NameNode has named answers."""
        async with self._at_namenode(method, path, op, params) as redirection:
            location = redirection.headers.get("Location")
        if location is None:
            raise StoreAway("error", f"{redirection.host}: named no DataNode for {op} {path}")
        body = None if data is None else _chunks(data)
        datanode = URL(location, encoded=True)
        async with _told(datanode), await self._send(method, datanode, body, _size(data)) as response:
            yield response

    async def _authorized(self, method: str, url: URL) -> aiohttp.ClientResponse:
        """Kerberos where it is asked for: the answer sets a cookie, which serves until it expires."""
        try:
            return await self._send(method, url, seconds=self._namenode_seconds)
        except _Unauthorized:
            if self._negotiate is None:
                raise
        token = {"Authorization": await self._negotiate(url.host or "")}
        return await self._send(method, url, headers=token, seconds=self._namenode_seconds)

    async def _send(
        self,
        method: str,
        url: URL,
        body: Any = None,
        headers: dict[str, str] | None = None,
        seconds: float | None = None,
    ) -> aiohttp.ClientResponse:
        """An answer that is good. Raises FileNotFoundError, or StoreAway for all others."""
        async with _told(url):
            limit = aiohttp.ClientTimeout(sock_connect=_CONNECT_SECONDS, sock_read=seconds or self._timeout)
            response = await self._open_session().request(
                method, url, data=body, headers=headers, timeout=limit, allow_redirects=False
            )
            if response.status < 400:
                return response
            async with response:
                raise await _error(response)

    def _identity(self) -> dict[str, str]:
        return {} if self._negotiate else {"user.name": self._user}

    def _open_session(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=_CONNECTIONS),
                cookie_jar=aiohttp.CookieJar(unsafe=True),  # of hosts that are addresses, too
            )
        return self._session


class _Unauthorized(StoreAway):
    """The server wants to know who asks."""


@asynccontextmanager
async def _told(url: URL | None = None) -> AsyncIterator[None]:
    """Raise StoreAway for what the network does."""
    where = f"{url.host}:{url.port}: " if url else ""
    try:
        yield
    except TimeoutError:
        raise StoreAway("timeout", f"{where}no answer in time") from None
    except FileNotFoundError:
        raise
    except (aiohttp.ClientError, OSError) as error:
        raise StoreAway("unreachable", f"{where}{error or type(error).__name__}") from None
    except ValueError as error:
        raise StoreAway("error", f"{where}not what WebHDFS answers: {error}") from None


async def _error(response: aiohttp.ClientResponse) -> Exception:
    """What an answer of 400 or more means."""
    where = f"{response.url.host}:{response.url.port}"
    if response.status == 401:
        return _Unauthorized(
            "denied", f"{where}: HTTP 401: it asks for Kerberos (CLAIM_CHECK_KERBEROS=1, and a ticket)"
        )
    try:
        told = (await response.json(content_type=None))["RemoteException"]
        name, message = str(told["exception"]), str(told["message"])
    except (ValueError, TypeError, KeyError):
        return StoreAway("error", f"{where}: HTTP {response.status}")
    if name == "FileNotFoundException":
        return FileNotFoundError(message)
    return StoreAway(_reason(name, message), f"{where}: {name}: {message.splitlines()[0] if message else ''}")


def _reason(name: str, message: str) -> str:
    if "in safe mode" in message:
        return "safe mode"
    return "full" if _NO_DATANODE in message else _REASONS.get(name, "error")


def _status(found: dict[str, Any], path: str) -> FileStatus:
    name = found["pathSuffix"] or path.rpartition("/")[2]
    return FileStatus(name, found["length"], found["modificationTime"] / 1000, found["type"] == "DIRECTORY")


async def _chunks(data: bytes) -> AsyncIterator[memoryview]:
    view = memoryview(data)
    for start in range(0, len(view), CHUNK):
        yield view[start : start + CHUNK]
        await asyncio.sleep(0)  # other tasks have their turn


def _size(data: bytes | None) -> dict[str, str] | None:
    if data is None:
        return None
    return {"Content-Length": str(len(data)), "Content-Type": "application/octet-stream"}
