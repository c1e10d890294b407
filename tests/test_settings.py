"""A wrong setting is told by name, value and what is expected, wherever it came from."""

from __future__ import annotations

from typing import Any

import pytest
from scrapy.settings import Settings

from crawlers.exceptions import UserError
from crawlers.settings_check import check_settings
from tests.support import Seine


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("CONCURRENT_REQUESTS", "many", "expected int"),
        ("CONCURRENT_REQUESTS", "0", "expected a number above 0"),
        ("RETRY_TIMES", "-1", "expected a number above -1"),
        ("RETRY_TIMES", "1.5", "expected int"),
        ("DOWNLOAD_TIMEOUT", "nan", "expected a number above 0"),
        ("DOWNLOAD_TIMEOUT", "inf", "expected a number above 0"),
        ("ROBOTSTXT_OBEY", "maybe", "expected 0 or 1"),
        ("ROBOTSTXT_OBEY", "yes", "expected 0 or 1"),
        ("LOG_LEVEL", "LOUD", "expected DEBUG, INFO"),
        ("KAFKA_BOOTSTRAP_SERVERS", "broker", "expected host:port"),
        ("KAFKA_BOOTSTRAP_SERVERS", "a:9092,b", "expected host:port"),
        ("KAFKA_TOPIC_PRODUCTS", "my products", "expected a topic's name"),
        ("KAFKA_SECURITY_PROTOCOL", "TLS", "expected one of PLAINTEXT, SSL"),
        ("KAFKA_SASL_MECHANISM", "OAUTH", "expected one of PLAIN"),
        ("KAFKA_SSL_CA_LOCATION", "/no/such/file.pem", "expected a file"),
        ("SCHEMA_REGISTRY_URL", "127.0.0.1:8081", "expected a URL"),
        ("SCHEMA_REGISTRY_URL", "http://[::1", "expected a URL"),
        ("MONITORS", "maybe", "expected 0 or 1"),
        ("MONITORS_FAIL", "always", "expected one of never, error, warning"),
        ("MONITORS_WEBHOOK_LEVEL", "none", "expected one of error, warning, all"),
        ("MONITORS_WEBHOOK_SECONDS", "0", "expected a number above 0"),
    ],
)
def test_a_wrong_value_is_told(name: str, value: str, expected: str) -> None:
    with pytest.raises(UserError) as caught:
        check_settings(_settings(**{name: value}))
    assert str(caught.value).startswith(f"{name}={value}: {expected}")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("KAFKA_BOOTSTRAP_SERVERS", "a.example:9092, [::1]:9092"),
        ("KAFKA_BOOTSTRAP_SERVERS", ""),
        ("SCHEMA_REGISTRY_URL", "https://user:secret@registry.example/apis/ccompat/v7"),
        ("RETRY_TIMES", "0"),
        ("ROBOTSTXT_OBEY", "False"),
        ("LOG_LEVEL", "debug"),
    ],
)
def test_a_right_value_passes(name: str, value: str) -> None:
    check_settings(_settings(**{name: value}))


@pytest.mark.parametrize("url", ["hooks.example/s3cret", "ftp://hooks.example/s3cret", "http://[::1"])
def test_a_wrong_webhook_is_told_without_its_secret(url: str) -> None:
    with pytest.raises(UserError) as caught:
        check_settings(_settings(MONITORS_WEBHOOK_URL=url))
    assert str(caught.value) == "MONITORS_WEBHOOK_URL: expected a URL that starts with http:// or https://"


def test_a_crawl_refuses_a_wrong_setting_in_one_line(offline: Seine) -> None:
    finished = offline.crawl(CONCURRENT_REQUESTS="many")
    assert finished.code == 2
    [line] = finished.err.splitlines()
    assert line.startswith("seine: CONCURRENT_REQUESTS=many: expected int")


def test_a_crawl_refuses_a_wrong_environment_variable_in_one_line(offline: Seine) -> None:
    finished = Seine(offline.folder, {**offline.env, "CONCURRENT_REQUESTS": "many"}).crawl()
    assert finished.code != 0
    [line] = finished.err.splitlines()
    assert "CONCURRENT_REQUESTS=many: expected int" in line


def test_an_empty_environment_variable_is_an_unset_one(offline: Seine) -> None:
    finished = Seine(offline.folder, {**offline.env, "CONCURRENT_REQUESTS": ""}).crawl()
    assert "nothing to crawl" in finished.err


def test_a_secret_may_come_from_a_file(offline: Seine) -> None:
    file = offline.folder / "password"
    file.write_text("from-a-file\n")
    told = Seine(offline.folder, {**offline.env, "KAFKA_SASL_PASSWORD_FILE": str(file)})
    assert told.run("settings", "--get", "KAFKA_SASL_PASSWORD").out == "from-a-file\n"


@pytest.mark.parametrize(
    ("env", "told"),
    [
        ({"REDIS_URL": "redis://a", "REDIS_URL_FILE": "/tmp/b"}, "REDIS_URL and REDIS_URL_FILE are both set"),
        ({"REDIS_URL_FILE": "/no/such/file"}, "REDIS_URL_FILE=/no/such/file: cannot be read: No such file"),
        ({"REDIS_URL_FILE": "/"}, "REDIS_URL_FILE=/: cannot be read: Is a directory"),
    ],
)
def test_a_secrets_file_that_cannot_be_meant_is_told(offline: Seine, env: dict[str, str], told: str) -> None:
    finished = Seine(offline.folder, {**offline.env, **env}).crawl()
    assert finished.code == 2
    [line] = finished.err.splitlines()
    assert line.startswith(f"seine: {told}")


def _settings(**values: Any) -> Settings:
    settings = Settings()
    settings.setmodule("crawlers.settings")
    settings.update(values, priority="cmdline")
    return settings
