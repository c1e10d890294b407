"""`scrapy schema` and the start of a worker, against a real registry."""

from __future__ import annotations

import json
import re
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient
from confluent_kafka.schema_registry.error import SchemaRegistryError

from crawlers.exceptions import IncompatibleSchema
from pipelines.registry import Registry
from pipelines.schemas import committed_versions, schema, schema_text
from tests.support import Finished, Seine

_LATEST = max(committed_versions("products"))


@pytest.fixture
def registry(seine: Seine) -> SchemaRegistryClient:
    """A client as other teams have one."""
    return SchemaRegistryClient({"url": seine.env["SCHEMA_REGISTRY_URL"]})


@pytest.fixture
def subject(seine: Seine) -> str:
    return f"{seine.env['KAFKA_TOPIC_PRODUCTS']}-value"


def test_register_is_idempotent_and_holds_others_to_the_rule(
    seine: Seine, registry: SchemaRegistryClient, subject: str
) -> None:
    before = seine.run("schema", "check")
    first, second = (seine.run("schema", "register", "--json") for _ in range(2))
    after = seine.run("schema", "check")

    assert before.code == first.code == second.code == after.code == 0
    assert f"{subject}: compatible with every version there, not registered yet" in before.out
    one, again = (_of(subject, finished) for finished in (first, second))
    assert one == {"subject": subject, "version": 1, "id": one["id"], "new": True}
    assert again == {**one, "new": False}
    assert f"{subject}: compatible with every version there, registered as version 1, id {one['id']}\n" in after.out
    assert registry.get_compatibility(subject) == "BACKWARD_TRANSITIVE"
    assert json.loads(registry.get_schema(one["id"]).schema_str or "") == schema("products")
    with pytest.raises(SchemaRegistryError) as refused:
        registry.register_schema(subject, Schema(json.dumps(_changed("price", "string")), "AVRO"))
    assert refused.value.http_status_code == 409


def test_the_schema_of_every_topic_is_registered(seine: Seine, subject: str) -> None:
    found = json.loads(seine.run("schema", "register", "--json").out)
    assert [one["subject"] for one in found] == [subject, f"{seine.env['KAFKA_TOPIC_PAGES']}-value"]


def test_diff_and_list_tell_what_the_registry_has_of_ours(
    seine: Seine, registry: SchemaRegistryClient, subject: str
) -> None:
    new = seine.run("schema", "diff", "--json")
    first = registry.register_schema(subject, Schema(committed_versions("products")[1], "AVRO"))
    behind = seine.run("schema", "diff")
    seine.run("schema", "register")
    level = seine.run("schema", "diff")
    listed = [line.split() for line in seine.run("schema", "list").out.splitlines()]

    nothing = _of(subject, new)
    assert (nothing["latest"], len(nothing["changes"])) == (None, len(schema("products")["fields"]))
    assert f"{subject}: from version 1 there to products.avsc:\n" in behind.out
    assert re.search(r"  \+ changed_fields +array<string> = \[]\n", behind.out)
    assert f"{subject}: from version 2 there to products.avsc: no field differs\n" in level.out
    second = registry.get_latest_version(subject).schema_id
    assert listed[0] == ["SUBJECT", "VERSION", "ID", "OURS"]
    assert [subject, "1", str(first), "versions/products.1.avsc"] in listed
    assert [subject, "2", str(second), "products.avsc"] in listed


def test_check_and_register_refuse_by_field(seine: Seine, registry: SchemaRegistryClient, subject: str) -> None:
    registry.register_schema(subject, Schema(json.dumps(_changed("price", _decimal(scale=2))), "AVRO"))
    checked, registered = seine.run("schema", "check"), seine.run("schema", "register")

    wrong = "version 1: field price: was null | decimal(18, 2), is null | decimal(18, 4)"
    assert f"{subject} at {seine.env['SCHEMA_REGISTRY_URL']}: {wrong}\n" in checked.out
    assert registered.err == f"seine: {subject} at {seine.env['SCHEMA_REGISTRY_URL']}: {wrong}\n"
    assert checked.code == registered.code == 1
    assert len(registry.get_versions(subject)) == 1


@pytest.mark.parametrize(
    ("field", "was", "problem"),
    [
        ("crawl_id", None, "field crawl_id is new and has no default"),
        ("name", ["null", "string"], "field name: was null | string, is string"),
        ("http_status", "string", "field http_status: was string, is int"),
        ("price", ["null", "double"], "field price: was null | double, is null | decimal(18, 4)"),
        (
            "fetched_at",
            {"type": "long", "logicalType": "timestamp-micros"},
            "field fetched_at: was timestamp-micros, is timestamp-millis",
        ),
        (
            "condition",
            ["null", {"type": "enum", "name": "Condition", "symbols": ["New", "Used"]}],
            "field condition: was null | enum Condition(New, Used), is null | string",
        ),
        ("images", "string", "field images: was string, is array<string>"),
    ],
)
def test_a_worker_does_not_start_on_a_version_that_it_cannot_read(
    seine: Seine, registry: SchemaRegistryClient, subject: str, field: str, was: Any, problem: str
) -> None:
    """What a start asks, and it names the version and the field, though later versions are as they should be."""
    registry.set_compatibility(subject, "NONE")
    registry.register_schema(subject, Schema(json.dumps(_changed(field, was)), "AVRO"))
    registry.register_schema(subject, Schema(schema_text("products"), "AVRO"))

    with pytest.raises(IncompatibleSchema) as raised:
        Registry(seine.env["SCHEMA_REGISTRY_URL"]).schema_id(subject, "products", register=True)

    assert str(raised.value) == f"{subject} at {seine.env['SCHEMA_REGISTRY_URL']}: version 1: {problem}"


def test_workers_that_start_together_register_a_schema_once(seine: Seine, subject: str) -> None:
    def start() -> int:
        return Registry(seine.env["SCHEMA_REGISTRY_URL"]).schema_id(subject, "products", register=True)

    with ThreadPoolExecutor(8) as workers:
        ids = {started.result() for started in [workers.submit(start) for _ in range(8)]}

    [version] = Registry(seine.env["SCHEMA_REGISTRY_URL"]).versions(subject)
    assert ids == {version.id}


def test_a_registry_that_is_not_set_is_told(seine: Seine) -> None:
    alone = Seine(seine.folder, {**seine.env, "SCHEMA_REGISTRY_URL": ""})
    checked, diff = alone.run("schema", "check"), alone.run("schema", "diff")
    assert f"products.avsc: version {_LATEST}" in checked.out
    assert "No registry was asked: SCHEMA_REGISTRY_URL is not set" in checked.out
    assert (checked.code, diff.code) == (0, 2)
    assert diff.err.startswith("seine: SCHEMA_REGISTRY_URL is not set")


def _of(subject: str, finished: Finished) -> Any:
    """What a verb has found of `subject`."""
    return next(one for one in json.loads(finished.out) if one["subject"] == subject)


def _changed(name: str, kind: Any) -> dict[str, Any]:
    """The committed schema, with a field of another type, or without it."""
    changed = schema("products")
    changed["fields"] = [
        one if one["name"] != name else {"name": name, "type": kind}
        for one in changed["fields"]
        if one["name"] != name or kind is not None
    ]
    return changed


def _decimal(*, scale: int) -> list[Any]:
    return ["null", {"type": "bytes", "logicalType": "decimal", "precision": 18, "scale": scale}]
