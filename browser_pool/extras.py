"""How much a page may bring along beside its document: captured JSON, a screenshot."""

from __future__ import annotations

from typing import Any

LARGEST_CAPTURE = 4 * 1024 * 1024
MOST_CAPTURED = 16 * 1024 * 1024
"""Bytes of all that a page's scripts fetched; what comes after that is left out."""
_LONGEST_SIDE = 16_384
"""Pixels of a screenshot: Chromium repeats what it has drawn beyond."""


def screenshot_options(metrics: dict[str, Any]) -> dict[str, Any]:
    """For CDP's Page.captureScreenshot: the whole page, of one without end its upper part.

    `metrics` are those of Page.getLayoutMetrics.
    """
    size = metrics["cssContentSize"]
    width, height = (min(size[side], _LONGEST_SIDE) for side in ("width", "height"))
    clip = {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}
    return {"format": "png", "captureBeyondViewport": True, "clip": clip}
