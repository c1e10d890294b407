"""Where the embedded stack keeps its things and which ports it takes."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from platformdirs import user_cache_dir

from deploy.local.errors import StackError

HOST = "127.0.0.1"
"""Every service binds here and nowhere else."""


def default_cache_dir() -> Path:
    """Downloads and class archives: per user, shared by all checkouts."""
    return Path(user_cache_dir("seine"))


@dataclass(frozen=True, slots=True)
class Ports:
    """Every port the stack listens on. The setting of `redis` is STACK_REDIS_PORT, and so on."""

    redis: int = 16379
    kafka: int = 19092
    kafka_controller: int = 19093
    registry: int = 18081
    registry_management: int = 18082
    hdfs: int = 19870
    """The NameNode's HTTP port, which WebHDFS speaks on."""
    hdfs_namenode: int = 18020
    hdfs_datanode: int = 19866
    hdfs_datanode_http: int = 19864
    hdfs_datanode_ipc: int = 19867

    @classmethod
    def free(cls) -> Ports:
        """A port for each that nobody listens on now."""
        names = [port.name for port in fields(cls)]
        sockets = [socket.create_server((HOST, 0)) for _ in names]
        numbers = [sock.getsockname()[1] for sock in sockets]
        for sock in sockets:
            sock.close()
        return cls(**dict(zip(names, numbers, strict=True)))


@dataclass(frozen=True, slots=True)
class StackConfig:
    """`data_dir` holds what the services store, their logs and pid files; `cache_dir` what can be fetched again."""

    data_dir: Path
    cache_dir: Path = field(default_factory=default_cache_dir)
    ports: Ports = field(default_factory=Ports)

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> StackConfig:
        """Build from Scrapy settings named STACK_*; what is unset keeps its default."""
        ports = {
            port.name: _port(setting, settings.get(setting))
            for port in fields(Ports)
            if settings.get(setting := f"STACK_{port.name.upper()}_PORT") is not None
        }
        cache_dir = settings.get("STACK_CACHE_DIR")
        return cls(
            data_dir=Path(settings.get("STACK_DIR") or ".stack").expanduser().resolve(),
            cache_dir=Path(cache_dir).expanduser().resolve() if cache_dir else default_cache_dir(),
            ports=Ports(**ports),
        )


def _port(setting: str, value: Any) -> int:
    try:
        port = int(value)
    except (TypeError, ValueError):
        port = 0
    if not 0 < port < 65536:
        raise StackError(f"{setting}={value}: expected a port, 1 to 65535")
    return port
