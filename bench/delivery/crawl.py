"""A worker as users start it, on the bench's own site."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from pathlib import Path

from bench.delivery.arrivals import Arrival, Arrivals
from bench.delivery.bench import Bench
from bench.delivery.services import own_topics
from bench.delivery.site import Site, running_site, site_toml

ROOT = Path(__file__).resolve().parents[2]
_SECONDS_TO_END = 120.0


def crawl(bench: Bench, mode: str, pages: int, rate: float | None = None) -> list[Arrival]:
    """What a `read_committed` consumer got of a crawl of so many pages, in the order of their answers.

    `mode` is KAFKA_DELIVERY's; with `rate`, the site answers so many pages a second.
    """
    env, _ = own_topics({**bench.env, "KAFKA_DELIVERY": mode})
    folder = bench.folder / secrets.token_hex(4)
    (folder / "sites").mkdir(parents=True)
    with (
        running_site(rate) as site,
        Arrivals(env["KAFKA_BOOTSTRAP_SERVERS"], env["KAFKA_TOPIC_PRODUCTS"]) as arrivals,
    ):
        worker = _start(folder, site, env, pages)
        try:
            _, errors = worker.communicate(timeout=_SECONDS_TO_END + pages / (rate or pages))
        finally:
            worker.kill()
            worker.wait()
        if worker.returncode:
            raise SystemExit(f"the worker's exit code is {worker.returncode}\n{errors[-3000:]}")
        return sorted(arrivals.wait_for(pages, 10))


def _start(folder: Path, site: Site, env: dict[str, str], pages: int) -> subprocess.Popen[str]:
    (folder / "sites" / "bench.toml").write_text(site_toml(site))
    (folder / "urls.txt").write_text("".join(f"{site.url}/p/{number}\n" for number in range(pages)))
    own = {
        **env,
        "SITES_DIR": str(folder / "sites"),
        "FRONTIER_NAMESPACE": folder.name,
        "ROBOTSTXT_OBEY": "0",
        "CLAIM_CHECK_URL": "",  # no page is large
    }
    options = ("-a", f"urls=@{folder / 'urls.txt'}", "-s", f"LOG_FILE={folder / 'crawl.log'}")
    return subprocess.Popen(
        [sys.executable, "-m", "scrapy", "crawl", "product_spider", *options],
        cwd=ROOT,
        env={**os.environ, **own},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
