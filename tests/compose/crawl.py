"""The crawl of the demo shop that the test hurts, and what must have come of it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from tests.compose.project import DEPLOY, Failed, Project, until

DELAY = 0.8
"""Seconds between two pages of a domain: long enough that there is something left to be hurt."""
_TRUTH = "import urllib.request as u; print(u.urlopen('http://127.0.0.1:18100/_shop/truth').read().decode())"
_COMPARED = ("name", "sku", "currency")


def write_site(folder: Path) -> None:
    """The compose files' own demo site, slower."""
    text = (DEPLOY / "compose" / "sites" / "demo.toml").read_text()
    (folder / "demo.toml").write_text(text.replace("delay = 0.0", f"delay = {DELAY}"))


class Crawl:
    """One that a schedule would start: beside the workers, which join it."""

    def __init__(self, project: Project):
        self._project = project
        self.log = project.folder / "crawl.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Return when pages are delivered by several workers."""
        command = ("exec", "-T", "scheduler", "scrapy", "crawl", "product_spider", "-a", "sites=demo")
        self._process = self._project.start(self.log, *command)
        until(self._is_shared, "workers do not share the crawl")

    def _is_shared(self) -> bool:
        if self._has_ended():
            raise Failed(f"the crawl has ended too early: {self.log.read_text()[-2000:]}")
        return self.delivered >= 10 and len(self.busy()) > 1

    @property
    def delivered(self) -> int:
        """Requests so far."""
        return int(self._project.status()["right"]["delivered"])

    def goes_on(self, pages: int = 15) -> int:
        """Return when so many more pages are delivered: how many there are then."""
        before = self.delivered
        until(lambda: self.delivered >= before + pages or self._has_ended(), f"no page came after {before}")
        return self.delivered

    def busy(self) -> list[tuple[str, int]]:
        """Container (its short id) and pid of every worker with leases, those of most first."""
        workers = [one for one in self._project.status()["workers"] if one.get("leases")]
        workers.sort(key=lambda one: -one["leases"])
        return [(one["name"].partition(":")[0], one["pid"]) for one in workers]

    def end(self) -> dict[str, Any]:
        """The status once it is complete."""
        until(self._has_ended, "the crawl does not end", 1500)
        assert self._process is not None
        if code := self._process.returncode:
            raise Failed(f"scrapy crawl: exit code {code}\n{self.log.read_text()[-2000:]}")
        told = self._project.execute("status", "scrapy", "frontier", "status", "--json")
        found: dict[str, Any] = json.loads(told)
        return found

    def _has_ended(self) -> bool:
        assert self._process is not None
        return self._process.poll() is not None


def missing_products(project: Project) -> str:
    """What differs between the shop's truth and the topic; empty where nothing does."""
    truth = {f"demo/{one['sku']}": one for one in json.loads(project.execute("shop", "python3", "-c", _TRUTH))}
    lines = project.execute("status", "scrapy", "records", "tail", "-n", "100000", "--format", "json").splitlines()
    found = {record["key"]: record["value"] for record in map(json.loads, lines)}
    # What a page shows to people alone is no structured data, and is not read.
    lost = {key for key, one in truth.items() if one["reachable"] and one["markup"] != "visible"} - found.keys()
    wrong = [
        key
        for key, value in found.items()
        if key not in truth or any(truth[key][field] != value[field] for field in _COMPARED)
    ]
    return f"{len(lost)} products are missing, {len(wrong)} are wrong: {[*lost, *wrong][:5]}" if lost or wrong else ""
