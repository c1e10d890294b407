"""Grafana's dashboards: what is committed is what is described, and it aggregates."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from deploy.grafana.boards import BOARDS, FOLDER
from deploy.grafana.panels import text_of
from tests.monitoring import DASHBOARDS, panels

_AGGREGATION = re.compile(r"\b(sum|max|min|avg|count|topk|bottomk|histogram_quantile)\b")


def _load(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text())
    return loaded


def test_what_is_committed_is_what_is_described() -> None:
    assert {path.stem for path in DASHBOARDS} == set(BOARDS)
    for name, board in BOARDS.items():
        assert (FOLDER / f"{name}.json").read_text() == text_of(board), "run: python -m deploy.grafana"


def test_the_overview_begins_with_the_conservation_of_requests() -> None:
    title, *first = _load("overview")["panels"][:6]
    assert (title["type"], title["title"]) == ("row", "Conservation of requests: known = accounted, always")
    assert [panel["title"] for panel in first] == ["Known", "Accounted", "Leak", "Where they are", "Beside it"]
    leak = first[2]["fieldConfig"]["defaults"]["thresholds"]["steps"]
    assert [(step["color"], step["value"]) for step in leak] == [("green", None), ("red", 1)]


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_a_dashboard_can_be_provisioned(path: Path) -> None:
    board = json.loads(path.read_text())
    assert "id" not in board
    assert board["uid"] == f"seine-{path.stem}"
    assert board["schemaVersion"] >= 39
    sources = re.findall(r'"type": "prometheus",\s*"uid": "([^"]+)"', path.read_text())
    assert set(sources) == {"${datasource}"}, "whichever there is: chosen by the first variable"
    assert board["templating"]["list"][0]["type"] == "datasource"
    numbers = [panel["id"] for panel in board["panels"]]
    assert len(numbers) == len(set(numbers))


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_panels_neither_overlap_nor_leave_the_page(path: Path) -> None:
    taken: set[tuple[int, int]] = set()
    for panel in json.loads(path.read_text())["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert at["x"] + at["w"] <= 24
        assert at["w"] >= 3
        assert not cells & taken, panel["title"]
        taken |= cells


def test_panels_aggregate_and_say_what_they_show() -> None:
    for board, panel in panels():
        where = f"{board}: {panel['title']}"
        assert panel["description"], where
        for target in panel["targets"]:
            expression = target["expr"]
            assert _AGGREGATION.search(expression), where
            assert "instance" not in expression, f"{where}: a line for each worker"
            shown = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
            assert all(re.search(rf"\b{label}\b", expression) for label in shown), f"{where}: a legend of no label"
