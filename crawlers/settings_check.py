"""Checks the settings that came by `-s` or a settings module against what `env()` declares of them."""

from __future__ import annotations

import logging
from typing import Any
from urllib.parse import urlsplit

from crawlers.exceptions import UserError

_NUMBERS = {"int": int, "float": float}
_TRUTHS = {"0", "1", "true", "false", "yes", "no"}
_POSITIVE = {
    "CONCURRENT_REQUESTS",
    "CONCURRENT_REQUESTS_PER_DOMAIN",
    "DOWNLOAD_TIMEOUT",
    "KAFKA_PARTITIONS",
    "KAFKA_REPLICATION_FACTOR",
    "KAFKA_DELIVERY_TIMEOUT",
}
_URLS = {"SCHEMA_REGISTRY_URL": ("http", "https")}


def check_settings(settings: Any) -> None:
    """Raise UserError naming the first setting whose value is not of its kind."""
    for name, (kind, meaning) in settings["SETTINGS_CONTRACT"].items():
        value = settings.get(name)
        if value is not None:
            _check(name, kind, meaning, value)
    if str(settings["LOG_LEVEL"]).upper() not in logging.getLevelNamesMapping():
        raise UserError(f"LOG_LEVEL={settings['LOG_LEVEL']}: expected DEBUG, INFO, WARNING, ERROR or CRITICAL")
    for name, schemes in _URLS.items():
        url = settings.get(name)
        if url and (urlsplit(url).scheme not in schemes or not urlsplit(url).netloc):
            raise UserError(f"{name}={url}: expected a URL that starts with {' or '.join(schemes)}://")


def _check(name: str, kind: str, meaning: str, value: Any) -> None:
    if kind == "bool" and str(value).lower() not in _TRUTHS:
        raise UserError(f"{name}={value}: expected 0 or 1. {name}: {meaning}")
    if kind not in _NUMBERS:
        return
    try:
        number = _NUMBERS[kind](value)
    except (TypeError, ValueError):
        raise UserError(f"{name}={value}: expected {kind}. {name}: {meaning}") from None
    if number < 0 or (name in _POSITIVE and number == 0):
        raise UserError(
            f"{name}={value}: expected a number above {'0' if name in _POSITIVE else '-1'}. {name}: {meaning}"
        )
