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
_STATUSES = {403: "denied"}
"""What an answer means that is not WebHDFS' own, such as that of the filter that looks at tickets."""
_ASK_ANOTHER = ("unreachable", "timeout", "standby")
_NO_DATANODE = "could only be written to 0 of the"
"""How HDFS says that no DataNode has room, or that there is none."""
_INVALID_TOKEN = "InvalidToken"  # noqa: S105
"""How HDFS says that a delegation token has expired or was cancelled."""


class WebHdfs:
    """Files of HDFS. The NameNode that answered last is asked first; one that is down or on standby is passed over."""

    def __init__(self, address: HdfsAddress, user: str, timeout: float, negotiate: Negotiate | None = None):
        self._address = address
        self._active = address.namenodes[0]
        self._user = user
        self._timeout = timeout
        self._namenode_seconds = timeout / (len(address.namenodes) + 1)  # time is left to ask the next one
        self._negotiate = negotiate
        self._delegation: str | None = None
        self._delegating = asyncio.Lock()
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
                response = await self._authorized(method, url.with_query({"op": op, **params}))
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
        """Kerberos where it is asked for: a ticket is shown for a delegation token, which serves until it expires."""
        delegation = self._delegation
        try:
            return await self._send(method, url.update_query(self._identity()), seconds=self._namenode_seconds)
        except _Unauthorized:
            if self._negotiate is None:
                raise
        await self._delegate(self._negotiate, url, delegation)
        return await self._send(method, url.update_query(self._identity()), seconds=self._namenode_seconds)

    async def _delegate(self, negotiate: Negotiate, url: URL, refused: str | None) -> None:
        """Get a delegation token instead of the one that was refused.

        Without one in the request, a NameNode makes one for each redirection to a DataNode, and keeps it for a day.
        """
        async with self._delegating:
            if self._delegation != refused:
                return
            ticket = {"Authorization": await negotiate(url.host or "")}
            asked = url.with_path("/webhdfs/v1/").with_query(op="GETDELEGATIONTOKEN")
            response = await self._send("GET", asked, headers=ticket, seconds=self._namenode_seconds)
            async with response, _told(asked):
                self._delegation = _token(await response.json(content_type=None))

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
        if self._negotiate is None:
            return {"user.name": self._user}
        return {"delegation": self._delegation} if self._delegation else {}

    def _open_session(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=_CONNECTIONS),
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._session


class _Unauthorized(StoreAway):
    """The server wants to know who asks, or takes the delegation token no more."""


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
        return StoreAway(_STATUSES.get(response.status, "error"), f"{where}: HTTP {response.status} {response.reason}")
    if name == "FileNotFoundException":
        return FileNotFoundError(message)
    kind = _Unauthorized if _INVALID_TOKEN in message else StoreAway
    return kind(_reason(name, message), f"{where}: {name}: {message.splitlines()[0] if message else ''}")


def _token(answer: Any) -> str:
    """Raises ValueError where it is none."""
    try:
        return str(answer["Token"]["urlString"])
    except (TypeError, KeyError):
        raise ValueError("no delegation token") from None


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
