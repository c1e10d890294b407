"""Alarms reach the operator's webhook: signed, repeated while it is away, and without holding anybody up."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from collections.abc import Callable
from time import monotonic
from typing import Any

import pytest
from scrapy.settings import Settings

from crawlers.masking.hidden import passwords
from crawlers.monitors import webhook
from crawlers.monitors.judging import judged
from crawlers.monitors.result import SiteResult
from crawlers.monitors.rules import MonitorRules
from crawlers.monitors.webhook import Webhook
from tests.servers.webhook import DROP, WebhookServer
from tests.test_monitors_judging import HISTORY, crawl

SECRET = "s3cret-of-the-hook"
BROKEN = judged(crawl(9, products=10), HISTORY, MonitorRules())
WARNED = judged(crawl(9, products=10), HISTORY, MonitorRules(warn=("products",)))
MENDED = judged(crawl(10), [BROKEN, *HISTORY], MonitorRules())


@pytest.fixture(autouse=True)
def no_long_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook, "_FIRST_PAUSE", 0.01)


def post(server: WebhookServer, *results: SiteResult, **options: Any) -> list[SiteResult]:
    """The results that were taken."""
    return asyncio.run(Webhook(server.url, **options).post("product_spider", results))


def test_a_post_says_in_words_and_in_fields_what_is_wrong() -> None:
    with WebhookServer([204]) as server:
        assert post(server, BROKEN) == [BROKEN]
        [sent] = server.posts
    assert sent.headers["content-type"] == "application/json"
    assert sent.json["text"].splitlines() == [
        "Seine: shop: error, 10 products (crawl c9)",
        "- error: products: 10 products, 100 before",
    ]
    assert sent.json["findings"] == [
        {"monitor": "products", "level": "error", "message": "10 products, 100 before", "value": 10.0, "expected": 70.0}
    ]
    named = ("event", "version", "spider", "site", "crawl_id", "status", "products", "ended_at")
    told = ["seine.monitors", 1, "product_spider", "shop", "c9", "error", 10, "2027-01-15T08:00:09Z"]
    assert [sent.json[name] for name in named] == told
    assert "x-seine-signature" not in sent.headers


def test_a_post_is_signed_with_its_time() -> None:
    with WebhookServer() as server:
        post(server, BROKEN, secret=SECRET)
        [sent] = server.posts
    time, signature = (part.partition("=")[2] for part in sent.headers["x-seine-signature"].split(","))
    assert signature == hmac.new(SECRET.encode(), f"{time}.".encode() + sent.body, hashlib.sha256).hexdigest()


def test_a_post_is_repeated_under_the_same_key_until_it_is_taken() -> None:
    with WebhookServer([503, DROP, 429, 200]) as server:
        assert post(server, BROKEN) == [BROKEN]
        keys = [sent.headers["idempotency-key"] for sent in server.posts]
    assert (len(keys), len(set(keys))) == (4, 1)
    with WebhookServer() as server:
        post(server, BROKEN, crawl(8), level="all")
        assert len({keys[0], *(sent.headers["idempotency-key"] for sent in server.posts)}) == 2


@pytest.mark.parametrize("status", [301, 307, 400, 403, 404])
def test_a_post_that_is_refused_is_not_repeated_and_nobody_is_followed_elsewhere(status: int) -> None:
    with WebhookServer([status]) as server:
        assert post(server, BROKEN) == []
        assert [sent.path for sent in server.posts] == ["/hook?key=s3cret-of-the-hook"]


@pytest.mark.parametrize("trouble", ["silent", "failing"])
def test_a_webhook_that_does_not_take_it_is_given_up_in_time(trouble: str) -> None:
    with WebhookServer([500], seconds=30.0 if trouble == "silent" else 0.0) as server:
        began = monotonic()
        assert post(server, BROKEN, seconds=0.5) == []
        assert monotonic() - began < 5
        assert server.posts


@pytest.mark.parametrize(
    ("level", "posted"),
    [("error", [BROKEN, MENDED]), ("warning", [BROKEN, WARNED, MENDED]), ("all", [BROKEN, WARNED, MENDED, crawl(1)])],
)
def test_what_is_posted_is_a_matter_of_the_level(level: str, posted: list[SiteResult]) -> None:
    with WebhookServer() as server:
        assert post(server, BROKEN, WARNED, MENDED, crawl(1), level=level) == posted


def test_an_address_where_nobody_listens_fails_nothing(nowhere: str) -> None:
    assert asyncio.run(Webhook(f"http://{nowhere}/", seconds=0.2).post("product_spider", [BROKEN])) == []


def test_no_log_shows_where_it_is() -> None:
    url = "https://hooks.example/services/T0/B1/s3cret"
    assert url in passwords(Settings({"SETTINGS_CONTRACT": {}, "MONITORS_WEBHOOK_URL": url}))


def test_a_webhook_that_is_not_set_is_none() -> None:
    told: Callable[..., Webhook | None] = Webhook.from_settings
    assert told(Settings({"MONITORS_WEBHOOK_URL": None})) is None
    found = told(Settings({"MONITORS_WEBHOOK_URL": "http://h/", "MONITORS_WEBHOOK_SECONDS": 3}))
    assert found is not None
    assert (found.secret, found.seconds) == ("", 3.0)
