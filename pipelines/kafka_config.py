"""From typed settings to librdkafka's own dictionary."""

from __future__ import annotations

from typing import Any

_SETTINGS = {
    "KAFKA_BOOTSTRAP_SERVERS": "bootstrap.servers",
    "KAFKA_SECURITY_PROTOCOL": "security.protocol",
    "KAFKA_SASL_MECHANISM": "sasl.mechanism",
    "KAFKA_SASL_USERNAME": "sasl.username",
    "KAFKA_SASL_PASSWORD": "sasl.password",
    "KAFKA_SSL_CA_LOCATION": "ssl.ca.location",
}


def client_config(settings: Any) -> dict[str, Any]:
    """What every Kafka client needs to connect: producer, consumer and admin alike."""
    config = {key: settings[name] for name, key in _SETTINGS.items() if settings.get(name)}
    return {**config, "client.id": "seine"}
