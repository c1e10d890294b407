"""What dashboards are made of: boards of rows of panels, and Grafana's JSON of them."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

SCHEMA_VERSION = 40
"""Of Grafana 11's dashboards."""
_WIDTH = 24
_SOURCE = {"type": "prometheus", "uid": "${datasource}"}
Lines = dict[str, str]
"""Expressions by their legends; a legend may be of labels: {{site}}."""


@dataclass(frozen=True, slots=True)
class Panel:
    """One picture. `width` is a share of its row."""

    title: str
    lines: Lines
    about: str
    unit: str = "short"
    kind: str = "timeseries"
    stacked: bool = False
    bad: float | None = None
    """From here on it is red: a number's, or a line's."""
    good: bool = False
    """`bad` means: below this it is red."""
    width: int = 1


@dataclass(frozen=True, slots=True)
class Row:
    """Panels beside one another."""

    title: str
    panels: tuple[Panel, ...]
    height: int = 8


@dataclass(frozen=True, slots=True)
class Board:
    """A dashboard; `variables` are labels to choose by, with the metric that has them."""

    title: str
    about: str
    rows: tuple[Row, ...]
    variables: dict[str, str] = field(default_factory=dict)


def row(title: str, *panels: Panel, height: int = 8) -> Row:
    return Row(title, panels, height)


def number(title: str, expression: str, about: str, **more: Any) -> Panel:
    """The latest value, large."""
    return Panel(title, {title: expression}, about, kind="stat", **more)


def bars(title: str, lines: Lines, about: str, **more: Any) -> Panel:
    """The latest values beside one another."""
    return Panel(title, lines, about, kind="bargauge", **more)


def lines(title: str, given: Lines, about: str, **more: Any) -> Panel:
    """Values over time."""
    return Panel(title, given, about, **more)


def quantiles(title: str, buckets: str, about: str, by: str = "", **more: Any) -> Panel:
    """The median and the 99th percentile of a histogram, whose rate of `buckets` is given, by a label or of all."""
    legend, of = (f"{{{{{by}}}}} ", f"{by}, ") if by else ("", "")
    expressions = {
        f"{legend}{name}": f"histogram_quantile({share}, sum by ({of}le) ({buckets}))"
        for name, share in (("p50", 0.5), ("p99", 0.99))
    }
    return Panel(title, expressions, about, unit="s", **more)


def text_of(board: Board) -> str:
    """Grafana's JSON, a panel a line."""
    panels = ",\n  ".join(json.dumps(one, ensure_ascii=False) for one in _placed(board))
    rest = json.dumps(_frame(board), ensure_ascii=False, indent=1)
    return rest.replace('"panels": []', f'"panels": [\n  {panels}\n ]') + "\n"


def _frame(board: Board) -> dict[str, Any]:
    variables = [_chooser(label, metric) for label, metric in board.variables.items()]
    source = {"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus", "hide": 0}
    return {
        "uid": "seine-" + board.title.rpartition(" ")[2].lower(),
        "title": board.title,
        "description": board.about,
        "tags": ["seine"],
        "schemaVersion": SCHEMA_VERSION,
        "version": 1,
        "editable": False,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "timezone": "browser",
        "templating": {"list": [source, *variables]},
        "annotations": {"list": [_alerts()]},
        "links": [{"title": "Seine", "type": "dashboards", "tags": ["seine"], "asDropdown": False, "keepTime": True}],
        "panels": [],
    }


def _chooser(label: str, metric: str) -> dict[str, Any]:
    query = f"label_values({metric}, {label})"
    chosen = {"includeAll": True, "allValue": ".*", "multi": True, "current": {"text": "All", "value": "$__all"}}
    return {"name": label, "type": "query", "datasource": _SOURCE, "query": query, "refresh": 2, "sort": 1, **chosen}


def _alerts() -> dict[str, Any]:
    expression = 'max by (alertname) (ALERTS{alertname=~"Seine.+", alertstate="firing", severity="critical"})'
    shown = {"name": "Critical alerts", "enable": True, "iconColor": "red", "titleFormat": "{{alertname}}"}
    return {**shown, "datasource": _SOURCE, "expr": expression, "step": "60s"}


def _placed(board: Board) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    top = 0
    for one in board.rows:
        place = {"h": 1, "w": _WIDTH, "x": 0, "y": top}
        found.append(
            {
                "id": len(found) + 1,
                "type": "row",
                "title": one.title,
                "collapsed": False,
                "gridPos": place,
                "panels": [],
            }
        )
        shares, taken = sum(panel.width for panel in one.panels), 0
        for panel in one.panels:
            left, right = (_WIDTH * share // shares for share in (taken, taken + panel.width))
            place = {"h": one.height, "w": right - left, "x": left, "y": top + 1}
            found.append({"id": len(found) + 1, **_panel(panel), "gridPos": place})
            taken += panel.width
        top += one.height + 1
    return found


def _panel(panel: Panel) -> dict[str, Any]:
    targets = [
        {"refId": chr(65 + place), "datasource": _SOURCE, "expr": expression, "legendFormat": legend}
        for place, (legend, expression) in enumerate(panel.lines.items())
    ]
    if panel.kind != "timeseries":
        targets = [{**target, "instant": True} for target in targets]
    return {
        "type": panel.kind,
        "title": panel.title,
        "description": panel.about,
        "datasource": _SOURCE,
        "targets": targets,
        "fieldConfig": {"defaults": _defaults(panel), "overrides": []},
        "options": _OPTIONS[panel.kind],
    }


def _defaults(panel: Panel) -> dict[str, Any]:
    colours = ("red", "green") if panel.good else ("green", "red")
    steps: list[dict[str, Any]] = [{"color": colours[0] if panel.bad is not None else "blue", "value": None}]
    if panel.bad is not None:
        steps.append({"color": colours[1], "value": panel.bad})
    found: dict[str, Any] = {"unit": panel.unit, "min": 0, "thresholds": {"mode": "absolute", "steps": steps}}
    if panel.kind == "timeseries":
        stacking = {"mode": "normal" if panel.stacked else "none"}
        custom = {
            "fillOpacity": 30 if panel.stacked else 5,
            "lineWidth": 1,
            "showPoints": "never",
            "stacking": stacking,
        }
        custom["thresholdsStyle"] = {"mode": "off" if panel.bad is None else "line"}
        return {**found, "color": {"mode": "palette-classic"}, "custom": custom}
    return {**found, "color": {"mode": "thresholds"}}


_LATEST = {"calcs": ["lastNotNull"], "fields": "", "values": False}
_OPTIONS: dict[str, dict[str, Any]] = {
    "timeseries": {
        "legend": {"displayMode": "table", "placement": "bottom", "calcs": ["lastNotNull", "max"], "showLegend": True},
        "tooltip": {"mode": "multi", "sort": "desc"},
    },
    "stat": {"reduceOptions": _LATEST, "colorMode": "background", "graphMode": "none", "textMode": "auto"},
    "bargauge": {"reduceOptions": _LATEST, "orientation": "horizontal", "displayMode": "basic", "showUnfilled": True},
}
