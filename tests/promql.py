"""What PromQL expressions name, and promtool."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

_TEXT = r'"(?:[^"\\]|\\.)*"|\'(?:[^\'\\]|\\.)*\''
_GROUPING = re.compile(r"\b(by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)")
_SELECTOR = re.compile(rf"([a-zA-Z_:][\w:]*)\{{((?:{_TEXT}|[^}}\"'])*)\}}")
_WORD = re.compile(r"(?<![\w:.$])[a-zA-Z_:][\w:]*(?!\s*\(|[\w:])")
_KEYWORDS = {"and", "or", "unless", "bool", "offset"}
VARIABLES = {"$__rate_interval": "5m", "$spider": ".*", "$site": ".*"}
"""Grafana's, and what may stand for them."""


def filled(expression: str) -> str:
    """Without Grafana's variables."""
    for name, value in VARIABLES.items():
        expression = expression.replace(name, value)
    assert "$" not in expression, expression
    return expression


def metrics_of(expression: str) -> set[str]:
    """The names of all series that it asks for."""
    bare = _GROUPING.sub(" ", re.sub(_TEXT, "", expression))
    bare = re.sub(r"\[[^]]*\]|\{[^}]*\}", "", bare)
    return set(_WORD.findall(bare)) - _KEYWORDS


def labels_of(expression: str) -> dict[str, set[str]]:
    """The labels that its selectors match, by metric."""
    found: dict[str, set[str]] = {}
    for metric, matchers in _SELECTOR.findall(expression):
        found.setdefault(metric, set()).update(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", re.sub(_TEXT, "", matchers)))
    return found


def groupings_of(expression: str) -> set[str]:
    """The labels that it groups by."""
    return {
        label.strip() for _, labels in _GROUPING.findall(expression) for label in labels.split(",") if label.strip()
    }


def is_installed() -> bool:
    return shutil.which("promtool") is not None


def promtool(*arguments: str | Path) -> str:
    """What it prints. Fails as it does."""
    done = subprocess.run(["promtool", *map(str, arguments)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def write_rules(path: Path, expressions: Iterable[str]) -> Path:
    """A file of rules that record them, for promtool to read."""
    rules: list[dict[str, Any]] = [{"record": f"r{place}", "expr": one} for place, one in enumerate(expressions)]
    path.write_text(yaml.safe_dump({"groups": [{"name": "expressions", "rules": rules}]}))
    return path
