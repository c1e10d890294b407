"""One connection to the Redis server that holds a key: a single server, a Sentinel's master, or a Cluster's node."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Self

import redis
from redis.asyncio import Sentinel
from redis.asyncio.connection import Connection as PlainConnection
from redis.asyncio.connection import SSLConnection, UnixDomainSocketConnection, parse_url
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.crc import key_slot
from redis.exceptions import AskError, RedisError
from redis.exceptions import ConnectionError as LostConnection
from scrapy_redis.connection import get_redis_from_settings

from crawlers.exceptions import StartupError, UserError
from crawlers.frontier import scripts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from redis.asyncio.connection import AbstractConnection

    from crawlers.frontier.scripts import Command

AWAY = (RedisError, OSError, asyncio.TimeoutError, EOFError)
"""What a lost, refused or silent connection raises."""
_ENDPOINT = ("host", "port", "db", "username", "password", "path")
_OF_THE_MASTER = ("host", "port", "db", "username", "password", "connection_class")
_KINDS = {
    redis.Connection: PlainConnection,
    redis.SSLConnection: SSLConnection,
    redis.UnixDomainSocketConnection: UnixDomainSocketConnection,
}


class Connection:
    """A connection with the frontier's scripts loaded. It never reconnects by itself: what was in flight when it broke
    is for its owner to find out.
    """

    def __init__(self, raw: AbstractConnection, run_id: str):
        self._raw = raw
        self.run_id = run_id
        """Of the server process and its data: after another one, or another master's time, what was acknowledged may be
        gone."""

    async def call(self, *commands: Command) -> list[Any]:
        """The replies to `commands`, sent in one go; a command's error is its reply. Raises one of AWAY."""
        try:
            return await self._call(commands)
        except RuntimeError as error:  # uvloop's, for a transport that is closed
            raise LostConnection(str(error)) from None

    async def _call(self, commands: Sequence[Command]) -> list[Any]:
        await self._raw.send_packed_command(self._raw.pack_commands(commands), check_health=False)
        replies: list[Any] = []
        for _ in commands:
            try:
                replies.append(await self._raw.read_response(disconnect_on_error=True))
            except RedisError as error:
                if not self._raw.is_connected:
                    raise
                replies.append(error)
        return replies

    async def one(self, *command: str | bytes | float) -> Any:
        """The reply to one command; raises its error."""
        [reply] = await self.call(command)
        if isinstance(reply, Exception):
            raise reply
        return reply

    async def close(self) -> None:
        """Drop the connection."""
        await self._raw.disconnect(nowait=True)


