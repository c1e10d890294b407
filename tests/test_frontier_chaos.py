"""Workers are killed at random moments of a crawl, and nothing is lost. `make chaos` is the long form."""

from __future__ import annotations

import os
from collections.abc import Callable

from tests.chaos import Tree, crawl_with_kills
from tests.fleet import FrontierSeine
from tests.servers.web import WebServer

PAGES = int(os.environ.get("CHAOS_PAGES", "700"))
KILLS = int(os.environ.get("CHAOS_KILLS", "3"))
SEED = int(os.environ.get("CHAOS_SEED", "11"))


def test_killed_workers_lose_no_page(fleet: FrontierSeine, web: Callable[..., WebServer]) -> None:
    print(f"seed {SEED}")
    server = web(Tree(PAGES))
    ended, held = crawl_with_kills(fleet, server, KILLS, SEED)
    assert set(server.times) == set(server.pages)
    assert ended.of("seeded", "discovered", "delivered", "pending") == {
        "seeded": 1,
        "discovered": PAGES - 1,
        "delivered": PAGES,
        "pending": 0,
    }
    again = len(server.visits) - PAGES
    print(f"{PAGES} pages, {KILLS} kills, {held} leases held by the killed, {again} pages fetched again")
    assert 0 < ended.counts["lost"] <= held
    assert again <= ended.counts["lost"]
