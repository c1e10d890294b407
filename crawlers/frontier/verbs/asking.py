"""What the verbs share: exit codes, a question to the operator, an answer as text or JSON."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

from crawlers.exceptions import UserError
from crawlers.frontier.display import put

if TYPE_CHECKING:
    import argparse

    from rich.console import RenderableType

DONE, NO_ANSWER = 0, 1


def is_confirmed(question: str, opts: argparse.Namespace) -> bool:
    """Whether the operator wants it. UserError where there is nobody to ask."""
    if opts.yes:
        return True
    if not sys.stdin.isatty():
        raise UserError(f"{question} Add --yes, as there is no terminal to ask on")
    return input(f"{question} [y/N] ").strip().lower() in ("y", "yes")


def show(renderable: RenderableType, told: dict[str, Any], opts: argparse.Namespace) -> None:
    """The answer, or what it tells as one JSON object."""
    if opts.json:
        print(json.dumps(told))
    else:
        put(renderable)
