"""Workers that are stopped, woken late, or asked to end: what they hold goes where it belongs."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Callable
from threading import Event
from time import monotonic

from tests.fleet import FrontierSeine, links
from tests.polling import until
from tests.servers.web import Page, WebServer
from tests.support import Finished

PAGES = 30


def start(fleet: FrontierSeine, server: WebServer, **settings: object) -> subprocess.Popen[str]:
    limits = {"CONCURRENT_REQUESTS": 4, "CONCURRENT_REQUESTS_PER_DOMAIN": 16}
    options = fleet.options(FRONTIER_CRAWL_ID="one", **limits, **settings)
    return fleet.start("crawl", "path_spider", "-a", f"url={server.url}/", *options)


def ended(process: subprocess.Popen[str]) -> Finished:
    out, err = process.communicate(timeout=60)
    log = [json.loads(line) for line in err.splitlines() if line.startswith('{"')]
    return Finished(process.returncode, out, err, log)


def held(fleet: FrontierSeine) -> int:
    keys = fleet.redis.scan_iter(f"{fleet.keys.shard(0)}:held:*")
    return sum(fleet.redis.scard(key) for key in keys)


def counts(fleet: FrontierSeine) -> dict[str, int]:
    found = fleet.redis.hgetall(f"{fleet.keys.crawl(0, 'one')}:counts")
    return {name.decode(): int(n) for name, n in found.items()}


def items(count: int, wait: Callable[[int], None] = lambda earlier: None) -> dict[str, Callable[[int], Page]]:
    """A page of links to `count` pages with an item each, which are answered after `wait`."""

    def page(earlier: int) -> Page:
        wait(earlier)
        return Page("x")

    start: dict[str, Callable[[int], Page]] = {"/": lambda _: links(*(f"/item-{n}" for n in range(count)))}
    return start | {f"/item-{n}": page for n in range(count)}


def test_a_worker_that_wakes_after_its_leases_expired_settles_none_of_them(
    fleet: FrontierSeine, web: Callable[..., WebServer]
) -> None:
    may_answer = Event()
    server = web(items(PAGES, lambda earlier: None if earlier else may_answer.wait(30)))
    zombie = start(fleet, server, FRONTIER_LEASE_SECONDS=1)
    server.wait_for(5)
    zombie.send_signal(signal.SIGSTOP)
    other = start(fleet, server, FRONTIER_LEASE_SECONDS=1)
    until(lambda: counts(fleet).get("lost"), "its leases did not return")
    lost = counts(fleet)["lost"]
    may_answer.set()
    finished = ended(other)
    assert finished.code == 0, finished.err[-2000:]
    before = counts(fleet)
    assert before["delivered"] == PAGES
    zombie.send_signal(signal.SIGCONT)
    assert ended(zombie).code == 0
    after = counts(fleet)
    assert {term: after.get(term) for term in ("delivered", "dead", "pending")} == {
        "delivered": PAGES,
        "dead": None,
        "pending": 0,
    }
    assert len(server.visits) <= 1 + PAGES + lost


def test_sigterm_gives_unstarted_leases_back_at_once_and_finishes_what_has_begun(
    fleet: FrontierSeine, web: Callable[..., WebServer]
) -> None:
    may_answer = Event()
    server = web(items(PAGES, lambda earlier: may_answer.wait(30)))
    worker = start(fleet, server, FRONTIER_LEASE_SECONDS=60)
    server.wait_for(5)
    until(lambda: held(fleet) > 4, "nothing is leased ahead")
    worker.send_signal(signal.SIGTERM)
    until(lambda: held(fleet) == 4, "unstarted leases did not return")
    assert worker.poll() is None
    may_answer.set()
    finished = ended(worker)
    assert finished.code == 0, finished.err[-2000:]
    assert counts(fleet)["delivered"] == 4
    assert counts(fleet)["pending"] == PAGES - 4
    assert held(fleet) == 0
    assert ended(start(fleet, server)).code == 0
    assert counts(fleet)["delivered"] == PAGES
    assert len(server.visits) == 1 + PAGES


def test_a_download_that_outlasts_the_grace_period_is_given_back(
    fleet: FrontierSeine, web: Callable[..., WebServer]
) -> None:
    may_answer = Event()
    server = web(items(4, lambda earlier: None if earlier else may_answer.wait(30)))
    worker = start(fleet, server, FRONTIER_LEASE_SECONDS=60, FRONTIER_DRAIN_SECONDS=1, DOWNLOAD_TIMEOUT=180)
    server.wait_for(5)
    worker.send_signal(signal.SIGTERM)
    asked_at = monotonic()
    finished = ended(worker)
    assert monotonic() - asked_at < 15
    assert finished.events("grace period over: unfinished requests return", requests=4)
    assert held(fleet) == 0
    assert counts(fleet)["pending"] == 4
    may_answer.set()
    assert ended(start(fleet, server)).code == 0
    assert counts(fleet)["delivered"] == 4
