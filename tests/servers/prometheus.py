"""A real Prometheus, as Debian packages it, with the rules of this checkout."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import requests
import yaml

from tests.polling import until
from tests.servers.ports import HOST, free_port


class Prometheus:
    """Scrapes `targets`, ports by job, each second, and evaluates `rules` as often."""

    def __init__(self, folder: Path, targets: Mapping[str, int], rules: Sequence[Path]):
        self._folder = folder
        self._targets = targets
        self._rules = rules
        self._port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        jobs = [
            {"job_name": job, "static_configs": [{"targets": [f"{HOST}:{port}"]}]}
            for job, port in self._targets.items()
        ]
        every = {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}
        config = {"global": every, "rule_files": [str(path) for path in self._rules], "scrape_configs": jobs}
        (self._folder / "prometheus.yml").write_text(yaml.safe_dump(config))
        command = [
            "prometheus",
            f"--config.file={self._folder}/prometheus.yml",
            f"--storage.tsdb.path={self._folder}/tsdb",
        ]
        with (self._folder / "prometheus.log").open("wb") as log:
            listen = f"--web.listen-address={HOST}:{self._port}"
            self._process = subprocess.Popen([*command, listen], stdout=log, stderr=log)
        until(self._is_ready, lambda: (self._folder / "prometheus.log").read_text()[-2000:])
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The samples of an instant query. AssertionError with Prometheus's words where it cannot be answered."""
        answer = self._ask("query", query=expression)
        assert answer["status"] == "success", f"{expression}: {answer.get('error')}"
        found: list[dict[str, Any]] = answer["data"]["result"]
        return found

    def rules(self) -> list[dict[str, Any]]:
        """All of them, with their health."""
        return [rule for group in self._ask("rules")["data"]["groups"] for rule in group["rules"]]

    def _ask(self, what: str, **parameters: str) -> Any:
        return requests.get(f"http://{HOST}:{self._port}/api/v1/{what}", params=parameters, timeout=30).json()

    def _is_ready(self) -> bool:
        try:
            return requests.get(f"http://{HOST}:{self._port}/-/ready", timeout=5).ok
        except requests.RequestException:
            return False
