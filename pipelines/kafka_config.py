"""From typed settings to the dictionaries of Confluent's clients. Secrets are in them, so nobody logs them."""

from __future__ import annotations

from typing import Any

from crawlers.exceptions import UserError

_KAFKA = {
    "KAFKA_BOOTSTRAP_SERVERS": "bootstrap.servers",
    "KAFKA_SECURITY_PROTOCOL": "security.protocol",
    "KAFKA_SASL_MECHANISM": "sasl.mechanism",
    "KAFKA_SASL_USERNAME": "sasl.username",
    "KAFKA_SASL_PASSWORD": "sasl.password",
    "KAFKA_SSL_CA_LOCATION": "ssl.ca.location",
    "KAFKA_SSL_CERTIFICATE_LOCATION": "ssl.certificate.location",
    "KAFKA_SSL_KEY_LOCATION": "ssl.key.location",
    "KAFKA_SSL_KEY_PASSWORD": "ssl.key.password",
}
_REGISTRY = {
    "SCHEMA_REGISTRY_SSL_CA_LOCATION": "ssl.ca.location",
    "SCHEMA_REGISTRY_SSL_CERTIFICATE_LOCATION": "ssl.certificate.location",
    "SCHEMA_REGISTRY_SSL_KEY_LOCATION": "ssl.key.location",
    "SCHEMA_REGISTRY_SSL_KEY_PASSWORD": "ssl.key.password",
}
_SASL = ("KAFKA_SASL_MECHANISM", "KAFKA_SASL_USERNAME", "KAFKA_SASL_PASSWORD")
_LONGEST_RECONNECT_MS = 2000
"""librdkafka's ten seconds would be added to every outage."""


def client_config(settings: Any) -> dict[str, Any]:
    """What every Kafka client needs to connect: producer, consumer and admin alike. Raises UserError."""
    _check_sasl(settings)
    _check_pair(settings, "KAFKA_SSL")
    return {**_named(settings, _KAFKA), "client.id": "seine", "reconnect.backoff.max.ms": _LONGEST_RECONNECT_MS}


def registry_access(settings: Any) -> dict[str, Any]:
    """What the schema registry's client needs beside the URL: user, certificates. Raises UserError."""
    _check_pair(settings, "SCHEMA_REGISTRY_SSL")
    config = _named(settings, _REGISTRY)
    user, password = (settings.get(f"SCHEMA_REGISTRY_{name}") for name in ("USERNAME", "PASSWORD"))
    if bool(user) != bool(password):
        raise UserError("SCHEMA_REGISTRY_USERNAME and SCHEMA_REGISTRY_PASSWORD: set both, or neither")
    if user:
        config["basic.auth.user.info"] = f"{user}:{password}"
    return config


def _named(settings: Any, names: dict[str, str]) -> dict[str, Any]:
    return {key: settings[name] for name, key in names.items() if settings.get(name)}


def _check_sasl(settings: Any) -> None:
    """Credentials that would not be used are a mistake, as are missing ones."""
    protocol = settings.get("KAFKA_SECURITY_PROTOCOL") or "PLAINTEXT"
    for name in _SASL:
        if protocol.startswith("SASL_") and not settings.get(name):
            raise UserError(f"KAFKA_SECURITY_PROTOCOL={protocol} needs {name}")
        if not protocol.startswith("SASL_") and settings.get(name):
            raise UserError(f"{name} is set and KAFKA_SECURITY_PROTOCOL={protocol} does not use it: SASL_SSL does")


def _check_pair(settings: Any, prefix: str) -> None:
    certificate, key = f"{prefix}_CERTIFICATE_LOCATION", f"{prefix}_KEY_LOCATION"
    if bool(settings.get(certificate)) != bool(settings.get(key)):
        raise UserError(f"{certificate} and {key}: set both, or neither")
