"""Browsers of another machine, as far as a worker can tell: a Chromium with DevTools open, a chromedriver."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
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
        self._port = 0
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
        said = Path(self._folder.name) / "DevToolsActivePort"
        said.unlink(missing_ok=True)
        profile = f"--user-data-dir={self._folder.name}"
        chromium = ["chromium", *switches(), f"--remote-debugging-port={self._port}", profile, "about:blank"]
        chromedriver = ["chromedriver", f"--port={self._port}"]
        log = Path(self._folder.name) / "log"
        with log.open("wb") as output:
            command = chromium if self._kind == "chromium" else chromedriver
            self._process = subprocess.Popen(command, stdout=output, stderr=output, start_new_session=True)

        def port() -> str:
            if self._kind == "chromium":
                return said.read_text().partition("\n")[0] if said.exists() else ""
            return log.read_text().partition("successfully on port ")[2].partition(".")[0]

        self._port = int(until(port, f"a {self._kind}"))

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
