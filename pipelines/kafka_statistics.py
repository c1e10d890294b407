"""librdkafka's own statistics as metrics (its STATISTICS.md has the fields)."""

from __future__ import annotations

from collections import Counter
from typing import Any

import orjson

from crawlers import metrics

EVERY = 5000
"""Milliseconds between two of a client's. They queue up in a client that nobody polls."""
_QUANTILES = {"0.5": "p50", "0.99": "p99"}
_ERRORS = {"txerrs": "failed", "txretries": "repeated", "req_timeouts": "timed out"}


class KafkaStatistics:
    """Of one client."""

    def __init__(self) -> None:
        self._counted: Counter[str] = Counter()

    def heard(self, text: str) -> None:
        """The client's `stats_cb`."""
        told = orjson.loads(text)
        self._count(told)
        brokers = [broker for broker in told["brokers"].values() if broker["nodeid"] >= 0]  # not those to begin with
        metrics.KAFKA_QUEUE.set(told["msg_cnt"])
        metrics.KAFKA_QUEUE_BYTES.set(told["msg_size"])
        metrics.KAFKA_BROKERS.set(sum(broker["state"] == "UP" for broker in brokers))
        if asked := [broker["rtt"] for broker in brokers if broker["rtt"]["cnt"]]:
            for quantile, field in _QUANTILES.items():
                metrics.KAFKA_ROUND_TRIP.labels(quantile).set(max(one[field] for one in asked) / 1e6)

    def _count(self, told: dict[str, Any]) -> None:
        now = Counter({"bytes": told["txmsg_bytes"], "records": told["txmsgs"]})
        for field, kind in _ERRORS.items():
            now[kind] = sum(broker[field] for broker in told["brokers"].values())
        more = now - self._counted
        self._counted = now
        metrics.KAFKA_SENT.inc(more.pop("bytes", 0))
        metrics.KAFKA_RECORDS.inc(more.pop("records", 0))
        for kind, count in more.items():
            metrics.KAFKA_ERRORS.labels(kind).inc(count)
