"""What is proved, step by step. A step returns what is worth telling of it; it raises Failed."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tests.compose.crawl import Crawl, missing_products, write_site
from tests.compose.project import DEPLOY, Failed, Project, run, until

WORKERS = 5
OUTAGE = 10.0
"""Seconds that Redis is gone."""


class Steps:
    """In the order of `all`."""

    def __init__(self, project: Project, makers: list[str]):
        self._project = project
        self._makers = makers
        self._is_secure = "make-certificates" in makers
        self._crawl = Crawl(project)

    def all(self) -> list[tuple[str, Any]]:
        """(what is proved, how)."""
        return [
            ("secrets are made once, and kept", self.secrets),
            ("every service becomes healthy", self.start),
            ("containers have no root, no rights, and nothing to write to", self.hardening),
            *([("a worker finds every other door shut", self.doors)] if self._is_secure else []),
            (f"the fleet scales to {WORKERS} workers", self.scale),
            ("a crawl is shared by the workers", self._crawl.start),
            ("a killed worker's requests go to others", self.kill_worker),
            ("a killed broker is missed by nobody", self.kill_broker),
            ("a killed datanode: pages are stored by the other one", self.kill_datanode),
            (f"Redis is killed, and back after {OUTAGE:g} s", self.kill_redis),
            ("a stopped worker drains and exits 0", self.drain),
            ("the crawl completes, and everything adds up", self.complete),
            ("all products are on the topic, as the shop has them", self.products),
            ("stored pages are as they were stored", self.claims),
            ("Prometheus finds every worker, broker and service", self.monitoring),
        ]

    def secrets(self) -> str:
        write_site(Path(self._project.env["SITES"]))
        folder = Path(self._project.env["SECRETS"])
        made = []
        for _ in range(2):
            for maker in self._makers:
                run(str(DEPLOY / "compose" / maker), str(folder))
            made.append({path.name: path.read_bytes() for path in folder.iterdir()})
        if made[0] != made[1]:
            raise Failed("the second time changed them")
        if folder.stat().st_mode & 0o077:
            raise Failed("others may look into the folder")
        return f"{len(made[0])} files"

    def start(self) -> str:
        self._project.up("--build")
        return f"{len(self._project.containers())} containers"

    def hardening(self) -> None:
        for one in self._project.containers():
            name, host = one["Name"], one["HostConfig"]
            if one["Config"]["User"].split(":")[0] in ("", "0", "root"):
                raise Failed(f"{name} runs as root")
            if not host["ReadonlyRootfs"] or host["CapDrop"] != ["ALL"] or host["CapAdd"] or host["Privileged"]:
                raise Failed(f"{name} may do too much: {host['CapDrop']} {host['CapAdd']}")
            if "no-new-privileges:true" not in host["SecurityOpt"] or not host["Memory"]:
                raise Failed(f"{name} has no limit of privileges or of memory")
        script = "touch /app/x 2>&1; grep -E 'CapEff|NoNewPrivs' /proc/self/status"
        told = self._project.execute("worker", "sh", "-c", script)
        if "Read-only" not in told or "CapEff:\t0000000000000000" not in told or "NoNewPrivs:\t1" not in told:
            raise Failed(f"a worker may do too much:\n{told}")

    def doors(self) -> None:
        script = (Path(__file__).parent / "doors.py").read_text()
        self._project.execute("worker", "python3", "-c", script)

    def scale(self) -> str:
        self._project.up("--scale", f"worker={WORKERS}", "worker")
        names = [one["Name"] for one in self._project.containers("worker")]
        if len(names) != WORKERS:
            raise Failed(f"workers: {names}")
        return ", ".join(names)

    def kill_worker(self) -> str:
        worker, pid = self._busy_worker()
        run("docker", "exec", worker, "sh", "-c", f"kill -9 {pid}")
        self._comes_back(worker)
        return f"{self._crawl.goes_on()} pages delivered afterwards"

    def _busy_worker(self) -> tuple[str, int]:
        """A container of `worker` that has leases, and the pid in it."""
        workers = {one["Config"]["Hostname"]: one["Id"] for one in self._project.containers("worker")}
        found: list[tuple[str, int]] = until(
            lambda: [(workers[host], pid) for host, pid in self._crawl.busy() if host in workers], "no worker is busy"
        )
        return found[0]

    def kill_broker(self) -> str:
        broker = self._project.containers("kafka-2")[0]["Id"]
        with _killed_inside(broker):
            told = f"{self._crawl.goes_on()} pages delivered afterwards"
        self._comes_back(broker)
        return told

    def kill_datanode(self) -> str:
        run("docker", "kill", self._project.containers("datanode-1")[0]["Id"])
        return f"{self._crawl.goes_on(25)} pages delivered afterwards"

    def kill_redis(self) -> str:
        redis = self._project.containers("redis")[0]["Id"]
        run("docker", "kill", redis)
        time.sleep(OUTAGE)
        run("docker", "start", redis)
        until(lambda: self._health(redis) == "healthy", "Redis does not come back")
        return f"{self._crawl.goes_on()} pages delivered afterwards"

    def complete(self) -> str:
        status = self._crawl.end()
        if status["state"] != "complete" or not status["balanced"]:
            raise Failed(json.dumps(status))
        right = {term: number for term, number in status["right"].items() if number}
        return f"{status['known']} = {right} in {status['seconds']:.0f} s; beside: {status['beside']}"

    def products(self) -> None:
        if problem := missing_products(self._project):
            raise Failed(problem)

    def claims(self) -> str:
        """With one of two datanodes gone still."""
        told = self._project.execute("scheduler", "scrapy", "claims", "verify")
        return told.strip().splitlines()[-1]

    def drain(self) -> str:
        (worker, _), began = self._busy_worker(), time.monotonic()
        run("docker", "stop", "-t", "150", worker)
        took = time.monotonic() - began
        if code := json.loads(run("docker", "inspect", worker))[0]["State"]["ExitCode"]:
            raise Failed(f"exit code {code}")
        return f"{took:.1f} s; {self._crawl.goes_on()} pages delivered afterwards"

    def monitoring(self) -> str:
        self._project.up(
            "--scale", f"worker={WORKERS}", "worker", "datanode-1", "exporter", "prometheus", "alertmanager"
        )
        wanted = {"worker": WORKERS, "kafka": 3, "status": 1, "scheduler": 1, "exporter": 1, "prometheus": 2}
        until(lambda: self._targets() == wanted, f"not all of {wanted} are up: {self._targets()}", 300)
        self._ask("seine_kafka_under_replicated_partitions", 0)
        self._ask("sum(kafka_server_replicamanager_underreplicatedpartitions)", 0)
        self._ask("sum(seine_frontier_leak)", 0)
        return str(wanted)

    def _targets(self) -> dict[str, int]:
        """How many are up, by job."""
        found = self._query("sum by (job) (up)")
        return {one["metric"]["job"]: int(one["value"][1]) for one in found if one["value"][1] != "0"}

    def _ask(self, query: str, expected: float) -> None:
        until(
            lambda: [float(one["value"][1]) for one in self._query(query)][:1] == [expected],
            f"{query} is not {expected}: {self._query(query)}",
            300,
        )

    def _query(self, query: str) -> list[dict[str, Any]]:
        url = f"{self._project.address('prometheus', 9090)}/api/v1/query?query={quote(query)}"
        with urllib.request.urlopen(url, timeout=30) as answer:
            found: list[dict[str, Any]] = json.load(answer)["data"]["result"]
        return found

    def _comes_back(self, container: str) -> None:
        def restarted() -> bool:
            one = json.loads(run("docker", "inspect", container))[0]
            return bool(one["RestartCount"]) and one["State"]["Health"]["Status"] == "healthy"

        until(restarted, "it is not started again")

    def _health(self, container: str) -> str:
        return str(json.loads(run("docker", "inspect", container))[0]["State"]["Health"]["Status"])


@contextmanager
def _killed_inside(container: str) -> Iterator[None]:
    """What runs in it is killed, so that Docker finds it gone and starts it again."""
    before = json.loads(run("docker", "inspect", container))[0]["RestartCount"]
    with suppress(Failed):  # the shell is killed, too
        run("docker", "exec", container, "sh", "-c", "kill -9 -1", timeout=60)
    until(
        lambda: json.loads(run("docker", "inspect", container))[0]["RestartCount"] > before,
        "it was not killed, or not started again",
    )
    yield
