"""The shop as a server: one port per domain, of loopback unless it is told otherwise."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterable, Mapping
from typing import Any

from aiohttp import web

from deploy.demo_shop.access_log import Entry
from deploy.demo_shop.catalog import DomainCatalog
from deploy.demo_shop.control import Control
from deploy.demo_shop.routes import Routes
from deploy.demo_shop.shop import Shop
from deploy.demo_shop.site_files import site_toml
from deploy.demo_shop.trouble import Ask
from deploy.demo_shop.trouble.index import PREFIX, trouble
from deploy.demo_shop.truth import truth_of

HOST = "127.0.0.1"
DEFAULT_PORT = 18100


class PortTaken(Exception):
    """Another program listens on one of the shop's ports."""


class DemoShop:
    """`async with DemoShop(base_port=0) as shop:` opens it on free ports; by default on 18100 and those after it.

    `host` is the address that it listens at, `name` what its pages call it: in a container, 0.0.0.0 and the service.
    """

    def __init__(self, base_port: int = DEFAULT_PORT, host: str = HOST, name: str = "") -> None:
        self._base_port = base_port
        self._host = host
        self._name = name or host
        self._shop = Shop()
        self._runners: list[web.ServerRunner] = []

    @property
    def urls(self) -> list[str]:
        """One "http://NAME:PORT" per domain: en-US, de-DE, ja-JP, fr-CH."""
        return list(self._shop.bases)

    @property
    def domains(self) -> list[str]:
        return [url.removeprefix("http://") for url in self.urls]

    def truth(self) -> list[dict[str, Any]]:
        """What a right record of each product holds, at the prices of the moment."""
        return [truth_of(self._shop, product) for product in self._shop.catalog if self._shop.is_sold(product)]

    def log(self, *, since: float = 0.0, path: str = "", domain: str = "") -> list[dict[str, Any]]:
        """The requests so far; `since` on the monotonic clock, `path` a part of path and query."""
        return self._shop.log.entries(since=since, path=path, domain=domain)

    def clear_log(self) -> None:
        self._shop.log.clear()

    def set_prices(self, prices: Mapping[str, str]) -> None:
        self._shop.set_prices(prices)

    def remove(self, skus: Iterable[str]) -> None:
        """Sell these no longer: their pages are 404, and nothing links to them."""
        self._shop.remove(skus)

    def reset(self) -> None:
        """All products at their original prices, an empty log, and trouble pages that remember nothing."""
        self._shop.reset()

    def site_toml(self) -> str:
        """The text of crawlers/sites/demo.toml for the running ports."""
        return site_toml(self.urls)

    async def __aenter__(self) -> DemoShop:
        sockets = _bind(self._host, self._base_port, len(self._shop.catalog.domains))
        self._shop.bases = [f"http://{self._name}:{sock.getsockname()[1]}" for sock in sockets]
        control = Control(self._shop)
        for sock, domain in zip(sockets, self._shop.catalog.domains, strict=True):
            handler = _DomainHandler(self._shop, domain, control, f"{self._name}:{sock.getsockname()[1]}")
            # Streams without end must not hold up the closing, and end when their client leaves.
            server = web.Server(handler, access_log=None, handler_cancellation=True)
            runner = web.ServerRunner(server, shutdown_timeout=0.1)
            await runner.setup()
            self._runners.append(runner)
            await web.SockSite(runner, sock).start()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        for runner in self._runners:
            await runner.cleanup()
        self._runners.clear()


class _DomainHandler:
    def __init__(self, shop: Shop, domain: DomainCatalog, control: Control, name: str) -> None:
        self._shop = shop
        self._domain = domain
        self._control = control
        self._name = name
        self._routes = Routes(shop, domain)

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        path, _, query = request.raw_path.partition("?")
        if path.startswith("/_shop/"):
            return await self._control.respond(request)
        entry = Entry(self._name, request.method, request.raw_path, request.raw_headers)
        self._shop.log.add(entry)
        try:
            return await self._send(request, entry, path, query)
        except ConnectionError:
            # The client left, or a trouble page cut the line: nobody is there to be told.
            return web.Response()
        finally:
            entry.finish()

    async def _send(self, request: web.BaseRequest, entry: Entry, path: str, query: str) -> web.StreamResponse:
        if path.startswith(PREFIX):
            response = await trouble(Ask(self._shop, self._domain, request))
        elif request.method in ("GET", "HEAD"):
            response = self._routes.answer(path, query).response(request)
        else:
            response = web.Response(status=405, headers={"Allow": "GET, HEAD"})
        # Sent here rather than by aiohttp, so that the log's end is the answer's end.
        await response.prepare(request)
        entry.status = response.status
        await response.write_eof()
        return response


def _bind(host: str, base_port: int, count: int) -> list[socket.socket]:
    """Raises PortTaken naming the port. Port 0 asks for free ones."""
    sockets: list[socket.socket] = []
    try:
        for offset in range(count):
            sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            sockets.append(sock)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((host, base_port + offset if base_port else 0))
            sock.listen(1024)
    except OSError as error:
        for sock in sockets:
            sock.close()
        if error.errno == errno.EADDRINUSE:
            raise PortTaken(
                f"port {base_port + offset} is taken by another program: choose others with --port"
            ) from None
        raise
    return sockets
