"""What becomes of a request in the frontier, whatever the spider, the pipelines and the middlewares do to it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.fleet import FrontierSeine, links
from tests.polling import until
from tests.servers.web import Page, WebServer
from tests.support import Finished


def test_every_kind_of_outcome_is_counted_once(fleet: FrontierSeine, web: Callable[..., WebServer]) -> None:
    server = web(
        {
            "/": links("/item-good", "/item-dropped", "/item-broken", "/error", "/moved", "/nothing", "/none", "/"),
            "/item-good": Page("x"),
            "/item-dropped": Page("x"),
            "/item-broken": Page("x"),
            "/error": links("/item-good", "/found-before-the-error"),
            "/found-before-the-error": Page("x"),
            "/moved": Page(status=302, headers={"Location": "/target"}),
            "/target": Page("x"),
            "/nothing": Page(""),
        }
    )
    ended = fleet.crawl_from(server, "/")
    assert ended.finished.code == 0, ended.finished.err[-3000:]
    assert ended.of("seeded", "delivered", "expanded", "redirected", "filtered") == {
        "seeded": 1,
        "delivered": 1,
        "expanded": 1,
        "redirected": 1,
        "filtered": 1,
    }
    assert ended.counts["empty"] == 3  # the redirect's target, the empty page, what was found before the error
    assert ended.counts["filtered:item"] == 1
    assert ended.dead == {"/item-broken": ["item"], "/error": ["RuntimeError"], "/none": ["http 404"]}
    assert ended.counts["duplicates"] == 2
    assert ended.counts["pending"] == ended.leased == 0


def test_an_error_page_is_tried_again_and_its_attempts_are_told(
    fleet: FrontierSeine, web: Callable[..., WebServer]
) -> None:
    def mended(earlier: int) -> Page:
        return Page("late", status=503 if earlier < 2 else 200)

    server = web({"/": links("/item-late", "/down"), "/item-late": mended, "/down": Page("no", 500)})
    ended = fleet.crawl_from(server, "/", RETRY_TIMES=2)
    assert ended.of("delivered", "expanded", "dead", "retried") == {
        "delivered": 1,
        "expanded": 1,
        "dead": 1,
        "retried": 4,
    }
    assert ended.dead == {"/down": ["http 500", "http 500", "http 500"]}
    assert len(server.visits_of("/item-late")) == len(server.visits_of("/down")) == 3


def test_retry_after_is_waited_for_by_the_whole_domain(fleet: FrontierSeine, web: Callable[..., WebServer]) -> None:
    def busy(earlier: int) -> Page:
        return Page("busy", 429, {"Retry-After": "1"}) if earlier == 0 else links("/other")

    server = web({"/": busy, "/other": Page("x")})
    ended = fleet.crawl_from(server, "/")
    assert ended.of("retried", "expanded", "empty") == {"retried": 1, "expanded": 1, "empty": 1}
    first, second = server.visits_of("/")
    assert second - first >= 1.0


def test_what_is_leased_of_a_domain_that_asks_to_wait_waits_too(
    fleet: FrontierSeine, web: Callable[..., WebServer]
) -> None:
    """Of many leases at once, one is told to come back; those that have not started go back with it."""

    def busy(earlier: int) -> Page:
        return Page("busy", 429, {"Retry-After": "1"}) if earlier == 0 else Page("x")

    server = web({"/": links("/later", *(f"/n{i}" for i in range(20)))} | {f"/n{i}": Page("x") for i in range(20)})
    server.pages["/later"] = busy
    limits = {"CONCURRENT_REQUESTS": 1, "CONCURRENT_REQUESTS_PER_DOMAIN": 16, "DEPTH_PRIORITY": 0}
    ended = fleet.crawl_from(server, "/", **limits)
    assert ended.of("empty", "retried") == {"empty": 21, "retried": 1}
    first = server.visits_of("/later")[0]
    later = [visit.at - first for visit in server.visits if visit.at > first]
    assert min(later) >= 1.0


def test_an_errback_that_makes_an_item_of_a_failure_delivers(
    fleet: FrontierSeine, web: Callable[..., WebServer]
) -> None:
    ended = fleet.crawl_from(web({"/": links("/saved-by-errback")}), "/")
    assert ended.of("delivered", "expanded", "dead") == {"delivered": 1, "expanded": 1, "dead": 0}


def test_a_request_that_its_callback_schedules_again_is_another_one(
    fleet: FrontierSeine, web: Callable[..., WebServer]
) -> None:
    server = web({"/": links("/again"), "/again": Page("x")})
    ended = fleet.crawl_from(server, "/")
    assert len(server.visits_of("/again")) == 3
    assert ended.of("discovered", "expanded", "empty") == {"discovered": 3, "expanded": 3, "empty": 1}


def test_a_request_that_a_middleware_replaces_is_redirected(
    fleet: FrontierSeine, web: Callable[..., WebServer]
) -> None:
    server = web({"/": links("/instead"), "/place": Page("x")})
    middlewares = '{"tests.spiders.Replacing": 543}'
    ended = fleet.crawl_from(server, "/", DOWNLOADER_MIDDLEWARES=middlewares)
    assert ended.of("redirected", "empty", "expanded") == {"redirected": 1, "empty": 1, "expanded": 1}
    assert not server.visits_of("/instead")


def test_scrapys_own_retry_middleware_ends_in_a_durable_retry(
    fleet: FrontierSeine, web: Callable[..., WebServer]
) -> None:
    server = web({"/": lambda earlier: Page("x", 404 if earlier == 0 else 200)})
    middlewares = '{"scrapy.downloadermiddlewares.retry.RetryMiddleware": 550}'
    own = {"RETRY_ENABLED": 1, "DOWNLOADER_MIDDLEWARES": middlewares, "RETRY_HTTP_CODES": "404"}
    ended = fleet.crawl_from(server, "/", **own)
    assert ended.of("retried", "empty", "dead") == {"retried": 1, "empty": 1, "dead": 0}


def test_redirects_in_a_circle_are_dead(fleet: FrontierSeine, web: Callable[..., WebServer]) -> None:
    pages = {
        "/": Page(status=302, headers={"Location": "/b"}),
        "/b": Page(status=302, headers={"Location": "/"}),
    }
    ended = fleet.crawl_from(web(pages), "/")
    assert ended.of("redirected", "dead") == {"redirected": 1, "dead": 1}
    assert ended.dead == {"/b": ["redirect loop"]}


def test_children_that_a_middleware_drops_are_counted_by_reason(
    fleet: FrontierSeine, web: Callable[..., WebServer]
) -> None:
    server = web({"/": links("/deep", "/" + "x" * 90), "/deep": links("/too-deep", "/also")})
    ended = fleet.crawl_from(server, "/", DEPTH_LIMIT=1, URLLENGTH_LIMIT=80)
    assert ended.of("filtered", "filtered:depth", "filtered:url length", "expanded") == {
        "filtered": 3,
        "filtered:depth": 2,
        "filtered:url length": 1,
        "expanded": 2,
    }


def test_a_request_that_cannot_be_stored_fails_its_parent_by_name(
    fleet: FrontierSeine, web: Callable[..., WebServer]
) -> None:
    ended = fleet.crawl_from(web({"/": links("/unstorable"), "/unstorable": Page("x")}), "/")
    assert ended.dead == {"/unstorable": ["unstorable request"]}
    assert ended.counts["filtered:unstorable"] == 1
    [event] = ended.finished.events("request cannot be stored")
    assert "is not a method of the spider" in event["error"]


@pytest.mark.parametrize("path", ["/close", "/item-undelivered"])
def test_a_request_that_was_cut_short_is_there_for_the_next_worker(
    fleet: FrontierSeine, web: Callable[..., WebServer], path: str
) -> None:
    server = web({"/": links(path), path: Page("x")})
    process = fleet.start("crawl", "path_spider", "-a", f"url={server.url}/", *fleet.options(RETRY_TIMES=0))
    if path == "/item-undelivered":
        until(lambda: len(server.visits_of(path)) >= 2, "it does not go back, and come again")
        process.terminate()
    out, err = process.communicate(timeout=30)
    ended = fleet.ended(Finished(process.returncode, out, err), server)
    assert ended.of("expanded", "pending", "dead") == {"expanded": 1, "pending": 1, "dead": 0}
    assert ended.leased == 0
