"""The same pages by Playwright alone: one browser, one context, a new page for each address."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from typing import Any

from playwright.async_api import async_playwright

from bench.browser.report import Report


async def work(context: Any, urls: Iterator[str], report: Report) -> None:
    for url in urls:
        page = await context.new_page()
        await page.goto(url)
        await page.wait_for_selector("[data-ready]")
        report.done(await page.content())
        await page.close()


async def main() -> None:
    report = Report(os.environ)
    urls = iter(report.urls())
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=os.environ["BENCH_EXECUTABLE"])
        context = await browser.new_context()
        await asyncio.gather(*(work(context, urls, report) for _ in range(report.at_once)))
        await browser.close()
    report.write()


asyncio.run(main())
