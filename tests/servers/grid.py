"""A real Selenium Grid: hub and node in one process, with Debian's chromedriver and Chromium, on the embedded JRE."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import psutil
import requests

from deploy.local.artifacts import fetch, locked_artifacts, maven_context
from deploy.local.config import default_cache_dir
from deploy.local.java import class_path, java
from tests.polling import until
from tests.servers.ports import HOST, free_port
from tests.support import ROOT

SLOTS = 2
"""Sessions at once."""
_MAIN = "org.openqa.selenium.grid.Main"
_HEAP_MB = 256
_LAST_WORDS = 2000


class Grid:
    """Runs while it is entered; its log and its browsers' files are in `folder`."""

    def __init__(self, folder: Path):
        self._folder = folder
        self._port = free_port()
        self.url = f"http://{HOST}:{self._port}"

    def __enter__(self) -> Self:
        with (self._folder / "log").open("wb") as log:
            self._process = psutil.Popen(
                [sys.executable, "-m", "tests.servers.reaper", *self._command()],
                cwd=self._folder,
                env={**os.environ, "TMPDIR": str(self._folder), "PYTHONPATH": str(ROOT)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        until(self._is_ready, self._last_words)
        return self

    def __exit__(self, *_: Any) -> None:
        running = [self._process, *self._process.children(recursive=True)]
        for process in running:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(running, timeout=10)

    def sessions(self) -> list[str]:
        """Their ids: those that are open, and those that are about to be."""
        nodes = self._ask("/status")["nodes"]
        return [slot["session"]["sessionId"] for node in nodes for slot in node["slots"] if slot["session"]]

    def waiting(self) -> int:
        """Sessions that were asked for and have no slot yet."""
        return len(self._ask("/se/grid/newsessionqueue/queue"))

    def browsers(self) -> list[psutil.Process]:
        """The main processes of its Chromiums."""
        return [process for process in self._process.children(recursive=True) if _is_main(process)]

    def _ask(self, path: str) -> Any:
        return requests.get(self.url + path, timeout=10).json()["value"]

    def _is_ready(self) -> bool:
        assert self._process.is_running(), self._last_words()
        with suppress(requests.ConnectionError):
            return bool(self._ask("/status")["ready"])
        return False

    def _last_words(self) -> str:
        return (self._folder / "log").read_text()[-_LAST_WORDS:]

    def _command(self) -> list[str]:
        context = maven_context(default_cache_dir() / "maven")
        artifacts = locked_artifacts("grid", context)
        fetch(artifacts, context)
        options = {
            "host": HOST,
            "port": self._port,
            "detect-drivers": "false",  # it would look for some, and download them
            "max-sessions": SLOTS,
        }
        words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
        driver = {
            "display-name": "chromium",
            "max-sessions": SLOTS,
            "stereotype": '{"browserName":"chrome"}',
            "webdriver-executable": shutil.which("chromedriver"),
        }
        words += ["--driver-configuration", *(f"{name}={value}" for name, value in driver.items())]
        jars = class_path([artifact.path for artifact in artifacts])
        return java(["-cp", jars, _MAIN, "standalone", *words], _HEAP_MB)


def _is_main(process: psutil.Process) -> bool:
    with suppress(psutil.Error):
        command = " ".join(process.cmdline())
        return "--remote-debugging-port" in command and "--type=" not in command
    return False
