"""Looks at everything again and again, and keeps what was seen last for Prometheus."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import structlog
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from prometheus_client import CollectorRegistry, Counter
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from deploy.exporter.certificates import expiry
from deploy.exporter.positions import Ages, positions
from deploy.exporter.replicas import replicas

log = structlog.get_logger("seine.exporter")

Families = list[GaugeMetricFamily]
_TOO_OLD = 5
"""Looks in a row that nothing came of: what was seen before them is told no longer."""


class Exporter(Collector):
    """What is seen of Kafka at `config`, and of the TLS servers at `endpoints` (host:port)."""

    def __init__(
        self,
        config: dict[str, Any],
        endpoints: Sequence[str],
        interval: float,
        clock: Callable[[], float] = time.monotonic,
    ):
        self._admin = AdminClient(config)
        self._ages = Ages(config)
        self._endpoints = endpoints
        self._interval = interval
        self._seen: dict[str, tuple[float, Families]] = {}
        self._clock = clock
        self._looked_at = clock()
        self.registry = CollectorRegistry()
        self._errors = Counter(
            "seine_exporter_errors", "Looks that failed, by what was looked at.", ("what",), registry=self.registry
        )
        for what in self._looks:
            self._errors.labels(what)
        self.registry.register(self)

    @property
    def healthy(self) -> bool:
        """Whether it still looks, whatever it sees."""
        return self._clock() - self._looked_at < 60 + _TOO_OLD * self._interval

    @property
    def _looks(self) -> dict[str, Callable[[], Families]]:
        return {"replicas": self._replicas, "groups": self._groups, "certificates": self._certificates}

    def run(self, stop: threading.Event) -> None:
        """Until `stop` is set."""
        while not stop.is_set():
            self.look()
            stop.wait(self._interval)
        self._ages.close()

    def look(self) -> None:
        """Once at everything. What fails is counted, and what was seen before it stays for a while."""
        for what, see in self._looks.items():
            try:
                self._seen[what] = (self._clock(), see())
            except KafkaException as error:
                self._errors.labels(what).inc()
                log.warning("look failed", what=what, error=error.args[0].str())
        self._looked_at = self._clock()

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """What was seen last."""
        oldest = self._clock() - _TOO_OLD * self._interval
        for when, families in list(self._seen.values()):
            if when >= oldest:
                yield from families

    def _replicas(self) -> Families:
        found = replicas(self._admin)
        return [
            GaugeMetricFamily("seine_kafka_brokers", "Brokers that are there.", found.brokers),
            GaugeMetricFamily(
                "seine_kafka_under_replicated_partitions",
                "Partitions that lack a replica in sync.",
                found.under_replicated,
            ),
            GaugeMetricFamily("seine_kafka_offline_partitions", "Partitions without a leader.", found.offline),
        ]

    def _groups(self) -> Families:
        labels = ("group", "topic")
        records = GaugeMetricFamily("seine_consumer_lag_records", "Records that it has not read.", labels=labels)
        seconds = GaugeMetricFamily("seine_consumer_lag_seconds", "Age of the oldest of them.", labels=labels)
        for where, lag in self._ages.lags(positions(self._admin)).items():
            records.add_metric(where, lag.records)
            seconds.add_metric(where, lag.seconds)
        return [records, seconds]

    def _certificates(self) -> Families:
        name, meaning = "seine_certificate_expiry_timestamp_seconds", "When the certificate that is shown there ends."
        found = GaugeMetricFamily(name, meaning, labels=("endpoint",))
        for endpoint in self._endpoints:
            try:
                found.add_metric((endpoint,), expiry(endpoint))
            except OSError as error:
                self._errors.labels("certificates").inc()
                log.warning("look failed", what="certificates", endpoint=endpoint, error=str(error))
        return [found]
