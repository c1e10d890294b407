"""scrapy-playwright's PageMethod: a method of Playwright's page that a request wants called."""

from __future__ import annotations

import inspect
from typing import Any


async def call_page_method(page: Any, method: Any) -> None:
    """Call it, and put what it returns into its `result`.

    `method` is an object with `method`, `args`, `kwargs`, or a dict of the same, which a frontier can store.
    """
    read = method.get if isinstance(method, dict) else lambda key, default: getattr(method, key, default)
    name, args, kwargs = read("method", ""), read("args", ()), read("kwargs", {})
    called = name(page, *args, **kwargs) if callable(name) else getattr(page, name)(*args, **kwargs)
    result = await called if inspect.isawaitable(called) else called
    if not isinstance(method, dict):
        method.result = result
