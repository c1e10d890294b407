"""The compose files as they are written; `make test-compose` runs them."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography import x509
from scrapy.settings import Settings
from scrapy.utils.project import get_project_settings

from crawlers.site_config import load_sites
from deploy.healthcheck import is_healthy
from deploy.prepare.rights import rights
from tests.servers.web import Page
from tests.support import ROOT

DEPLOY = ROOT / "deploy"
IMAGES = {
    "redis:7.4-bookworm",
    "nginx:1.27",
    "apicurio/apicurio-registry:3.3.3",
    "prom/prometheus:v2.53.0",
    "prom/alertmanager:v0.27.0",
    "grafana/grafana:11.4.0",
}
OWN_IMAGES = {"seine", "seine-browser", "seine-kafka", "seine-hdfs"}
BASES = {"python:3.11-slim-bookworm", "apache/kafka:4.2.1", "apache/hadoop:3.5.0"}
ONE_SHOTS = {"init", "init-kafka"}
CRAWLS = {"worker", "browser-worker", "scheduler"}
SCRIPTS = (
    "make-secrets",
    "make-certificates",
    "redis/start",
    "redis/ping",
    "redis/ping-secure",
    "registry/start-secure",
    "kafka/start-secure",
)


class Loader(yaml.SafeLoader):
    """Reads compose's own tags, too: what follows them."""


def _untagged(loader: Loader, _tag: str, node: yaml.Node) -> Any:
    return loader.construct_sequence(node) if isinstance(node, yaml.SequenceNode) else loader.construct_mapping(node)


Loader.add_multi_constructor("!", _untagged)


