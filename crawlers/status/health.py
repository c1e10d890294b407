"""What keeps a process from its work, as its gauges tell it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from crawlers import metrics

if TYPE_CHECKING:
    from prometheus_client import Gauge

_GAUGES = {
    "kafka": (metrics.KAFKA_AWAY, "takes nothing"),
    "redis": (metrics.FRONTIER_AWAY, "takes nothing"),
    "claim store": (metrics.CLAIMS_AWAY, "takes nothing"),
    "dead letters": (metrics.DEAD_LETTERS_BLOCKED, "cannot be written"),
}


def troubles() -> dict[str, str]:
    """What is in trouble, and how; empty where nothing is."""
    return {what: _told(gauge, how) for what, (gauge, how) in _GAUGES.items() if _raised(gauge)}


def _told(gauge: Gauge, how: str) -> str:
    names = [", ".join(labels) for labels in _raised(gauge) if labels]
    return f"{how}: {'; '.join(names)}" if names else how


def _raised(gauge: Gauge) -> list[tuple[str, ...]]:
    """The labels with which it is not 0."""
    return [tuple(sample.labels.values()) for one in gauge.collect() for sample in one.samples if sample.value]
