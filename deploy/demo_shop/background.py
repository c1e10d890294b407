"""The shop in a thread of its own, for tests and scripts that are not asynchronous."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from deploy.demo_shop.server import DEFAULT_PORT, DemoShop


@contextmanager
def running_shop(base_port: int = DEFAULT_PORT) -> Iterator[DemoShop]:
    """The shop's methods may be called from any thread while it runs."""
    shop = DemoShop(base_port)
    opened: list[BaseException | None] = []
    ready = threading.Event()
    loop = asyncio.new_event_loop()
    closing = asyncio.Event()

    async def serve() -> None:
        try:
            async with shop:
                opened.append(None)
                ready.set()
                await closing.wait()
        except BaseException as error:
            opened.append(error)
            ready.set()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()), name="demo-shop", daemon=True)
    thread.start()
    ready.wait()
    try:
        if opened[0] is not None:
            raise opened[0]
        yield shop
    finally:
        loop.call_soon_threadsafe(closing.set)
        thread.join(timeout=10)
        loop.close()
