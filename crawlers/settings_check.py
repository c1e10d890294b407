"""Checks the settings that came by `-s` or a settings module against what `env()` declares of them."""

from __future__ import annotations

import logging
import math
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from w3lib.url import file_uri_to_path

from crawlers.domains import is_web_url
from crawlers.exceptions import UserError
from crawlers.fetching.addresses import AddressRules
from crawlers.fetching.content_types import ContentTypes
from crawlers.frontier.wiring import uses_frontier
from crawlers.remote_browsers import check_remote
from crawlers.robots.directives import DIRECTIVES
from crawlers.status.listening import read_ports
from crawlers.tracing.options import check_tracing
from pipelines.claims.address import read_address

_NUMBERS = {"int": int, "float": float}
_TRUTHS = {"0", "1", "true", "false", "True", "False"}
_POSITIVE = {
    "CHANGES_GONE_AFTER",
    "CONCURRENT_REQUESTS",
    "CONCURRENT_REQUESTS_PER_DOMAIN",
    "DOWNLOAD_TIMEOUT",
    "HEADERS_MAXSIZE",
    "DECOMPRESSION_RATIO",
    "CAPTCHA_SOLVER_TIMEOUT",
    "KAFKA_PARTITIONS",
    "KAFKA_REPLICATION_FACTOR",
    "KAFKA_DELIVERY_TIMEOUT",
    "CLAIM_CHECK_CONCURRENCY",
    "CLAIM_CHECK_TIMEOUT",
    "KAFKA_TIMEOUT",
    "IDENTITY_COUNT",
    "PROXY_FAILURES",
    "PROXY_COOL_DOWN",
    "PROXY_BAN_COOL_DOWN",
    "PROXY_LONGEST_COOL_DOWN",
    "IDENTITY_SECONDS",
    "BROWSER_PROCESSES",
    "BROWSER_PAGES",
    "BROWSER_PAGE_USES",
    "BROWSER_RETIRE_PAGES",
    "BROWSER_RETIRE_SECONDS",
    "BROWSER_RETIRE_MEMORY",
    "BROWSER_PAGE_MEMORY",
    "BROWSER_LAUNCH_TIMEOUT",
    "ROBOTSTXT_STALE",
    "ROUTING_SLIPS",
}
_CHOICES = {
    "CRAWL_OVERLAP": ("join", "skip"),
    "EMIT": ("all", "changes"),
    "BROWSER_BACKEND": ("playwright", "selenium", "undetected"),
    "IDENTITY": ("bot", "browser"),
    "LOG_STYLE": ("auto", "json", "pretty"),
    "OTEL_TRACES_EXPORTER": ("otlp", "none"),
    "KAFKA_DELIVERY": ("at_least_once", "exactly_once"),
    "KAFKA_SECURITY_PROTOCOL": ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"),
    "KAFKA_SASL_MECHANISM": ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"),
}
_BROKER = r"\s*(\[[0-9A-Fa-f:]+\]|[^\s,:/]+):\d+\s*"
_PATTERNS = {
    "KAFKA_BOOTSTRAP_SERVERS": (rf"{_BROKER}(,{_BROKER})*", "host:port, comma separated"),
    "KAFKA_TOPIC_PRODUCTS": (r"[\w.-]{1,249}", "a topic's name: letters, digits, dots, dashes"),
    "KAFKA_TOPIC_DEAD_LETTERS": (r"[\w.-]{1,249}", "a topic's name: letters, digits, dots, dashes"),
    "KAFKA_TOPIC_PAGES": (r"[\w.-]{1,249}", "a topic's name: letters, digits, dots, dashes"),
}
_URLS = ("SCHEMA_REGISTRY_URL", "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_FILES = tuple(
    f"{service}_SSL_{what}_LOCATION"
    for service in ("KAFKA", "SCHEMA_REGISTRY")
    for what in ("CA", "CERTIFICATE", "KEY")
)


