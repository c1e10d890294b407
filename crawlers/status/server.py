"""The server of a process's status."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiohttp import ClientConnectionResetError, web
from prometheus_client.exposition import choose_encoder

from crawlers import metrics
from crawlers.status.guard import add_headers, guard

if TYPE_CHECKING:
    import socket

Telling = Callable[[], Awaitable[dict[str, Any]]]
"""What /status.json and /events tell."""
Troubles = Callable[[], Awaitable[dict[str, str]]]
"""What keeps the process from its work, and why; empty where it is ready."""

_PAGE = Path(__file__).with_name("page.html")
_EVERY = 2.0
"""Seconds between two events."""
_MOST_LISTENERS = 20
_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


class StatusServer:
    """/healthz: the process answers. /readyz: it works, or 503 and why not. /metrics: Prometheus's or OpenMetrics'
    format. /: the page, fed by /events. /status.json: what an event holds.

    `before_metrics` runs before metrics are read, to bring up to date what has to be asked for.
    """

    def __init__(
        self,
        tell: Telling,
        troubles: Troubles,
        before_metrics: Callable[[], Awaitable[None]],
        *,
        host: str,
        token: str | None = None,
    ):
        self._tell = tell
        self._troubles = troubles
        self._before_metrics = before_metrics
        self._listeners: set[asyncio.Task[Any]] = set()
        app = web.Application(middlewares=[guard(host, token)])
        app.on_response_prepare.append(add_headers)
        app.add_routes(
            [
                web.get("/", self._page),
                web.get("/events", self._events),
                web.get("/status.json", self._status),
                web.get("/metrics", self._metrics),
                web.get("/healthz", self._healthz),
                web.get("/readyz", self._readyz),
            ]
        )
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=0.5)

    async def open(self, listening: socket.socket) -> None:
        """Serve on a socket that listens."""
        await self._runner.setup()
        await web.SockSite(self._runner, listening).start()

    async def close(self) -> None:
        """Stop; who listens is told no more."""
        for task in self._listeners:
            task.cancel()
        await self._runner.cleanup()

    async def _healthz(self, _request: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def _readyz(self, _request: web.Request) -> web.Response:
        troubles = await self._troubles()
        lines = [f"{what}: {why}\n" for what, why in troubles.items()] or ["ready\n"]
        return web.Response(text="".join(lines), status=503 if troubles else 200)

    async def _metrics(self, request: web.Request) -> web.Response:
        await self._before_metrics()
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        return web.Response(body=encode(metrics.REGISTRY), headers={"Content-Type": content_type})

    async def _page(self, _request: web.Request) -> web.Response:
        headers = {"Content-Security-Policy": _POLICY}
        return web.Response(text=_PAGE.read_text(encoding="utf-8"), content_type="text/html", headers=headers)

    async def _status(self, _request: web.Request) -> web.Response:
        return web.Response(text=await self._event(), content_type="application/json")

    async def _events(self, request: web.Request) -> web.StreamResponse:
        """Server-sent events, one every two seconds, for as long as somebody listens."""
        if len(self._listeners) >= _MOST_LISTENERS:
            raise web.HTTPServiceUnavailable(text="too many listen already\n")
        task = asyncio.current_task()
        assert task is not None
        self._listeners.add(task)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        try:
            await response.prepare(request)
            while True:
                await response.write(f"data: {await self._event()}\n\n".encode())
                await asyncio.sleep(_EVERY)
        except ClientConnectionResetError:
            return response
        finally:
            self._listeners.discard(task)

    async def _event(self) -> str:
        return json.dumps(await self._tell())
