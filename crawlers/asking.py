"""A question to the operator, before what cannot be undone."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from crawlers.exceptions import UserError

if TYPE_CHECKING:
    import argparse


def is_confirmed(question: str, opts: argparse.Namespace) -> bool:
    """Whether the operator wants it: `--yes`, or a yes to `question`. UserError where there is nobody to ask."""
    if opts.yes:
        return True
    if not sys.stdin.isatty():
        raise UserError(f"{question} Nothing was done: add --yes, as there is no terminal to ask on")
    return input(f"{question} [y/N] ").strip().lower() in ("y", "yes")
