"""Workers as an operator starts them: `scrapy crawl product_spider`, several at once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from bench.frontier.server import Server
from bench.frontier.worker import ROOT, WorkerFailed

_SECONDS = 60.0
_ENDPOINTS = ("KAFKA_BOOTSTRAP_SERVERS", "SCHEMA_REGISTRY_URL", "CLAIM_CHECK_URL", "REDIS_SENTINELS", "WORKER_ID")


class ScrapyFleet:
    """Workers on the sites of a folder, with the bench's Redis and nothing else configured."""

    def __init__(self, server: Server, sites: Path, **settings: object):
        self._server = server
        self._env = {
            **os.environ,
            "ALLOWED_PRIVATE_NETWORKS": "127.0.0.0/8",
            **dict.fromkeys(_ENDPOINTS, ""),
            "PYTHONPATH": str(ROOT),
            "REDIS_URL": server.url,
            "SITES_DIR": str(sites),
            "LOG_LEVEL": "WARNING",
        }
        self._options = [part for name, value in settings.items() for part in ("-s", f"{name}={_text(value)}")]
        self._log = sites / "workers.log"
        self._processes: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> ScrapyFleet:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.kill()

    def start(self, number: int) -> None:
        """Return when that many more are there."""
        command = [sys.executable, "-m", "scrapy", "crawl", "product_spider", *self._options]
        before = self._registered()
        with self._log.open("ab") as log:
            for _ in range(number):
                nothing = subprocess.DEVNULL
                process = subprocess.Popen(command, cwd=ROOT, env=self._env, stdin=nothing, stdout=log, stderr=log)
                with suppress(PermissionError):
                    os.setpriority(os.PRIO_PROCESS, process.pid, 0)
                self._processes.append(process)
        deadline = time.monotonic() + _SECONDS
        while self._registered() < before + number:
            if time.monotonic() > deadline or any(process.poll() for process in self._processes):
                raise WorkerFailed(f"workers did not start\n{self._log.read_text()[-3000:]}")
            time.sleep(0.05)

    def stop(self) -> None:
        """As an operator does: they drain."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """As a power cut does."""
        self._end(signal.SIGKILL)

    def _end(self, how: signal.Signals) -> None:
        for process in self._processes:
            process.send_signal(how)
        for process in self._processes:
            process.wait(_SECONDS)
        self._processes.clear()

    def _registered(self) -> int:
        return sum(self._server.client.zcard(key) for key in self._server.client.scan_iter("*:workers"))


def _text(value: object) -> str:
    return json.dumps(value) if isinstance(value, dict) else str(value)
