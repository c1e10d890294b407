"""A redis-server of the bench's own, which both sides use in turn, and what it tells of itself."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from redis import Redis
from redis.exceptions import ConnectionError as RedisAway

from deploy.local.redis import executable

HOST = "127.0.0.1"
_SECONDS_TO_START = 10.0


class Server:
    """A running redis-server."""

    def __init__(self, port: int, pid: int):
        self.url = f"redis://{HOST}:{port}/0"
        self.pid = pid
        self.client: Redis = Redis(HOST, port, protocol=2)

    def flush(self) -> None:
        """As it was when it started; what a side had stored is gone, and its memory given back."""
        self.client.flushall(asynchronous=False)
        self.client.script_flush()
        self.client.config_resetstat()

    @property
    def version(self) -> str:
        return str(self._info("server")["redis_version"])

    @property
    def cpu(self) -> float:
        """Seconds that the process has used so far."""
        info = self._info("cpu")
        return float(info["used_cpu_user"]) + float(info["used_cpu_sys"])

    @property
    def memory(self) -> int:
        """Bytes that it has allocated for data, keys and its own tables."""
        return int(self._info("memory")["used_memory"])

    @property
    def in_scripts(self) -> tuple[int, float]:
        """(calls of EVALSHA so far, seconds spent in them)."""
        stats = self._info("commandstats").get("cmdstat_evalsha", {"calls": 0, "usec": 0})
        return int(stats["calls"]), int(stats["usec"]) / 1e6

    def _info(self, section: str) -> dict[str, Any]:
        found: Any = self.client.info(section)
        return dict(found)


@contextmanager
def redis_server(folder: Path, cpu: int | None) -> Iterator[Server]:
    """A server without persistence on a free port of loopback, on that CPU."""
    with socket.create_server((HOST, 0)) as listener:
        port = listener.getsockname()[1]
    options = {"bind": HOST, "port": port, "dir": folder, "save": "", "appendonly": "no"}
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    process = subprocess.Popen([executable(), *words], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        if cpu is not None:
            os.sched_setaffinity(process.pid, {cpu})
        server = Server(port, process.pid)
        _wait_for(server, process)
        yield server
    finally:
        process.terminate()
        process.wait()


def _wait_for(server: Server, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _SECONDS_TO_START
    while process.poll() is None and time.monotonic() < deadline:
        try:
            if server.client.ping():
                return
        except RedisAway:
            time.sleep(0.02)
    raise SystemExit("the bench's redis-server does not start")