def check_settings(settings: Any) -> None:
    """Raise UserError naming the first setting whose value is not of its kind."""
    for name, (kind, meaning) in settings["SETTINGS_CONTRACT"].items():
        value = settings.get(name)
        if value is not None:
            _check(name, kind, meaning, value)
    if str(settings["LOG_LEVEL"]).upper() not in logging.getLevelNamesMapping():
        raise UserError(f"LOG_LEVEL={settings['LOG_LEVEL']}: expected DEBUG, INFO, WARNING, ERROR or CRITICAL")
    for name in (*_CHOICES, *_PATTERNS, *_URLS, *_FILES):
        if value := settings.get(name):
            _check_text(name, str(value))
    _check_overlap(settings)
    _check_claims(settings)
    read_ports(str(settings.get("STATUS_PORT") or ""))
    check_remote(settings)
    check_tracing(settings)
    AddressRules(settings.getlist("ALLOWED_PRIVATE_NETWORKS"))
    ContentTypes(settings.getlist("CONTENT_TYPES"))
    for status in settings.getlist("BAN_STATUSES"):
        if not (str(status).isascii() and str(status).isdigit() and 100 <= int(status) <= 999):
            raise UserError(f"BAN_STATUSES: {status}: expected HTTP statuses, comma separated")
    for directive in settings.getlist("ROBOTS_DIRECTIVES"):
        if directive not in DIRECTIVES:
            raise UserError(f"ROBOTS_DIRECTIVES: {directive}: expected {' or '.join(DIRECTIVES)}, comma separated")
    for uri in settings.getdict("FEEDS"):
        _check_feed(str(uri))


def _check_overlap(settings: Any) -> None:
    if not settings.getbool("CRAWL_OPEN") and not (uses_frontier(settings) and settings.getbool("FRONTIER_WAIT")):
        raise UserError("CRAWL_OPEN=0: one that opens no crawl has to wait for it: set REDIS_URL and FRONTIER_WAIT=1")
    if settings.get("CRAWL_OVERLAP") != "skip":
        return
    if not uses_frontier(settings):
        raise UserError("CRAWL_OVERLAP=skip: only the frontier knows what is at work: set REDIS_URL")
    if settings.getbool("FRONTIER_WAIT"):
        raise UserError("CRAWL_OVERLAP=skip and FRONTIER_WAIT=1: one that stays for every crawl skips none: set one")


def _check_claims(settings: Any) -> None:
    if url := settings.get("CLAIM_CHECK_URL"):
        read_address(url)
    elif settings.getbool("STORE_CONTENT") and settings.get("KAFKA_BOOTSTRAP_SERVERS"):
        raise UserError(
            "STORE_CONTENT is set and CLAIM_CHECK_URL is not: a page may be larger than Kafka's records. "
            'On a laptop: eval "$(scrapy stack env)", or CLAIM_CHECK_URL=file:///folder'
        )


def _check_feed(uri: str) -> None:
    """Open a local feed as Scrapy will: it would only log that it cannot, and lose the items."""
    if urlsplit(uri).scheme not in ("", "file") or "%(" in uri:
        return
    path = Path(file_uri_to_path(uri) if uri.startswith("file:") else uri)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.open("ab").close()
    except OSError as error:
        raise UserError(f"-o {uri}: cannot be written: {error.strerror}") from None


def _check(name: str, kind: str, meaning: str, value: Any) -> None:
    if kind == "bool" and str(value) not in _TRUTHS:
        raise UserError(f"{name}={value}: expected 0 or 1. {name}: {meaning}")
    if kind not in _NUMBERS:
        return
    try:
        number = _NUMBERS[kind](value)
    except (TypeError, ValueError):
        raise UserError(f"{name}={value}: expected {kind}. {name}: {meaning}") from None
    if not math.isfinite(number) or number < 0 or (name in _POSITIVE and number == 0):
        raise UserError(
            f"{name}={value}: expected a number above {'0' if name in _POSITIVE else '-1'}. {name}: {meaning}"
        )


def _check_text(name: str, value: str) -> None:
    if name in _CHOICES and value not in _CHOICES[name]:
        raise UserError(f"{name}={value}: expected one of {', '.join(_CHOICES[name])}")
    if name in _PATTERNS and not re.fullmatch(_PATTERNS[name][0], value, re.ASCII):
        raise UserError(f"{name}={value}: expected {_PATTERNS[name][1]}")
    if name in _URLS and not is_web_url(value):
        raise UserError(f"{name}={value}: expected a URL that starts with http:// or https://")
    if name in _FILES and not Path(value).is_file():
        raise UserError(f"{name}={value}: expected a file, and there is none")
