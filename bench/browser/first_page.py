"""Seconds until a pool's first page, as JSON: python first_page.py EXECUTABLE FOLDER URL."""

from __future__ import annotations

import asyncio
import json
import sys
from time import monotonic

from browser_pool.backend import PageTask
from browser_pool.egress import Egress
from browser_pool.options import PoolOptions
from browser_pool.playwright import PlaywrightBackend
from browser_pool.pool import BrowserPool
from crawlers.browser_rules import BrowserRules
from crawlers.fetching.addresses import AddressRules
from crawlers.identity import Identity


async def first_page(executable: str, folder: str, url: str, *, is_warm: bool) -> float:
    options = PoolOptions(executable=executable, folder=folder)
    egress = Egress(lambda host, port: AddressRules(["127.0.0.0/8"]))
    pool = BrowserPool(PlaywrightBackend(), options, egress)
    pool.open()
    try:
        if is_warm:
            await pool.warm()
        began_at = monotonic()
        await pool.render(PageTask(url, BrowserRules(wait_for="[data-ready]"), 30), Identity("bench"))
        return monotonic() - began_at
    finally:
        await pool.close()


async def main(executable: str, folder: str, url: str) -> None:
    cold = await first_page(executable, folder, url, is_warm=False)
    print(json.dumps({"cold": cold, "warm": await first_page(executable, folder, url, is_warm=True)}))


asyncio.run(main(*sys.argv[1:]))