def read(name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.load((DEPLOY / name).read_text(), Loader)
    return found


BASE, SECURE = read("docker-compose.yml"), read("docker-compose.secure.yml")
SERVICES: dict[str, dict[str, Any]] = {
    **BASE["services"],
    "registry-gate": SECURE["services"]["registry-gate"],
}
FILES = pytest.mark.parametrize("file", [BASE, SECURE], ids=["base", "secure"])
EACH = pytest.mark.parametrize("name", sorted(SERVICES))


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the scripts make."""
    folder = tmp_path_factory.mktemp("secrets")
    make(folder)
    return folder


@pytest.fixture(scope="module")
def settings() -> Settings:
    return get_project_settings()


def make(folder: Path) -> None:
    for script in ("make-secrets", "make-certificates"):
        subprocess.run([DEPLOY / "compose" / script, folder], check=True, capture_output=True)


def seconds(text: str) -> int:
    return int(text.removesuffix("s"))


@EACH
def test_no_container_has_rights_that_it_does_not_need(name: str) -> None:
    service = SERVICES[name]
    assert re.fullmatch(r"[1-9]\d*:\d+", service["user"]), "a number, and not root's"
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    assert not service.keys() & {"privileged", "cap_add", "pid", "ipc", "network_mode", "devices"}
    assert service["init"] is True, "a first process that reaps"


@EACH
def test_every_service_has_limits_and_a_check(name: str) -> None:
    service = SERVICES[name]
    assert {"mem_limit", "pids_limit", "stop_grace_period", "logging"} <= service.keys()
    if name in ONE_SHOTS:
        assert service["restart"] == "no"
    else:
        assert service["healthcheck"]["test"][0] == "CMD"
        assert service["restart"] == "unless-stopped"


@EACH
def test_nothing_stops_a_service_from_being_scaled(name: str) -> None:
    service = SERVICES[name]
    assert "container_name" not in service
    for port in service.get("ports", []):
        assert re.fullmatch(r"127\.0\.0\.1::\d+", port), "loopback, and a port that Docker chooses"


@EACH
def test_images_are_pinned_and_known(name: str) -> None:
    service = SERVICES[name]
    own, _, tag = service["image"].partition(":")
    if own in OWN_IMAGES:
        assert tag == "${SEINE_VERSION:-dev}"
        assert service["pull_policy"] == "never", "it is built here"
    else:
        assert service["image"] in IMAGES
        assert service.keys().isdisjoint({"build", "pull_policy"})


def test_an_image_is_built_by_one_service() -> None:
    """Of two builds at once either may have the name in the end; then `up` starts anew what has the other."""
    built = [service["image"].partition(":")[0] for service in SERVICES.values() if "build" in service]
    assert sorted(built) == sorted(OWN_IMAGES)


@EACH
def test_services_start_when_what_they_need_is_there(name: str) -> None:
    for needed, how in SERVICES[name].get("depends_on", {}).items():
        wanted = "service_completed_successfully" if needed in ONE_SHOTS else "service_healthy"
        assert how["condition"] == wanted, needed


@pytest.mark.parametrize("name", sorted(CRAWLS))
def test_the_grace_period_is_longer_than_the_drain(name: str, settings: Settings) -> None:
    drain = settings.getfloat("FRONTIER_DRAIN_SECONDS") + settings.getfloat("KAFKA_DRAIN_TIMEOUT")
    drain += settings.getfloat("CLAIM_CHECK_DRAIN_TIMEOUT") + settings.getfloat("TRACING_DRAIN_TIMEOUT")
    assert seconds(SERVICES[name]["stop_grace_period"]) > settings.getint("SCHEDULE_GRACE") > drain


@FILES
def test_every_setting_that_is_named_exists(file: dict[str, Any], settings: Settings) -> None:
    contract = settings["SETTINGS_CONTRACT"]
    ours = [one for name, one in file["services"].items() if "env_file" in BASE["services"].get(name, {})]
    names = {name for service in ours for name in service.get("environment", {})}
    assert len(names) > 5
    unknown = {name for name in names if name not in contract and name.removesuffix("_FILE") not in contract}
    assert not unknown


@FILES
def test_secrets_are_files_that_the_scripts_make(file: dict[str, Any], secrets: Path) -> None:
    for name, where in file["secrets"].items():
        path = where["file"].replace("${SECRETS:-./secrets}", str(secrets))
        assert Path(path).is_file(), name


@FILES
def test_every_secret_that_is_mounted_is_declared(file: dict[str, Any]) -> None:
    declared = {*BASE["secrets"], *file["secrets"]}
    for name, service in file["services"].items():
        for secret in service.get("secrets", []):
            source = secret["source"] if isinstance(secret, dict) else secret
            assert source in declared, name


def test_no_password_is_in_the_files(secrets: Path) -> None:
    texts = [path.read_text() for path in DEPLOY.rglob("*") if path.suffix in {".yml", ".conf", ".toml"}]
    for path in secrets.glob("*_password"):
        assert not [text for text in texts if path.read_text().strip() in text]
    for file in (BASE, SECURE):
        for service in file["services"].values():
            for name, value in service.get("environment", {}).items():
                assert "PASSWORD" not in name or str(value).startswith("/run/secrets/"), name


def test_secrets_are_made_once_in_a_folder_that_is_closed(secrets: Path) -> None:
    before = {path.name: path.read_bytes() for path in secrets.iterdir()}
    (secrets / "redis_password").chmod(0o600)
    make(secrets)
    assert {path.name: path.read_bytes() for path in secrets.iterdir()} == before
    assert secrets.stat().st_mode & 0o777 == 0o700
    assert (secrets / "authority.key").stat().st_mode & 0o777 == 0o600
    passwords = [path.read_text() for path in secrets.glob("*_password")]
    assert len(set(passwords)) == len(passwords) > 10


@pytest.mark.parametrize("server", ["kafka-1", "kafka-2", "kafka-3", "redis", "registry-gate"])
def test_certificates_are_of_the_name_that_clients_ask_for(server: str, secrets: Path) -> None:
    authority = x509.load_pem_x509_certificate((secrets / "authority.pem").read_bytes())
    first, *_ = x509.load_pem_x509_certificates((secrets / f"{server}.pem").read_bytes())
    first.verify_directly_issued_by(authority)
    names = first.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert server in SERVICES
    assert names.get_values_for_type(x509.DNSName) == [server, "localhost"]
    assert not first.extensions.get_extension_for_class(x509.ExtendedKeyUsage).critical


def test_certificates_cannot_be_made_without_the_authoritys_key(tmp_path: Path) -> None:
    make(tmp_path)
    (tmp_path / "authority.key").unlink()
    (tmp_path / "redis.pem").unlink()
    done = subprocess.run([DEPLOY / "compose" / "make-certificates", tmp_path], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr == f"make-certificates: authority.key is not in {tmp_path}: bring it here\n"


def test_a_user_of_kafka_is_a_role_with_rights(settings: Settings) -> None:
    environments = [service.get("environment", {}) for service in SECURE["services"].values()]
    users = {environment["KAFKA_SASL_USERNAME"] for environment in environments if "KAFKA_SASL_USERNAME" in environment}
    assert users == rights(settings).keys() - {"registry"} | {"init"}


def test_redis_users_have_the_commands_that_the_docs_name(secrets: Path) -> None:
    document = (ROOT / "docs" / "frontier.md").read_text()
    rule = document.partition("ACL SETUSER seine")[2].partition("\n\n")[0]
    documented = set(re.findall(r"(?<= )\+[\w|]+", rule))
    users = {line.split()[1]: line for line in (secrets / "redis_users").read_text().splitlines()}
    assert set(re.findall(r"(?<= )\+[\w|]+", users["worker"])) == documented
    assert set(re.findall(r"(?<= )\+[\w|]+", users["status"])) < documented
    assert users["default"] == "user default off resetpass ~* &* +@all", "as which Redis reads its append-only file"


@pytest.mark.parametrize("script", SCRIPTS)
def test_scripts_can_be_read_by_their_shell(script: str) -> None:
    path = DEPLOY / "compose" / script
    shell = path.read_text().splitlines()[0].removeprefix("#!/bin/")
    subprocess.run([shell, "-n", path], check=True)


def test_the_sites_are_right() -> None:
    assert [site.name for site in load_sites(DEPLOY / "compose" / "sites")] == ["demo"]
    [rendered] = load_sites(DEPLOY / "compose" / "browser-sites")
    assert rendered.browser.when == "auto"


def test_the_dockerfile_asks_for_nothing_but_its_bases() -> None:
    text = (DEPLOY / "Dockerfile").read_text()
    assert "# syntax=" not in text
    assert not re.search(r"<<-?\s*['\"]?[A-Z]", text), "a heredoc, which older engines do not know"
    assert "://" not in text
    assert set(re.findall(r"^ARG \w+_IMAGE=(\S+)$", text, re.MULTILINE)) == BASES
    for base in re.findall(r"^FROM (\S+)", text, re.MULTILINE):
        assert base.startswith("${") or re.search(rf"^FROM \S+ AS {base}$", text, re.MULTILINE), base
    assert text.rstrip().endswith("USER 1000:100")


def test_a_healthcheck_is_what_the_answer_is(web: Any, nowhere: str) -> None:
    server = web({"/healthz": Page("ok"), "/readyz": Page("no", 503)})
    assert is_healthy(f"{server.url}/healthz")
    assert not is_healthy(f"{server.url}/readyz")
    assert not is_healthy(f"http://{nowhere}/healthz")
