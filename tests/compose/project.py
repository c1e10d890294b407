"""A compose project of the test's own: its containers, and what they say."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
NAME = "seine-test"

_PATIENCE = 600.0
"""Seconds: a fleet of Java programs starts slowly on few cores."""
_PAUSE = 2.0


class Failed(Exception):
    """A step did not come out as it should."""


def run(*command: str, timeout: float = _PATIENCE, env: dict[str, str] | None = None) -> str:
    """Standard output of a command that ends with 0. Raises Failed with its last lines."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, env=env)
    except subprocess.TimeoutExpired:
        raise Failed(f"{' '.join(command)} still runs after {timeout:g} s") from None
    if done.returncode:
        last = "\n".join((done.stdout + done.stderr).strip().splitlines()[-15:])
        raise Failed(f"{' '.join(command)}: exit code {done.returncode}\n{last}")
    return done.stdout


def until(true: Callable[[], Any], what: str, seconds: float = _PATIENCE) -> Any:
    """What `true` returns once it is something; Failed where it says nothing for so long."""
    deadline, last = time.monotonic() + seconds, ""
    while time.monotonic() < deadline:
        try:
            if found := true():
                return found
        except Failed as error:
            last = f": {error}"
        time.sleep(_PAUSE)
    raise Failed(f"{what} within {seconds:g} s{last}")


class Project:
    """Services of `files` (of deploy/, besides those of the test), with secrets and sites in `folder`."""

    def __init__(self, folder: Path, files: Sequence[str], profiles: Sequence[str]):
        self.folder = folder
        secrets, sites = folder / "secrets", folder / "sites"
        self.env = {
            **os.environ,
            "SECRETS": str(secrets),
            "SITES": str(sites),
            "BROWSER_SITES": str(DEPLOY / "compose" / "browser-sites"),
            "SEINE_VERSION": "test",
            "COMPOSE_PROGRESS": "quiet",
        }
        sites.mkdir()
        options = ["-p", NAME, *(part for file in files for part in ("-f", file))]
        self._compose = ["docker", "compose", *options, *(part for one in profiles for part in ("--profile", one))]

    def __call__(self, *arguments: str, timeout: float = _PATIENCE) -> str:
        """`docker compose ARGUMENTS`."""
        return run(*self._compose, *arguments, timeout=timeout, env=self.env)

    def up(self, *arguments: str) -> None:
        """Return when what is started is healthy."""
        self("up", "-d", "--wait", "--wait-timeout", str(round(_PATIENCE)), *arguments, timeout=2 * _PATIENCE)

    def start(self, log: Path, *arguments: str) -> subprocess.Popen[bytes]:
        """`docker compose ARGUMENTS`, in the background."""
        with log.open("wb") as out:
            return subprocess.Popen(
                [*self._compose, *arguments], stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=self.env
            )

    def execute(self, service: str, *command: str) -> str:
        """What the command says in a container of the service."""
        return self("exec", "-T", service, *command)

    def containers(self, service: str = "") -> list[dict[str, Any]]:
        """As `docker inspect` shows them, those that ended too."""
        ids = self("ps", "-aq", *([service] if service else [])).split()
        found: list[dict[str, Any]] = json.loads(run("docker", "inspect", *ids)) if ids else []
        return found

    def address(self, service: str, port: int) -> str:
        """http://host:port where a published port is reached from here."""
        return f"http://{self('port', service, str(port)).strip()}"

    def status(self) -> dict[str, Any]:
        """The latest crawl, as the status page's JSON tells it, to whom the token is told."""
        token = (self.folder / "secrets" / "status_token").read_text().strip()
        asked = Request(f"{self.address('status', 9410)}/status.json", headers={"Authorization": f"Bearer {token}"})
        try:
            with urlopen(asked, timeout=60) as answer:
                found: list[dict[str, Any]] = json.load(answer)["fleet"]["crawls"]
        except OSError as error:
            raise Failed(f"the status page does not answer: {error}") from None
        if not found:
            raise Failed("there is no crawl yet")
        return found[0]
