"""The rules, dashboards and runbooks of this checkout, and the series that somebody makes."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

import yaml

from crawlers import metrics
from tests.support import ROOT

RULES = sorted((ROOT / "deploy" / "prometheus" / "rules").glob("*.yml"))
UNIT_TESTS = sorted((ROOT / "deploy" / "prometheus" / "tests").glob("*.yml"))
DASHBOARDS = sorted((ROOT / "deploy" / "grafana" / "dashboards").glob("*.json"))
RUNBOOKS = ROOT / "docs" / "runbooks"

PROMETHEUS = {"up": {"job", "instance"}, "ALERTS": {"alertname", "alertstate", "severity"}}
"""What Prometheus makes itself, with labels."""
KUBE = {
    "kube_cronjob_next_schedule_time": {"namespace", "cronjob"},
    "kube_cronjob_status_active": {"namespace", "cronjob"},
}
"""What kube-state-metrics makes, with labels."""
TARGET = {"job", "instance"}
"""Labels of all that is scraped."""
JMX = {
    "kafka_server_replicamanager_underreplicatedpartitions": (
        "kafka.server<type=ReplicaManager, name=UnderReplicatedPartitions><>Value"
    ),
    "kafka_controller_kafkacontroller_offlinepartitionscount": (
        "kafka.controller<type=KafkaController, name=OfflinePartitionsCount><>Value"
    ),
    "kafka_server_brokertopicmetrics_messagesinpersec_total": (
        "kafka.server<type=BrokerTopicMetrics, name=MessagesInPerSec, topic=products><>Count"
    ),
    "kafka_network_request_total_time_ms_99thpercentile": (
        "kafka.network<type=RequestMetrics, name=TotalTimeMs, request=Produce><>99thPercentile"
    ),
    "kafka_server_request_handler_idle_ratio": (
        "kafka.server<type=KafkaRequestHandlerPool, name=RequestHandlerAvgIdlePercent><>OneMinuteRate"
    ),
}
"""What Kafka's JMX agent makes, and of which bean: deploy/compose/kafka/jmx.yml says how."""


@dataclass(frozen=True)
class Alert:
    """One of the rules' alerts."""

    name: str
    rule: dict[str, Any]

    @property
    def page(self) -> str:
        """The file of its runbook: SeineKafkaAway is kafka-away.md."""
        return re.sub(r"(?<=[a-z])(?=[A-Z])", "-", self.name.removeprefix("Seine")).lower() + ".md"


def rules() -> list[dict[str, Any]]:
    groups = [group for path in RULES for group in yaml.safe_load(path.read_text())["groups"]]
    return [rule for group in groups for rule in group["rules"]]


def alerts() -> list[Alert]:
    return [Alert(rule["alert"], rule) for rule in rules() if "alert" in rule]


def recorded() -> set[str]:
    return {rule["record"] for rule in rules() if "record" in rule}


def panels() -> list[tuple[str, dict[str, Any]]]:
    """All but the rows, with the names of their dashboards."""
    boards = ((path.stem, json.loads(path.read_text())) for path in DASHBOARDS)
    return [(name, panel) for name, board in boards for panel in board["panels"] if panel["type"] != "row"]


def expressions() -> dict[str, str]:
    """Where each stands -> what it is."""
    found = {f"rule {rule.get('alert') or rule.get('record')}": str(rule["expr"]) for rule in rules()}
    for board, panel in panels():
        found |= {f"{board}: {panel['title']} {one['refId']}": one["expr"] for one in panel["targets"]}
    return found


def families(text: str) -> set[str]:
    """The series that an answer of /metrics tells of, those that have no sample yet too."""
    found = set()
    for name, kind in re.findall(r"^# TYPE (\S+) (\w+)$", text, re.MULTILINE):
        found |= {name + end for end in ("_bucket", "_count", "_sum")} if kind == "histogram" else {name}
    return found


def labels() -> dict[str, set[str]]:
    """Of each series that a worker makes with labels of its own, as crawlers/metrics.py declares them."""
    declared = (one for one in vars(metrics).values() if hasattr(one, "_labelnames"))
    return {metric: set(one._labelnames) for one in declared for metric in families(_typed(one))}


def _typed(metric: Any) -> str:
    [family] = metric.describe()
    return f"# TYPE {family.name}{'_total' if family.type == 'counter' else ''} {family.type}"


def jmx_name(bean: str) -> tuple[str, set[str]]:
    """What the agent makes of a bean's attribute by the first pattern that matches it: a name, and labels."""
    config = yaml.safe_load((ROOT / "deploy" / "compose" / "kafka" / "jmx.yml").read_text())
    for rule in config["rules"]:
        if match := re.match(rule["pattern"], bean):
            name = re.sub(r"\$(\d)", lambda digit: match[int(digit[1])], rule["name"])
            return re.sub(r"[^a-zA-Z0-9_]", "_", name).lower(), set(rule.get("labels", {}))
    return "", set()
