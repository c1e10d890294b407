"""What the verbs share: exit codes, an answer as text or JSON."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from crawlers.frontier.display import put

if TYPE_CHECKING:
    import argparse

    from rich.console import RenderableType

DONE, NO_ANSWER = 0, 1


def show(renderable: RenderableType, told: dict[str, Any], opts: argparse.Namespace) -> None:
    """The answer, or what it tells as one JSON object."""
    if opts.json:
        print(json.dumps(told))
    else:
        put(renderable)
