"""deploy/k8s: what Kubernetes would refuse, and what it would take and be wrong, in each environment."""

from __future__ import annotations

import json
import re
import runpy
import shutil
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache
from ipaddress import ip_address, ip_network
from pathlib import Path
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import kubernetes_validate
import pytest
import yaml
from cloudcoil.models.keda.v1alpha1 import ScaledObject
from cloudcoil.models.prometheus_operator.v1 import PodMonitor, PrometheusRule
from cronsim import CronSim
from scrapy.settings import Settings

from crawlers.exceptions import UserError
from crawlers.frontier.report import RIGHT
from crawlers.settings_check import check_settings
from crawlers.site_config import load_site
from crawlers.summary import ALARM
from crawlers.version import VERSION
from deploy.prometheus import WRITTEN, text_of_rules
from tests.kustomize import Resource, build, documents, pods
from tests.monitoring import rules
from tests.support import ROOT

K8S = ROOT / "deploy" / "k8s"
ENVIRONMENTS = ("dev", "staging", "production")
OLDEST, NEWEST = "1.30", "1.37"
CUSTOM = {"ScaledObject": ScaledObject, "PodMonitor": PodMonitor, "PrometheusRule": PrometheusRule}
SECRETS = "/run/secrets/seine"
INIT_SECRETS = "/run/secrets/seine-init"
DRAINS = ("FRONTIER_DRAIN_SECONDS", "KAFKA_DRAIN_TIMEOUT", "CLAIM_CHECK_DRAIN_TIMEOUT", "TRACING_DRAIN_TIMEOUT")

OWN = (
    "FRONTIER_NAMESPACE", "KAFKA_TOPIC_PRODUCTS", "KAFKA_TOPIC_DEAD_LETTERS", "KAFKA_TOPIC_PAGES", "KAFKA_TOPIC_LEDGER",
    "CLAIM_CHECK_URL",
)  # fmt: skip


@cache
def _built(environment: str) -> str:
    return json.dumps(build(K8S / "overlays" / environment))


@pytest.fixture(params=ENVIRONMENTS)
def resources(request: pytest.FixtureRequest) -> list[Resource]:
    found: list[Resource] = json.loads(_built(request.param))
    return found


@pytest.fixture(scope="module")
def settings() -> Settings:
    project = Settings()
    project.setmodule("crawlers.settings")
    return project


def of_kind(resources: list[Resource], *kinds: str) -> list[Resource]:
    return [one for one in resources if one["kind"] in kinds]


def containers(resources: list[Resource]) -> Iterator[tuple[Resource, Resource, Resource]]:
    """(owner, pod template, container)."""
    for owner, pod in pods(resources):
        assert "initContainers" not in pod["spec"]
        yield from ((owner, pod, one) for one in pod["spec"]["containers"])


def environment_of(resources: list[Resource], container: Resource) -> dict[str, str]:
    """What the container's process finds in its environment."""
    maps = {one["metadata"]["name"]: one["data"] for one in of_kind(resources, "ConfigMap")}
    found: dict[str, str] = {}
    for source in container["envFrom"]:
        found |= maps[source["configMapRef"]["name"]]
    return found | {one["name"]: one.get("value", "from-the-pod") for one in container.get("env", ())}


def crawls(container: Resource) -> bool:
    return container["args"][:2] == ["scrapy", "crawl"]


# --- Kubernetes' own rules


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
def test_every_resource_is_as_its_schema_says(resources: list[Resource], version: str) -> None:
    for one in resources:
        if one["kind"] not in CUSTOM:
            kubernetes_validate.validate(one, version, strict=True)


def test_every_custom_resource_is_as_its_operator_says(resources: list[Resource]) -> None:
    """What the model does not know is not in what it makes of it."""
    for one in of_kind(resources, *CUSTOM):
        read = CUSTOM[one["kind"]].model_validate(one)
        assert json.loads(read.model_dump_json(by_alias=True, exclude_unset=True)) == one


def test_a_field_that_nobody_knows_would_be_found() -> None:
    for one in json.loads(_built("production")):
        one["spec" if "spec" in one else "metadata"]["unheard"] = True
        if one["kind"] in CUSTOM:
            read = CUSTOM[one["kind"]].model_validate(one)
            assert json.loads(read.model_dump_json(by_alias=True, exclude_unset=True)) != one
        else:
            with pytest.raises(kubernetes_validate.ValidationError):
                kubernetes_validate.validate(one, OLDEST, strict=True)


