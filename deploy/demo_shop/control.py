"""The shop's back room, /_shop/: its log, truth and prices, for tests and people with curl. Never logged itself."""

from __future__ import annotations

import json
import os
from typing import Any

from aiohttp import web

from deploy.demo_shop.shop import Shop
from deploy.demo_shop.truth import truth_of


class Control:
    def __init__(self, shop: Shop) -> None:
        self._shop = shop
        self._handlers = {
            ("GET", "/_shop/log"): self._read_log,
            ("DELETE", "/_shop/log"): self._clear_log,
            ("POST", "/_shop/prices"): self._set_prices,
            ("POST", "/_shop/removed"): self._remove,
            ("GET", "/_shop/truth"): self._truth,
            ("POST", "/_shop/reset"): self._reset,
            ("GET", "/_shop/health"): self._health,
        }

    async def respond(self, request: web.BaseRequest) -> web.Response:
        handler = self._handlers.get((request.method, request.path))
        if handler is None:
            known = ", ".join(f"{method} {path}" for method, path in self._handlers)
            return _json({"error": f"no {request.method} {request.path}; there are {known}"}, 404)
        try:
            return await handler(request)
        except ValueError as error:
            return _json({"error": str(error)}, 400)

    async def _read_log(self, request: web.BaseRequest) -> web.Response:
        query = request.query
        since = float(query.get("since", "0"))
        return _json(self._shop.log.entries(since=since, path=query.get("path", ""), domain=query.get("domain", "")))

    async def _clear_log(self, request: web.BaseRequest) -> web.Response:
        self._shop.log.clear()
        return _json({"cleared": True})

    async def _set_prices(self, request: web.BaseRequest) -> web.Response:
        prices = await request.json()
        if not isinstance(prices, dict):
            raise ValueError('expected an object {"sku": "price", …}')
        self._shop.set_prices(prices)
        return _json({"changed": len(prices)})

    async def _remove(self, request: web.BaseRequest) -> web.Response:
        skus = await request.json()
        if not isinstance(skus, list):
            raise ValueError('expected a list ["sku", …]')
        self._shop.remove(skus)
        return _json({"removed": len(skus)})

    async def _truth(self, request: web.BaseRequest) -> web.Response:
        return _json([truth_of(self._shop, product) for product in self._shop.catalog if self._shop.is_sold(product)])

    async def _reset(self, request: web.BaseRequest) -> web.Response:
        self._shop.reset()
        return _json({"reset": True})

    async def _health(self, request: web.BaseRequest) -> web.Response:
        return _json({"pid": os.getpid(), "urls": self._shop.bases})


def _json(value: Any, status: int = 200) -> web.Response:
    return web.Response(
        text=json.dumps(value, ensure_ascii=False), status=status, content_type="application/json", charset="utf-8"
    )
