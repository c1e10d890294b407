"""One connection to the Redis server that holds a key: a single server, a Sentinel's master, or a Cluster's node."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Self

from redis.asyncio import ConnectionPool, RedisCluster, Sentinel
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from crawlers.exceptions import StartupError, UserError
from crawlers.frontier import scripts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from redis.asyncio.connection import AbstractConnection

    from crawlers.frontier.scripts import Command

AWAY = (RedisError, OSError, asyncio.TimeoutError, EOFError)
"""What a lost, refused or silent connection raises."""


class Connection:
    """A connection with the frontier's scripts loaded. It never reconnects by itself: what was in flight when it broke
    is for its owner to find out.
    """

    def __init__(self, raw: AbstractConnection, run_id: str):
        self._raw = raw
        self.run_id = run_id
        """Of the server process: another one may have lost what this one acknowledged."""

    async def call(self, *commands: Command) -> list[Any]:
        """The replies to `commands`, sent in one go; a command's error is its reply. Raises one of AWAY."""
        await self._raw.send_packed_command(self._raw.pack_commands(commands), check_health=False)
        replies = []
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
        self._options = options
        self._url = url
        self._sentinels = [_host_port(part) for part in sentinels.split(",") if part.strip()]
        self._master = master
        self._cluster = cluster

    @classmethod
    def from_settings(cls, settings: Any) -> Self:
        """The servers of REDIS_URL, or of REDIS_SENTINELS and REDIS_SENTINEL_MASTER, with REDIS_PARAMS."""
        options = {
            **settings.getdict("REDIS_PARAMS"),
            "protocol": 2,
            "retry": Retry(NoBackoff(), 0),  # type: ignore[no-untyped-call]
            "socket_timeout": settings.getfloat("REDIS_TIMEOUT"),
            "socket_connect_timeout": settings.getfloat("REDIS_TIMEOUT"),
            "decode_responses": False,
            "health_check_interval": 0,
        }
        options.pop("redis_cls", None)
        return cls(
            options,
            settings.get("REDIS_URL"),
            ",".join(settings.getlist("REDIS_SENTINELS")),
            settings["REDIS_SENTINEL_MASTER"],
            cluster=settings.getbool("REDIS_CLUSTER"),
        )

    async def connect(self, key: str) -> Connection:
        """A new connection to the server that holds `key`. Raises one of AWAY."""
        raw = (await self._pool(key)).make_connection()
        await raw.connect()
        connection = Connection(raw, "")
        try:
            replies = await connection.call(("INFO", "server"), ("ROLE",), *scripts.load())
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
        fields = dict(line.split(":", 1) for line in replies[0].decode().splitlines() if ":" in line)
        connection.run_id = fields["run_id"]
        return connection

    def describe(self) -> str:
        """Where Redis is, without credentials."""
        if self._sentinels:
            return f"{self._master} of the Sentinels {','.join(f'{host}:{port}' for host, port in self._sentinels)}"
        return without_password(self._url or "redis://localhost:6379")

    async def _pool(self, key: str) -> ConnectionPool:
        if self._sentinels:
            plain = {name: value for name, value in self._options.items() if name not in ("username", "password", "db")}
            sentinel = Sentinel(self._sentinels, **plain)  # type: ignore[no-untyped-call]
            host, port = await sentinel.discover_master(self._master)  # type: ignore[no-untyped-call]
            for client in sentinel.sentinels:
                await client.aclose()
            return ConnectionPool(host=host, port=port, **self._options)
        if not self._cluster:
            return ConnectionPool.from_url(self._url or "redis://localhost:6379", **self._options)
        options = {name: value for name, value in self._options.items() if name not in ("retry", "db")}
        cluster = RedisCluster.from_url(self._url or "", **options)
        try:
            await cluster.initialize()
            node = cluster.get_node_from_key(key)
            assert node is not None
            pool = ConnectionPool.from_url(self._url or "", **self._options)
            pool.connection_kwargs |= {"host": node.host, "port": node.port}
            return pool
        finally:
            await cluster.aclose()


async def connect_at_start(servers: Servers, key: str) -> Connection:
    """A connection for a start, which an unreachable Redis stops with one line."""
    try:
        return await servers.connect(key)
    except (*AWAY, ValueError) as error:
        why = str(error) or type(error).__name__
        raise StartupError(f"REDIS_URL: Redis at {servers.describe()} cannot be used: {why}") from None


def without_password(url: str) -> str:
    """`url` with its credentials hidden."""
    scheme, separator, rest = url.partition("://")
    return f"{scheme}{separator}{rest.rpartition('@')[2].partition('?')[0]}"


def _host_port(text: str) -> tuple[str, int]:
    host, _, port = text.strip().rpartition(":")
    if not host or not port.isdigit():
        raise UserError(f"REDIS_SENTINELS={text}: expected host:port, comma separated")
    return host, int(port)


def failed(replies: Sequence[Any]) -> Exception | None:
    """The first error among `replies`."""
    return next((reply for reply in replies if isinstance(reply, Exception)), None)
