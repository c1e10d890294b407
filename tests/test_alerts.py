"""Prometheus's rules: each alert fires when it should and not before, by series that somebody makes."""

from __future__ import annotations

import os
import re
import secrets
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

from tests.fleet import links
from tests.letters import SITE, product
from tests.monitoring import (
    JMX,
    KUBE,
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
from tests.servers.prometheus import Prometheus
from tests.servers.redis import RedisServer
from tests.servers.web import WebServer
from tests.status import StatusAt
from tests.support import ROOT, Seine, own_topics

needs_promtool = pytest.mark.skipif(
    not is_installed() and not os.environ.get("CI"),
    reason="promtool is not installed: apt-get install prometheus, as .ci/run does",
)
RUNBOOK = '{{ or $externalLabels.runbooks "docs/runbooks" }}/'
ALERTS = alerts()


# --- What they are made of


@pytest.fixture(scope="module")
def served(
    tmp_path_factory: pytest.TempPathFactory, kafka_env: dict[str, str], redis_server: RedisServer
) -> Iterator[dict[str, int]]:
    """The ports of each kind of process while it works: a worker, `frontier serve`, the scheduler, the exporter."""
    folder = tmp_path_factory.mktemp("served")
    with WebServer({"/": links("/a", "/b"), "/a": product("a"), "/b": product("b")}) as shop, ExitStack() as stack:
        (folder / "shop.toml").write_text(SITE.format(domain=shop.domain, url=shop.url, concurrency=8))
        (folder / "crontab").write_text("@reboot deploy/cron/run once true\n0 2 * * * deploy/cron/run nightly true\n")
        frontier = {"REDIS_URL": redis_server.url, "FRONTIER_NAMESPACE": f"test-{secrets.token_hex(4)}"}
        own = {"SITES_DIR": str(folder), "SCHEDULE_DIR": str(folder / "schedules"), "FRONTIER_WAIT": "1"}
        env = Seine(folder, {**kafka_env, **own_topics(), **frontier, **own}).env

        def start(*command: str) -> int:
            port = free_port()
            process = subprocess.Popen(
                [sys.executable, "-m", *command, *(["--port", str(port)] if command[0] == "deploy.exporter" else [])],
                cwd=ROOT,
                env={**env, "STATUS_PORT": str(port), "ROBOTSTXT_OBEY": "0"},
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            stack.callback(process.wait)
            stack.callback(process.kill)
            return port

        ports = {
            "worker": start("scrapy", "crawl", "product_spider", "-a", "sites=shop"),
            "status": start("scrapy", "frontier", "serve"),
            "scheduler": start("deploy.cron", str(folder / "crontab")),
            "exporter": start("deploy.exporter", "--interval", "1"),
        }
        for port in ports.values():
            StatusAt(port).wait()
        until(lambda: 'seine_site_items_total{fate="acknowledged"' in told(ports["worker"]), "no product is told of")
        until(lambda: 'last_exit_code{schedule="once"}' in told(ports["scheduler"]), "no run is told of")
        until(lambda: "seine_consumer_lag_seconds" in told(ports["exporter"]), "no lag is told of")
        yield ports


def told(port: int) -> str:
    """What /metrics answers there."""
    return requests.get(f"http://127.0.0.1:{port}/metrics", timeout=30).text


def test_all_that_rules_and_dashboards_ask_for_is_made_by_somebody(served: dict[str, int]) -> None:
    made = {name for port in served.values() for name in families(told(port))}
    made |= recorded() | set(JMX) | set(PROMETHEUS) | set(KUBE)
    missing = {(where, name) for where, text in expressions().items() for name in metrics_of(text) - made}
    assert not missing


@needs_promtool
def test_a_prometheus_that_scrapes_them_answers_every_panel_and_evaluates_every_rule(
    served: dict[str, int], tmp_path: Path
) -> None:
    with Prometheus(tmp_path, served, RULES) as prometheus:
        until(lambda: len(prometheus.query("up == 1")) == len(served), "not all are scraped")
        until(lambda: prometheus.query("rate(phase_le:seine_phase_seconds_bucket:rate5m[1m])"), "no rate of a rate")
        assert [rule["lastError"] for rule in prometheus.rules() if rule["health"] != "ok"] == []
        answers = {where: prometheus.query(filled(text)) for where, text in expressions().items()}
        firing = {one["metric"]["alertname"] for one in prometheus.query('ALERTS{alertstate="firing"}')}
    [known], [accounted], [leak] = (answers[f"overview: {name} A"] for name in ("Known", "Accounted", "Leak"))
    assert (known["value"][1], accounted["value"][1], leak["value"][1]) == ("3", "3", "0")
    assert {one["metric"]["term"]: one["value"][1] for one in answers["overview: Where they are A"]}["delivered"] == "2"
    for panel in ("overview: Requests by outcome", "fetching: On the network", "delivery: Produce to report"):
        assert answers[f"{panel} A"], panel
    assert not firing, "nothing is wrong"


def test_what_kafkas_agent_makes_has_the_names_that_are_asked_for() -> None:
    assert {name: jmx_name(bean)[0] for name, bean in JMX.items()} == {name: name for name in JMX}


def test_selectors_and_groupings_name_labels_that_their_series_have() -> None:
    known = labels() | PROMETHEUS | KUBE | {name: jmx_name(bean)[1] for name, bean in JMX.items()}
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
