"""What the settings say of tracing."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

from crawlers.exceptions import UserError

ENDPOINT, TRACES_ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
_PATH = "/v1/traces"
_PROTOCOL = "http/protobuf"


def is_traced(settings: Any) -> bool:
    """Whether there is a collector to send to, and nobody has switched it off."""
    is_off = settings.getbool("OTEL_SDK_DISABLED") or settings.get("OTEL_TRACES_EXPORTER") == "none"
    return bool(settings.get(ENDPOINT) or settings.get(TRACES_ENDPOINT)) and not is_off


def endpoint_of(settings: Any) -> str:
    """Where the spans go: the traces' own URL as it is, or the collector's with the path of traces."""
    if url := settings.get(TRACES_ENDPOINT):
        return str(url)
    return str(settings[ENDPOINT]).rstrip("/") + _PATH


def headers_of(settings: Any) -> dict[str, str]:
    """What the collector asks for, as name=value pairs whose values are percent-encoded. UserError where it is none."""
    headers = {}
    for pair in str(settings.get("OTEL_EXPORTER_OTLP_HEADERS") or "").split(","):
        name, sign, value = pair.partition("=")
        if pair.strip() and (not sign or not name.strip()):
            raise UserError("OTEL_EXPORTER_OTLP_HEADERS: expected name=value, comma separated")
        if sign:
            headers[name.strip().lower()] = unquote(value.strip())
    return headers


def check_tracing(settings: Any) -> None:
    """Raise UserError where tracing is asked for in a way that it cannot be had."""
    if not is_traced(settings):
        return
    protocol = settings.get("OTEL_EXPORTER_OTLP_PROTOCOL") or _PROTOCOL
    if protocol != _PROTOCOL:
        raise UserError(
            f"OTEL_EXPORTER_OTLP_PROTOCOL={protocol}: expected {_PROTOCOL}, at port 4318 of most collectors"
        )
    headers_of(settings)