class Servers:
    """Where Redis is, from settings."""

    def __init__(self, options: dict[str, Any], url: str | None, sentinels: str, master: str, *, cluster: bool):
        self._options = {**parse_url(url), **options} if url else options  # type: ignore[no-untyped-call]
        self._sentinels = [_host_port(part) for part in sentinels.split(",") if part.strip()]
        self._master = master
        self._cluster = cluster
        self._nodes: list[tuple[str, int]] = []
        """The Cluster's masters, as last seen."""

    @classmethod
    def from_settings(cls, settings: Any) -> Self:
        """The servers of REDIS_URL or scrapy-redis's REDIS_HOST, or of REDIS_SENTINELS with those credentials."""
        client = get_redis_from_settings(settings)
        given = client.connection_pool.connection_kwargs
        options = {
            **{name: value for name, value in given.items() if name in _ENDPOINT or name.startswith("ssl")},
            "connection_class": _KINDS[client.connection_pool.connection_class],
            "protocol": 2,
            "retry": Retry(NoBackoff(), 0),  # type: ignore[no-untyped-call]
            "socket_timeout": settings.getfloat("REDIS_TIMEOUT"),
            "socket_connect_timeout": settings.getfloat("REDIS_TIMEOUT"),
            "decode_responses": False,
            "health_check_interval": 0,
        }
        return cls(
            options,
            None,
            ",".join(settings.getlist("REDIS_SENTINELS")),
            settings["REDIS_SENTINEL_MASTER"],
            cluster=settings.getbool("REDIS_CLUSTER"),
        )

    async def connect(self, key: str) -> Connection:
        """A new connection to the server that holds `key`. Raises one of AWAY."""
        connection = Connection(await self._master_of(key), "")
        try:
            replies = await connection.call(("INFO", "server"), ("ROLE",), ("INFO", "replication"), *scripts.load())
        except BaseException:
            await connection.close()
            raise
        for reply in replies:
            if isinstance(reply, Exception):
                await connection.close()
                raise reply
        if replies[1][0] != b"master":
            await connection.close()
            raise RedisError(f"{self.describe()}: a replica, not a master")
        told = (replies[0] + replies[2]).decode().splitlines()
        fields = dict(line.split(":", 1) for line in told if ":" in line)
        connection.run_id = fields["run_id"] + fields["master_replid"]
        return connection

    def describe(self) -> str:
        """Where Redis is, without credentials."""
        if self._sentinels:
            return f"{self._master} of the Sentinels {','.join(f'{host}:{port}' for host, port in self._sentinels)}"
        if "path" in self._options:
            return f"unix://{self._options['path']}"
        scheme = "rediss" if self._options.get("connection_class") is SSLConnection else "redis"
        return f"{scheme}://{self._options['host']}:{self._options['port']}/{self._options.get('db', 0)}"

    async def _raw(self, host: str | None = None, port: int | None = None) -> AbstractConnection:
        """A connection to that server, or to the one that was configured."""
        options = dict(self._options)
        kind = options.pop("connection_class", PlainConnection)
        if host is not None:
            options |= {"host": host, "port": port}
        raw: AbstractConnection = kind(**options)
        try:
            await raw.connect()
        except RuntimeError as error:
            raise LostConnection(str(error)) from None
        return raw

    async def _master_of(self, key: str) -> AbstractConnection:
        """A connection to the server that takes writes of `key`."""
        if self._sentinels:
            return await self._raw(*await self._watched_master())
        if self._cluster:
            return await self._raw(*await self._owner_of(key))
        return await self._raw()

    async def _watched_master(self) -> tuple[str, int]:
        plain = {name: value for name, value in self._options.items() if name not in _OF_THE_MASTER}
        if self._options.get("connection_class") is SSLConnection:
            plain["ssl"] = True
        sentinel = Sentinel(self._sentinels, **plain)  # type: ignore[no-untyped-call]
        try:
            found: tuple[str, int] = await sentinel.discover_master(self._master)  # type: ignore[no-untyped-call]
            return found
        finally:
            for client in sentinel.sentinels:
                await client.aclose()

    async def _owner_of(self, key: str) -> tuple[str, int]:
        """The Cluster's master of the key's slot, by the first known node that answers."""
        slot, error = key_slot(key.encode()), None
        for node in (*self._nodes, (None, None)):
            try:
                connection = Connection(await self._raw(*node), "")
                ranges = await connection.one("CLUSTER", "SLOTS")
                await connection.close()
            except AWAY as reason:
                error = reason
                continue
            masters = [(first, last, (master[0].decode(), master[1])) for first, last, master, *_ in ranges]
            self._nodes = list(dict.fromkeys(master for _, _, master in masters))
            for first, last, master in masters:
                if first <= slot <= last:
                    return master
            error = RedisError(f"no node has slot {slot}")
        raise error or RedisError("no node answers")


async def connect_at_start(servers: Servers, key: str) -> Connection:
    """A connection for a start, which an unreachable Redis stops with one line."""
    try:
        return await servers.connect(key)
    except (*AWAY, ValueError, TypeError) as error:  # the last two: parameters of REDIS_URL that redis-py does not take
        raise refusal(servers, error) from None


def refusal(servers: Servers, error: Exception) -> StartupError:
    """Why a start ends."""
    return StartupError(f"REDIS_URL: Redis at {servers.describe()} cannot be used: {told(error)}")


def told(error: Exception) -> str:
    """An error in words; redis-py leaves out that a slot has moved."""
    code = f"{error.status_code} " if isinstance(error, AskError) else ""
    return f"{code}{error}" if str(error) else type(error).__name__


def _host_port(text: str) -> tuple[str, int]:
    host, _, port = text.strip().rpartition(":")
    if not host or not port.isdigit():
        raise UserError(f"REDIS_SENTINELS={text}: expected host:port, comma separated")
    return host, int(port)


def failed(replies: Sequence[Any]) -> Exception | None:
    """The first error among `replies`."""
    return next((reply for reply in replies if isinstance(reply, Exception)), None)
