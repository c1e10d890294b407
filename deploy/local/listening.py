"""Who listens on a port of this machine."""

from __future__ import annotations

import errno
import socket

import psutil

from deploy.local.config import HOST
from deploy.local.errors import PortTaken


def require_free(service: str, ports: dict[str, int]) -> None:
    """Raise PortTaken, naming the owner, unless every port of `ports` (setting's name: number) can be bound."""
    for setting, port in ports.items():
        if not _can_bind(port):
            raise PortTaken(f"{service} needs port {port}, which {owner(port)} has taken; stop it, or set {setting}")


def owner(port: int) -> str:
    """ "pid 4711 (nginx)", or what is known about who listens on `port`."""
    for connection in _listening():
        if connection.laddr.port == port and connection.pid:
            return f"pid {connection.pid} ({psutil.Process(connection.pid).name()})"
    return "a process of another user"


def _listening() -> list:
    try:
        return [c for c in psutil.net_connections("tcp") if c.status == psutil.CONN_LISTEN]
    except psutil.AccessDenied:
        # macOS shows other processes' sockets to root only.
        return []


def _can_bind(port: int) -> bool:
    with socket.socket() as probe:
        # As the services do: a connection that is just closing does not hold the port.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            if error.errno in (errno.EADDRINUSE, errno.EACCES):
                return False
            raise
    return True