@pytest.mark.skipif(
    not (shutil.which("kustomize") or shutil.which("kubectl")), reason="no kustomize to compare with: .ci/run has one"
)
@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_kustomize_makes_the_same_of_it(environment: str) -> None:
    folder = K8S / "overlays" / environment
    command = ["kustomize", "build"] if shutil.which("kustomize") else ["kubectl", "kustomize"]
    done = subprocess.run([*command, str(folder)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    text = re.sub(r"\b(seine-(?:browser-|prepare-)?(?:settings|sites))-[a-z0-9]{10}\b", r"\1", done.stdout)
    theirs = {(one["kind"], one["metadata"]["name"]): one for one in yaml.safe_load_all(text)}
    ours = {(one["kind"], one["metadata"]["name"]): one for one in json.loads(_built(environment))}
    assert sorted(theirs) == sorted(ours)
    for key, one in theirs.items():
        assert one == ours[key]


def test_no_file_is_left_over() -> None:
    """Each is named by a kustomization."""
    for path in K8S.rglob("kustomization.yaml"):
        text = yaml.safe_load(path.read_text())
        named = {*text.get("resources", ()), *(one["path"] for one in text.get("patches", ()))}
        for generator in text.get("configMapGenerator", ()):
            named |= {*generator.get("envs", ()), *generator.get("files", ())}
        there = {str(one.relative_to(path.parent)) for one in path.parent.rglob("*") if one.is_file()}
        assert there - {"kustomization.yaml"} == {name for name in named if not name.startswith("..")}


# --- What belongs together


def test_selectors_find_their_pods_and_only_those(resources: list[Resource]) -> None:
    labels = {owner["metadata"]["name"]: pod["metadata"]["labels"] for owner, pod in pods(resources)}
    for one in of_kind(resources, "Deployment", "PodDisruptionBudget", "Service"):
        selector = one["spec"]["selector"]
        assert _selected(selector.get("matchLabels", selector), labels) == [one["metadata"]["name"]]
    for one in of_kind(resources, "NetworkPolicy"):
        selector = one["spec"]["podSelector"].get("matchLabels", {})
        assert _selected(selector, labels), one["metadata"]["name"]
    for one in of_kind(resources, "PodMonitor"):
        assert _selected(one["spec"]["selector"]["matchLabels"], labels) == sorted(labels)
    crawling = sorted(owner["metadata"]["name"] for owner, _, one in containers(resources) if crawls(one))
    assert _selected({"seine/crawls": "true"}, labels) == crawling


def _selected(selector: dict[str, str], pods_labels: dict[str, dict[str, str]]) -> list[str]:
    return sorted(name for name, labels in pods_labels.items() if selector.items() <= labels.items())


def test_one_autoscaler_at_most_pulls_at_a_deployment_which_names_no_number_itself(resources: list[Resource]) -> None:
    deployments = {one["metadata"]["name"]: one for one in of_kind(resources, "Deployment")}
    targets = [one["spec"]["scaleTargetRef"]["name"] for one in of_kind(resources, *_SCALERS)]
    assert targets == ["worker"]
    assert "replicas" not in deployments["worker"]["spec"]


_SCALERS = ("HorizontalPodAutoscaler", "ScaledObject")


def test_what_scales_by_is_a_metric_of_the_fleet() -> None:
    source = (ROOT / "crawlers" / "status" / "fleet_metrics.py").read_text()
    [scaler] = of_kind(json.loads(_built("production")), "ScaledObject")
    query = scaler["spec"]["triggers"][0]["metadata"]["query"]
    [name] = re.findall(r"seine_\w+", query)
    assert f'namespace="{scaler["metadata"]["namespace"]}"' in query
    assert f'"{name}"' in source
    assert {"pending", "delayed", "leased"} <= set(RIGHT)


def test_alerts_are_those_of_the_rules_and_know_the_jobs_of_pods() -> None:
    assert WRITTEN.read_text() == text_of_rules(), "run: python -m deploy.prometheus"
    production = json.loads(_built("production"))
    [found] = of_kind(production, "PrometheusRule")
    assert [rule for group in found["spec"]["groups"] for rule in group["rules"]] == rules()
    [monitor] = of_kind(production, "PodMonitor")
    stand = of_kind(production, "Deployment")
    jobs = {pod["metadata"]["labels"][monitor["spec"]["jobLabel"]] for _, pod in pods(stand)}
    [down] = [rule["expr"] for rule in rules() if rule.get("alert") == "SeineTargetDown"]
    [known] = re.findall(r'job=~"([^"]+)"', down)
    assert {job for job in jobs if not re.fullmatch(known, job)} == set()


def test_the_alert_of_missed_runs_looks_at_every_environment() -> None:
    [looked] = {one for rule in rules() for one in re.findall(r'kube_\w+{namespace=~"([^"]+)"}', rule["expr"])}
    for environment in ENVIRONMENTS:
        for job in of_kind(json.loads(_built(environment)), "CronJob"):
            assert re.fullmatch(looked, job["metadata"]["namespace"])


def test_volumes_and_references_are_there(resources: list[Resource]) -> None:
    maps = {one["metadata"]["name"] for one in of_kind(resources, "ConfigMap")}
    accounts = {one["metadata"]["name"] for one in of_kind(resources, "ServiceAccount")}
    for _, pod, one in containers(resources):
        spec = pod["spec"]
        assert spec["serviceAccountName"] in accounts
        volumes = {volume["name"]: volume for volume in spec["volumes"]}
        assert {mount["name"] for mount in one["volumeMounts"]} == set(volumes)
        for volume in volumes.values():
            assert volume.get("configMap", {"name": "seine-settings"})["name"] in maps
            assert volume.get("secret", {"secretName": "seine"})["secretName"] in ("seine", "seine-init")
        folders = [mount["mountPath"] for mount in one["volumeMounts"]]
        assert folders[:2] == ["/tmp", SECRETS]
        ports = {port["name"] for port in one.get("ports", ())}
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            if probe in one:
                assert one[probe]["httpGet"]["port"] in ports
                path = "/readyz" if probe == "readinessProbe" else "/healthz"
                assert one[probe]["httpGet"]["path"] == path


def test_what_stays_is_probed(resources: list[Resource]) -> None:
    for owner, _, one in containers(of_kind(resources, "Deployment")):
        assert {"startupProbe", "livenessProbe", "readinessProbe"} <= set(one), owner["metadata"]["name"]
        assert one["ports"] == [{"name": "status", "containerPort": 9410}]


def test_no_namespace_is_left_to_chance(resources: list[Resource]) -> None:
    [namespace] = of_kind(resources, "Namespace")
    others = [one for one in resources if one is not namespace]
    assert {one["metadata"]["namespace"] for one in others} == {namespace["metadata"]["name"]}


# --- Images


def test_images_are_pinned_to_the_projects_version(resources: list[Resource]) -> None:
    images = {one["image"] for _, _, one in containers(resources)}
    assert images <= {f"seine:{VERSION}", f"seine-browser:{VERSION}"}


# --- Settings


def test_every_setting_is_one_and_secrets_are_files(resources: list[Resource], settings: Settings) -> None:
    contract = settings["SETTINGS_CONTRACT"]
    for _, _, one in containers(resources):
        for name, value in environment_of(resources, one).items():
            if name.endswith("_FILE") and name not in contract:
                assert value.rpartition("/")[0] in (SECRETS, INIT_SECRETS), name
                name = name.removesuffix("_FILE")
            else:
                assert not re.search(r"PASSWORD|TOKEN|SECRET|REDIS_URL", name), f"{name} is a secret"
            assert name in contract, name
    assert not of_kind(resources, "Secret")


def test_every_pods_settings_pass_the_check_of_a_start(
    resources: list[Resource], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("status_token", "kafka_password", "registry_password", "ca.pem"):
        (tmp_path / name).write_text("x")
    (tmp_path / "redis_url").write_text("redis://127.0.0.1:6379/0")
    for _, _, one in containers(resources):
        with monkeypatch.context() as patched:
            for name, value in environment_of(resources, one).items():
                patched.setenv(name, re.sub(rf"{SECRETS}(-init)?(?=/)", str(tmp_path), value))
            read = runpy.run_path(str(ROOT / "crawlers" / "settings.py"))
        check_settings(Settings({name: value for name, value in read.items() if name.isupper()}))


@pytest.mark.parametrize("name", OWN)
def test_no_two_environments_write_to_one_place(name: str, settings: Settings) -> None:
    """Their services may be the same."""
    places = []
    for environment in ENVIRONMENTS:
        found = json.loads(_built(environment))
        [place] = {environment_of(found, one).get(name, settings[name]) for _, _, one in containers(found)}
        places.append(place)
    assert len(set(places)) == len(ENVIRONMENTS), places


def test_who_prepares_is_another_user_whose_passwords_no_other_pod_has(resources: list[Resource]) -> None:
    for owner, pod, one in containers(resources):
        env = environment_of(resources, one)
        secrets = {volume["secret"]["secretName"] for volume in pod["spec"]["volumes"] if "secret" in volume}
        prepares = owner["metadata"]["name"] == "prepare"
        assert secrets == ({"seine", "seine-init"} if prepares else {"seine"})
        assert env.get("KAFKA_CREATE_TOPICS") == ("1" if prepares else None)
        for service, password in (("KAFKA_SASL", "kafka_password"), ("SCHEMA_REGISTRY", "registry_password")):
            if f"{service}_USERNAME" in env:
                folder = INIT_SECRETS if prepares else SECRETS
                assert env[f"{service}_USERNAME"] == ("seine-init" if prepares else "seine-worker")
                assert env[f"{service}_PASSWORD_FILE"] == f"{folder}/{password}"


def test_the_sites_are_sites(resources: list[Resource], tmp_path: Path) -> None:
    for one in of_kind(resources, "ConfigMap"):
        if one["metadata"]["name"].endswith("-sites"):
            folder = tmp_path / one["metadata"]["name"]
            folder.mkdir()
            for name, text in one["data"].items():
                (folder / name).write_text(text)
            assert all(load_site(path).name == path.stem for path in folder.iterdir())


# --- Life and death


def test_what_crawls_has_longer_to_end_than_it_may_take(resources: list[Resource], settings: Settings) -> None:
    for _, pod, one in containers(resources):
        if crawls(one):
            env = environment_of(resources, one)
            drain = sum(float(env.get(name, settings[name])) for name in DRAINS)
            assert pod["spec"]["terminationGracePeriodSeconds"] > drain


def test_standing_workers_open_nothing_and_schedules_end(resources: list[Resource]) -> None:
    for owner, _, one in containers(resources):
        env = environment_of(resources, one)
        if crawls(one):
            stands = owner["kind"] == "Deployment"
            assert (env.get("FRONTIER_WAIT"), env.get("CRAWL_OPEN")) == (("1", "0") if stands else (None, None))


def test_schedules_are_as_cron_has_them_and_overlap_as_crawls_do(resources: list[Resource]) -> None:
    jobs = of_kind(resources, "CronJob")
    assert jobs
    for job in jobs:
        spec = job["spec"]
        zone = ZoneInfo(spec["timeZone"])
        assert next(CronSim(spec["schedule"], datetime(2026, 1, 1, tzinfo=UTC).astimezone(zone)))
        [(_, _, one)] = containers([job])
        overlap = environment_of(resources, one)["CRAWL_OVERLAP"]
        assert spec["concurrencyPolicy"] == {"skip": "Forbid", "join": "Allow"}[overlap]
        assert spec["jobTemplate"]["spec"]["activeDeadlineSeconds"] > 0


def test_a_crawl_that_ended_with_a_mistake_or_a_monitors_judgement_is_not_begun_again(
    resources: list[Resource],
) -> None:
    """By a Job; 1, 124 and 137 leave an open crawl, with which the next pod goes on."""
    for job in of_kind(resources, "CronJob"):
        rules = job["spec"]["jobTemplate"]["spec"]["podFailurePolicy"]["rules"]
        [codes] = [one["onExitCodes"] for one in rules if one["action"] == "FailJob"]
        assert codes == {"operator": "In", "values": [UserError.exit_code, ALARM]}


def test_not_all_workers_leave_at_once(resources: list[Resource]) -> None:
    budgets = {one["metadata"]["name"]: one["spec"] for one in of_kind(resources, "PodDisruptionBudget")}
    workers = [
        owner["metadata"]["name"] for owner, _, one in containers(of_kind(resources, "Deployment")) if crawls(one)
    ]
    assert sorted(budgets) == sorted(workers)
    assert all(spec["maxUnavailable"] == 1 for spec in budgets.values())


# --- Security


def test_pods_may_do_nothing_that_they_need_not(resources: list[Resource]) -> None:
    [account] = of_kind(resources, "ServiceAccount")
    assert account["automountServiceAccountToken"] is False
    [namespace] = of_kind(resources, "Namespace")
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    for _, pod, one in containers(resources):
        spec = pod["spec"]
        assert spec["automountServiceAccountToken"] is False
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(spec)
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["runAsUser"] == 10001
        seccomp = spec["securityContext"]["seccompProfile"]["type"]
        assert seccomp == ("Localhost" if "browser" in one["image"] else "RuntimeDefault")
        assert one["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert "memory" in one["resources"]["limits"]
        assert {"cpu", "memory"} <= set(one["resources"]["requests"])
        kinds = {kind for volume in spec["volumes"] for kind in volume if kind != "name"}
        assert kinds <= {"emptyDir", "secret", "configMap"}
        mounts = {mount["mountPath"]: mount.get("readOnly", False) for mount in one["volumeMounts"]}
        assert [path for path, read_only in mounts.items() if not read_only] == ["/tmp"]


def test_nothing_goes_in_or_out_but_what_is_named(resources: list[Resource]) -> None:
    policies = {one["metadata"]["name"]: one["spec"] for one in of_kind(resources, "NetworkPolicy")}
    assert policies["deny"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    [only] = policies["monitoring"]["ingress"]
    assert only["ports"] == [{"protocol": "TCP", "port": 9410}]
    assert [name for name, spec in policies.items() if "ingress" in spec] == ["monitoring"]


@pytest.mark.parametrize(
    ("address", "open_"),
    [
        ("1.1.1.1", True), ("93.184.216.34", True), ("2606:4700::1111", True),
        ("10.1.2.3", False), ("172.16.0.1", False), ("172.31.255.255", False), ("192.168.1.1", False),
        ("127.0.0.1", False), ("169.254.169.254", False), ("100.64.0.1", False), ("0.0.0.0", False),
        ("224.0.0.1", False), ("255.255.255.255", False), ("::1", False), ("fd00::1", False), ("fe80::1", False),
    ],
)  # fmt: skip
def test_crawlers_reach_the_public_internet_alone(resources: list[Resource], address: str, open_: bool) -> None:
    [policy] = [one for one in of_kind(resources, "NetworkPolicy") if one["metadata"]["name"] == "internet"]
    [rule] = policy["spec"]["egress"]
    blocks = [target["ipBlock"] for target in rule["to"]]
    found = any(
        ip_address(address) in ip_network(block["cidr"])
        and not any(ip_address(address) in ip_network(hole) for hole in block.get("except", ()))
        for block in blocks
    )
    assert found is open_
    assert {port["port"] for port in rule["ports"]} == {80, 443}


def test_every_service_that_settings_name_may_be_reached(resources: list[Resource]) -> None:
    [policy] = [one for one in of_kind(resources, "NetworkPolicy") if one["metadata"]["name"] == "services"]
    rule = policy["spec"]["egress"][1]
    namespace = rule["to"][0]["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"]
    ports = {port["port"] for port in rule["ports"]}
    [env] = [one["data"] for one in of_kind(resources, "ConfigMap") if one["metadata"]["name"] == "seine-settings"]
    brokers = [f"kafka://{one}" for one in env["KAFKA_BOOTSTRAP_SERVERS"].split(",")]
    for url in (*brokers, env["SCHEMA_REGISTRY_URL"], env["CLAIM_CHECK_URL"]):
        parts = urlsplit(url)
        assert parts.hostname is not None
        assert parts.hostname.split(".")[1:] == [namespace, "svc"]
        assert parts.port in ports
    dns = policy["spec"]["egress"][0]
    assert {(port["protocol"], port["port"]) for port in dns["ports"]} == {("UDP", 53), ("TCP", 53)}


def test_every_yaml_file_can_be_read() -> None:
    for path in K8S.rglob("*.yaml"):
        for document in documents(path):
            assert isinstance(document, dict), path
