"""Prometheus's rules: each alert fires when it should and not before, by series that somebody makes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

from tests.letters import Letters, product
from tests.monitoring import (
    JMX,
    PROMETHEUS,
    RULES,
    TARGET,
    UNIT_TESTS,
    Alert,
    alerts,
    expressions,
    families,
    jmx_name,
    labels,
    recorded,
)
from tests.polling import until
from tests.promql import filled, groupings_of, is_installed, labels_of, metrics_of, promtool, write_rules
from tests.servers.ports import free_port
from tests.servers.web import WebServer
from tests.status import StatusAt
from tests.support import ROOT, Seine

needs_promtool = pytest.mark.skipif(
    not is_installed() and not os.environ.get("CI"),
    reason="promtool is not installed: apt-get install prometheus, as .ci/run does",
)
RUNBOOK = '{{ or $externalLabels.runbooks "docs/runbooks" }}/'
ALERTS = alerts()


# --- What they are made of


@pytest.fixture
def answers(letters: Letters, web: Callable[..., WebServer], tmp_path: Path) -> dict[str, str]:
    """What /metrics of each kind of process answers: a worker, `frontier serve`, the scheduler, the exporter."""
    seine, site = letters.seine, letters.site(web({"/": product("a")}))
    ports = {name: free_port() for name in ("worker", "fleet", "scheduler", "exporter")}
    serving = {name: ("-s", f"STATUS_PORT={port}") for name, port in ports.items()}
    waiting = ("-s", "FRONTIER_WAIT=1", "-s", "ROBOTSTXT_OBEY=0")
    seine.start("crawl", "product_spider", "-a", f"sites={site}", *waiting, *serving["worker"])
    seine.start("frontier", "serve", *serving["fleet"])
    (tmp_path / "crontab").write_text("@reboot deploy/cron/run once true\n0 2 * * * deploy/cron/run nightly true\n")
    schedules = {"SCHEDULE_DIR": str(tmp_path / "schedules"), "STATUS_PORT": str(ports["scheduler"])}
    start(seine, "deploy.cron", str(tmp_path / "crontab"), **schedules)
    start(seine, "deploy.exporter", "--port", str(ports["exporter"]), "--interval", "1")
    for port in ports.values():
        StatusAt(port).wait()
    told = {name: lambda port=port: requests.get(f"http://127.0.0.1:{port}/metrics", timeout=30).text  # type: ignore[misc]
            for name, port in ports.items()}  # fmt: skip
    until(lambda: "seine_frontier_known" in told["worker"](), "no crawl is told of")
    until(lambda: 'last_exit_code{schedule="once"}' in told["scheduler"](), "no run is told of")
    until(lambda: "seine_consumer_lag_seconds" in told["exporter"](), "no lag is told of")
    return {name: ask() for name, ask in told.items()}


def start(seine: Seine, module: str, *arguments: str, **env: str) -> None:
    """A program of deploy/, which does not outlive its test."""
    command = [sys.executable, "-m", module, *arguments]
    null = subprocess.DEVNULL
    Seine.started.append(
        subprocess.Popen(command, cwd=ROOT, env={**seine.env, **env}, stdout=null, stderr=null, text=True)
    )


def test_all_that_rules_and_dashboards_ask_for_is_made_by_somebody(answers: dict[str, str]) -> None:
    made = {name for text in answers.values() for name in families(text)} | recorded() | set(JMX) | set(PROMETHEUS)
    missing = {(where, name) for where, text in expressions().items() for name in metrics_of(text) - made}
    assert not missing
    assert "seine_schedule_last_exit_code" in families(answers["scheduler"])


def test_what_kafkas_agent_makes_has_the_names_that_are_asked_for() -> None:
    assert {name: jmx_name(bean)[0] for name, bean in JMX.items()} == {name: name for name in JMX}


def test_selectors_and_groupings_name_labels_that_their_series_have() -> None:
    known = labels() | PROMETHEUS | {name: jmx_name(bean)[1] for name, bean in JMX.items()}
    for where, expression in expressions().items():
        for metric, used in labels_of(expression).items():
            if metric in known:
                assert used <= known[metric] | TARGET, (where, metric)
        asked = metrics_of(expression)
        if asked <= known.keys():
            there = {label for metric in asked for label in known[metric]} | TARGET | {"le"}
            assert groupings_of(expression) <= there, where


@needs_promtool
def test_every_expression_is_promql(tmp_path: Path) -> None:
    texts = [filled(text) for text in expressions().values()]
    told = promtool("check", "rules", write_rules(tmp_path / "rules.yml", texts))
    assert f"{len(texts)} rules found" in told


# --- Alerts


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.name)
def test_an_alert_says_what_it_is_and_where_to_read_on(alert: Alert) -> None:
    assert re.fullmatch(r"Seine[A-Z]\w+", alert.name)
    assert alert.rule["labels"]["severity"] in ("critical", "warning")
    notes = alert.rule["annotations"]
    assert notes["summary"]
    assert notes["description"]
    assert notes["runbook_url"] == RUNBOOK + alert.page
    assert "instance" not in groupings_of(str(alert.rule["expr"])), "an alert is of the fleet, not one for each worker"


def test_names_of_alerts_are_their_own() -> None:
    names = [alert.name for alert in ALERTS]
    assert len(names) == len(set(names))


@needs_promtool
@pytest.mark.parametrize("path", RULES, ids=lambda path: path.stem)
def test_rules_are_as_prometheus_wants_them(path: Path) -> None:
    assert "SUCCESS" in promtool("check", "rules", path)


@needs_promtool
@pytest.mark.parametrize("path", UNIT_TESTS, ids=lambda path: path.stem)
def test_alerts_fire_when_they_should_and_not_before(path: Path) -> None:
    assert "SUCCESS" in promtool("test", "rules", path)


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.name)
def test_every_alert_is_seen_to_fire_and_to_be_silent(alert: Alert) -> None:
    """In some moment of promtool's tests that looks at all alerts of its rules, by `ALERTS`."""
    [rules] = [path for path in RULES if f"alert: {alert.name}\n" in path.read_text()]
    looks = _looks(ROOT / "deploy" / "prometheus" / "tests" / rules.name)
    wanted = f'alertname="{alert.name}"'
    assert [1 for found in looks if wanted in found]
    assert [1 for found in looks if wanted not in found]


def _looks(path: Path) -> list[str]:
    tests: list[dict[str, Any]] = yaml.safe_load(path.read_text())["tests"]
    every = [look for test in tests for look in test.get("promql_expr_test", []) if "ALERTS" in look["expr"]]
    return [" ".join(sample["labels"] for sample in look["exp_samples"]) for look in every]
