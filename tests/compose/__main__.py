"""python -m tests.compose [--secure] [--keep]: PASS or FAIL per step; exit code 0 where all passed."""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.compose.project import DEPLOY, NAME, Failed, Project, run
from tests.compose.steps import Steps

_OF_THE_TEST = {
    # Every page goes to HDFS, and not only the large ones; a worker that was killed is missed soon.
    "CLAIM_CHECK_THRESHOLD": "1024",
    "FRONTIER_LEASE_SECONDS": "10",
    # One worker has time for all of the shop's domains, were it not kept from it.
    "CONCURRENT_REQUESTS": "1",
    "FRONTIER_PREFETCH": "1",
}


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.compose", description="Run the compose files for real.")
    parser.add_argument("--secure", action="store_true", help="with docker-compose.secure.yml")
    parser.add_argument("--keep", action="store_true", help="leave everything running, to be looked at")
    options = parser.parse_args(argv)
    if not _has_engine():
        print("test-compose: no Docker engine answers (docker info), or it has no compose", file=sys.stderr)
        return 1
    folder = Path(tempfile.mkdtemp(prefix="seine-compose-"))
    try:
        return _prove(folder, options)
    finally:
        if options.keep:
            print(f"left running, with what is in {folder}: docker compose -p {NAME} down -v")
        else:
            shutil.rmtree(folder)


def _has_engine() -> bool:
    try:
        for question in (("docker", "info"), ("docker", "compose", "version")):
            run(*question, timeout=30)
    except (Failed, OSError):
        return False
    return True


def _prove(folder: Path, options: argparse.Namespace) -> int:
    own = folder / "test.json"  # JSON is YAML
    services = ("worker", "scheduler", "status")
    own.write_text(json.dumps({"services": {name: {"environment": _OF_THE_TEST} for name in services}}))
    secure = [str(DEPLOY / "docker-compose.secure.yml")] if options.secure else []
    project = Project(folder, [str(DEPLOY / "docker-compose.yml"), *secure, str(own)], ["demo"])
    makers = ["make-secrets", "make-certificates"] if options.secure else ["make-secrets"]
    began = time.monotonic()
    try:
        project("down", "-v", "--remove-orphans", "-t", "5")
        failed = any(not _passes(what, how) for what, how in Steps(project, makers).all())
        print(f"{'FAILED' if failed else 'passed'}, {time.monotonic() - began:.0f} s; {_memory()}", flush=True)
        if failed:
            print(project("ps", "-a", "--format", "table {{.Name}} {{.Status}}"))
        return int(failed)
    finally:
        if not options.keep:
            project("down", "-v", "--remove-orphans", "-t", "5")


def _passes(what: str, how: Any) -> bool:
    began = time.monotonic()
    try:
        told = how()
    except Failed as error:
        print(f"FAIL {time.monotonic() - began:4.0f} s  {what}\n{error}", flush=True)
        return False
    print(f"PASS {time.monotonic() - began:4.0f} s  {what}{f': {told}' if told else ''}", flush=True)
    return True


def _memory() -> str:
    try:
        lines = run("docker", "stats", "--no-stream", "--format", "{{.Name}} {{.MemUsage}}").splitlines()
    except (Failed, subprocess.SubprocessError) as error:
        return str(error)
    return ", ".join(line.split(" / ")[0].removeprefix("seine-test-") for line in sorted(lines))


if __name__ == "__main__":
    sys.exit(main())
