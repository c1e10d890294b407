"""The shop as a process of its own: started detached, found again by its pid file, stopped by its pid."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.request import urlopen

from deploy.demo_shop.server import HOST, DemoShop

START_SECONDS = 15.0
STOP_SECONDS = 10.0
ROOT = Path(__file__).resolve().parents[2]


class ShopError(Exception):
    """The shop cannot be started or stopped; the message says why, in one line."""


@dataclass(frozen=True, slots=True)
class ShopProcess:
    folder: Path
    """Holds demo_shop.pid and demo_shop.log."""
    port: int

    @property
    def log_file(self) -> Path:
        return self.folder / "demo_shop.log"

    @property
    def pid_file(self) -> Path:
        return self.folder / "demo_shop.pid"

    def pid(self) -> int | None:
        """None where no shop of ours runs: also where the pid file is stale, or its number is another program's now."""
        try:
            pid = int(self.pid_file.read_text())
            command = Path(f"/proc/{pid}/cmdline")
            # Where there is no /proc, signal 0 has to do.
            if Path("/proc/self").exists():
                return pid if b"deploy.demo_shop" in command.read_bytes() else None
            os.kill(pid, 0)
            return pid
        except (OSError, ValueError):
            return None

    def urls(self, pid: int) -> list[str]:
        """Empty where the port does not answer, or another process than `pid` does."""
        try:
            with urlopen(f"http://{HOST}:{self.port}/_shop/health", timeout=2) as response:
                health = json.load(response)
            return health["urls"] if health["pid"] == pid else []
        except (OSError, ValueError, KeyError, TypeError):
            return []

    def up(self) -> list[str]:
        """The shop's addresses, once it answers. Does nothing where it runs already."""
        pid = self.pid()
        if pid and (urls := self.urls(pid)):
            return urls
        if pid:
            raise ShopError(f"a demo shop (pid {pid}) runs already, but not on port {self.port}: stop it with down")
        self.folder.mkdir(parents=True, exist_ok=True)
        with self.log_file.open("wb") as log:
            child = subprocess.Popen(
                [sys.executable, "-m", "deploy.demo_shop", "run", "--port", str(self.port)],
                cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        deadline = time.monotonic() + START_SECONDS
        while child.poll() is None and time.monotonic() < deadline:
            if urls := self.urls(child.pid):
                self.pid_file.write_text(f"{child.pid}\n")
                return urls
            time.sleep(0.05)
        if child.poll() is None:
            child.kill()
        lines = self.log_file.read_text("utf-8", "replace").strip().splitlines()
        raise ShopError(lines[-1] if lines else f"the demo shop did not start within {START_SECONDS:g} s")

    def down(self) -> bool:
        """Whether there was a shop to stop."""
        pid = self.pid()
        if pid is None:
            self.pid_file.unlink(missing_ok=True)
            return False
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + STOP_SECONDS
        while self.pid() is not None:
            with suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
            if time.monotonic() > deadline:
                raise ShopError(f"the demo shop (pid {pid}) does not stop")
            time.sleep(0.05)
        self.pid_file.unlink(missing_ok=True)
        return True


async def serve(port: int, host: str = HOST, name: str = "") -> None:
    """At that address, under that name (its address's own by default), until SIGTERM or SIGINT."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    async with DemoShop(port, host, name) as shop:
        for url in shop.urls:
            print(url, flush=True)
        await stopped.wait()
