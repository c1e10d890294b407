"""The Java programs of tests/java: compiled by ecj and run on the embedded JRE, with jars that a lock pins."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from deploy.local.artifacts import fetch, locked_artifacts, maven_context
from deploy.local.config import default_cache_dir
from deploy.local.java import class_path, java

_SOURCES = Path(__file__).parent / "java"
_COMPILER = "org.eclipse.jdt.internal.compiler.batch.Main"
_HEAP_MB = 256
_LOGGING = {"org.slf4j.simpleLogger.logFile": "System.err", "org.slf4j.simpleLogger.defaultLogLevel": "warn"}


class JavaPrograms:
    """`run` one by the name of its class. `folder` is where their classes go."""

    def __init__(self, folder: Path):
        self._folder = folder

    def run(self, main: str, *arguments: str) -> list[Any]:
        """What the program printed, a JSON document in each line."""
        out = self._java(main, class_path([self._classes, *self._jars]), arguments)
        return [json.loads(line) for line in out.splitlines()]

    @cached_property
    def _jars(self) -> list[Path]:
        context = maven_context(default_cache_dir() / "maven")
        artifacts = locked_artifacts("consumer", context)
        fetch(artifacts, context)
        return [artifact.path for artifact in artifacts]

    @cached_property
    def _classes(self) -> Path:
        sources = map(str, sorted(_SOURCES.glob("*.java")))
        options = ["-21", "-proc:none", "-encoding", "UTF-8", "-cp", class_path(self._jars), "-d", str(self._folder)]
        self._java(_COMPILER, class_path(self._jars), [*options, *sources])
        return self._folder

    def _java(self, main: str, path: str, arguments: Sequence[str]) -> str:
        command = java(["-cp", path, main, *arguments], _HEAP_MB, _LOGGING)
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, f"{main}: {(done.stdout + done.stderr)[-4000:]}"
        return done.stdout
