"""Browsers of another machine, as far as a worker can tell: a Chromium with DevTools open, a chromedriver."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import psutil
import requests

from browser_pool.chromium import switches
from tests.polling import until


class RemoteBrowser:
    """Runs while it is entered; `start` and `kill` in between are another one at the same address."""

    def __init__(self, kind: str):
        self._kind = kind
        with socket.create_server(("127.0.0.1", 0)) as free:
            self._port = free.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self._folder = tempfile.TemporaryDirectory(prefix="r", dir="/tmp", ignore_cleanup_errors=True)
        self.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self.kill()
        self._folder.cleanup()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        commands = {
            "chromium": [*switches(), f"--remote-debugging-port={self._port}", f"--user-data-dir={self._folder.name}"],
            "chromedriver": [f"--port={self._port}"],
        }
        command = [self._kind, *commands[self._kind]]
        with (Path(self._folder.name) / "log").open("wb") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        until(self._answers, f"a {self._kind}")

    def _answers(self) -> bool:
        with suppress(requests.RequestException):
            return requests.get(self.url + {"chromium": "/json/version", "chromedriver": "/status"}[self._kind]).ok
        return False

    def kill(self) -> None:
        """With all that it has started."""
        assert self._process is not None
        below = psutil.Process(self._process.pid).children(recursive=True)
        for pid in [process.pid for process in below]:
            if psutil.pid_exists(pid):
                os.kill(pid, signal.SIGKILL)
        self._process.kill()
        self._process.wait()
        psutil.wait_procs(below, timeout=10)

    def open(self) -> list[str]:
        """What is open there: pages, or sessions."""
        if self._kind == "chromium":
            pages = requests.get(f"{self.url}/json/list", timeout=5).json()
            return [page["url"] for page in pages if page["type"] == "page"]
        assert self._process is not None
        below = psutil.Process(self._process.pid).children(recursive=True)
        return [process.name() for process in below if process.status() != psutil.STATUS_ZOMBIE]
