"""Workers that stand by, as in compose: with Kafka, they join what a schedule opens."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

from tests.fleet import FrontierSeine, links
from tests.polling import until
from tests.servers.web import Page, WebServer
from tests.test_overlap import rests_in


def test_a_standing_worker_joins_a_crawl_whose_dead_letters_are_written(
    audited: FrontierSeine, web: Callable[..., WebServer], sites: Path, tmp_path: Path
) -> None:
    pages = {f"/n{number}": Page("x") for number in range(4)}
    server = web({"/": links(*pages, "/dead"), "/dead": Page("gone", 410), **pages})
    address = server.url.removeprefix("http://")
    (sites / "shop.toml").write_text(
        f'name = "shop"\ndomains = ["{address}"]\nseeds = ["{server.url}/"]\nfollow = {{ allow = ["/"] }}\n'
    )
    audited.env |= {"KAFKA_CREATE_TOPICS": "1", "SCHEMA_REGISTRY_AUTO_REGISTER": "1", "ROBOTSTXT_OBEY": "0"}
    logged = tmp_path / "standing.log"
    rests = ["-s", "FRONTIER_WAIT=1", "-s", "CRAWL_OPEN=0", "--logfile", str(logged)]
    standing = audited.start("crawl", "product_spider", *rests)
    until(lambda: rests_in(logged), "it does not rest")
    server.may_answer.clear()
    scheduled = audited.start("crawl", "product_spider")
    until(lambda: "next crawl" in logged.read_text(), "it does not join")
    server.may_answer.set()
    assert scheduled.wait(60) == 0
    standing.send_signal(signal.SIGTERM)
    assert standing.wait(60) == 0
    assert "frontier failed" not in logged.read_text()
