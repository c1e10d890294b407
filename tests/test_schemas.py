"""The committed schemas are the contract: items match them, and every version that ever was stays readable."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import fastavro
import pytest
from avro.compatibility import ReaderWriterCompatibilityChecker, SchemaCompatibilityType
from avro.datafile import DataFileReader
from avro.io import BinaryDecoder, DatumReader
from avro.schema import parse

from crawlers.exceptions import InvalidItem, UnserializableItem, UserError
from crawlers.items import Product
from pipelines.avro import AvroPipeline, decode_frame
from pipelines.schemas import VERSIONS, committed_versions, schema, schema_names, schema_text
from pipelines.schemas.compatibility import incompatibilities, unreadable_versions
from pipelines.schemas.conformity import mismatches
from pipelines.schemas.contracts import CONTRACTS
from pipelines.schemas.diff import FieldChange, differences
from pipelines.schemas.freeze import freeze, frozen_as
from pipelines.schemas.samples import samples
from pipelines.validation import ValidationPipeline
from tests.products import product
from tests.support import ROOT, Seine

_VERSIONS = [(name, number) for name in schema_names() for number in committed_versions(name)]


# --- Items and schemas


def test_every_schema_has_its_topic() -> None:
    assert sorted(contract.name for contract in CONTRACTS) == schema_names()


@pytest.mark.parametrize("contract", [one for one in CONTRACTS if one.item], ids=lambda contract: contract.name)
def test_an_item_is_what_its_schema_says_field_by_field(contract: Any) -> None:
    assert mismatches(contract.item, parse(schema_text(contract.name))) == []


@dataclass(kw_only=True)
class Seller:
    name: str


@dataclass(kw_only=True)
class Offer:
    price: Decimal | None = None
    at: datetime
    tags: list[str] = field(default_factory=list)
    seller: bytes | Seller | None = None
    stock: dict[str, int] = field(default_factory=dict)


_SELLER: dict[str, Any] = {
    "type": "record",
    "name": "Seller",
    "fields": [{"name": "name", "type": "string"}],
}
_OFFER: list[dict[str, Any]] = [
    {
        "name": "price",
        "type": ["null", {"type": "bytes", "logicalType": "decimal", "precision": 18, "scale": 4}],
        "default": None,
    },
    {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
    {"name": "tags", "type": {"type": "array", "items": "string"}, "default": []},
    {"name": "seller", "type": ["null", "bytes", _SELLER], "default": None},
    {"name": "stock", "type": {"type": "map", "values": "int"}, "default": {}},
]


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        (None, None),
        ({"name": "price", "type": ["null", "double"], "default": None}, "field price: Decimal | None in the item"),
        ({"name": "price", "type": "string"}, "field price: Decimal | None in the item, and the schema says string"),
        ({"name": "at", "type": "long"}, "field at: datetime in the item, and the schema says long"),
        ({"name": "at", "type": {"type": "long", "logicalType": "timestamp-micros"}}, "field at: "),
        ({"name": "tags", "type": {"type": "array", "items": "int"}}, "field tags: "),
        ({"name": "tags", "type": _OFFER[2]["type"], "default": ["x"]}, "field tags: the item's default is []"),
        ({"name": "seller", "type": ["null", _SELLER], "default": None}, "field seller: "),
        (
            {"name": "seller", "type": ["null", "bytes", {**_SELLER, "fields": []}], "default": None},
            "field seller: bytes | Seller | None in the item, and the schema says null | bytes | record Seller()",
        ),
        ({"name": "stock", "type": {"type": "map", "values": "string"}, "default": {}}, "field stock: "),
        ({"name": "extra", "type": "int"}, "field extra: in the schema only"),
    ],
)
def test_an_item_that_differs_from_its_schema_is_told_by_field(
    changed: dict[str, Any] | None, problem: str | None
) -> None:
    described = _with(_OFFER, changed)
    problems = mismatches(Offer, _record(*described))
    assert [one for one in problems if problem is None or not one.startswith(problem)] == []
    assert bool(problems) == (problem is not None)


def test_a_field_that_only_the_item_has_and_another_order_are_told() -> None:
    assert mismatches(Offer, _record(*_OFFER[:-1])) == ["field stock: in Offer only"]
    assert mismatches(Offer, _record(*reversed(_OFFER))) == ["the order of Offer's fields is not the schema's"]


def test_what_an_item_may_lack_until_it_is_filled_in_is_refused_by_validation() -> None:
    required = {one["name"] for one in schema("products")["fields"] if not isinstance(one["type"], list)}
    late = [one.name for one in fields(Product) if one.name in required and one.default is None]
    assert late == ["fetched_at"]
    with pytest.raises(InvalidItem, match="fetched_at: expected a time with its zone, got None"):
        ValidationPipeline().process_item(product(fetched_at=None))


# --- Versions


@pytest.mark.parametrize("name", schema_names())
def test_the_current_schema_is_its_latest_committed_version(name: str) -> None:
    number = max(committed_versions(name), default=0) + 1
    assert frozen_as(name) is not None, (
        f"{name}.avsc is not version {number - 1}. `scrapy schema freeze` adds what is to be committed with it: "
        f"pipelines/schemas/versions/{name}.{number}.avsc and {name}.{number}.avro"
    )


@pytest.mark.parametrize("name", schema_names())
def test_the_current_schema_reads_every_committed_version(name: str) -> None:
    assert unreadable_versions(schema_text(name), committed_versions(name)) == []


def test_every_version_has_its_schema_and_its_records_and_none_is_missing() -> None:
    for name in schema_names():
        assert list(committed_versions(name)) == list(range(1, len(committed_versions(name)) + 1))
    expected = {f"{name}.{number}.{kind}" for name, number in _VERSIONS for kind in ("avsc", "avro")}
    assert {path.name for path in VERSIONS.iterdir()} == expected


@pytest.mark.parametrize(("name", "number"), _VERSIONS)
def test_a_committed_version_is_as_it_was(name: str, number: int) -> None:
    """Its records were written with the schema in their head: who changes the one file must forge the other."""
    with (VERSIONS / f"{name}.{number}.avro").open("rb") as records:
        written = json.loads(fastavro.reader(records).metadata["avro.schema"])
    assert _canonical(json.dumps(written)) == _canonical(committed_versions(name)[number])


@pytest.mark.parametrize(("name", "number"), _VERSIONS)
def test_the_records_of_every_version_are_read_by_the_current_schema(name: str, number: int) -> None:
    """By fastavro, and by Apache's own library."""
    defaults = {one["name"]: one.get("default") for one in schema(name)["fields"]}
    expected = [{**defaults, **sample} for sample in samples(committed_versions(name)[number])]
    path = VERSIONS / f"{name}.{number}.avro"

    with path.open("rb") as records:
        assert list(fastavro.reader(records, schema(name))) == expected
    with DataFileReader(path.open("rb"), DatumReader(readers_schema=parse(schema_text(name)))) as records:
        assert list(records) == expected


# --- Compatibility


@pytest.mark.parametrize(
    ("before", "after", "problem"),
    [
        (None, "string", "field x is new and has no default"),
        ("string", "long", "field x: was string, is long"),
        (["null", "string"], "string", "field x: was null | string, is string"),
        (["null", "string"], ["null", "long"], "field x: was null | string, is null | long"),
        ("double", "float", "field x: was double, is float"),
        (("decimal", 18, 4), ("decimal", 18, 2), "field x: was decimal(18, 4), is decimal(18, 2)"),
        (("decimal", 18, 4), ("decimal", 9, 4), "field x: was decimal(18, 4), is decimal(9, 4)"),
        (("decimal", 18, 4), "bytes", "field x: was decimal(18, 4), is bytes"),
        ("string", ("decimal", 18, 4), "field x: was string, is decimal(18, 4)"),
        (("timestamp-millis",), ("timestamp-micros",), "field x: was timestamp-millis, is timestamp-micros"),
        ("long", ("timestamp-millis",), "field x: was long, is timestamp-millis"),
        (("enum", "A", "B"), ("enum", "A"), "field x: enum E has lost B"),
        (("enum", "A"), "string", "field x: was enum E(A), is string"),
        (("array", "string"), ("array", "int"), "field x[]: was string, is int"),
        (("array", "string"), "string", "field x: was array<string>, is string"),
        (("map", "long"), ("map", "int"), "field x{}: was long, is int"),
        (("fixed", 4), ("fixed", 8), "field x: was fixed F(4), is fixed F(8)"),
        (("record", "a", "b"), ("record", "a", "c"), "field x.c is new and has no default"),
        (["null", ("record", "a")], ["null", ("record", "c")], "field x.c is new and has no default"),
    ],
)
def test_an_incompatible_change_is_told_by_field(before: Any, after: Any, problem: str) -> None:
    writer = _record({"name": "kept", "type": "string"}, *([] if before is None else [_field(before)]))
    reader = _record({"name": "kept", "type": "string"}, _field(after))
    assert incompatibilities(reader, writer) == [problem]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("int", "long"),
        ("long", "double"),
        ("string", "bytes"),
        ("string", ["null", "string"]),
        (["null", "int"], ["null", "string", "long"]),
        (("enum", "A"), ("enum", "A", "B")),
        (("decimal", 18, 4), ["null", ("decimal", 18, 4)]),
        (["null", "string"], ["null", "string", ("record", "a")]),
        (("array", "int"), ("array", "long")),
        (("record", "a", "b"), ("record", "a")),
    ],
)
def test_a_compatible_change_is_let_through_and_apaches_library_agrees(before: Any, after: Any) -> None:
    writer, reader = _record(_field(before)), _record(_field(after))
    assert incompatibilities(reader, writer) == []
    official = ReaderWriterCompatibilityChecker().get_compatibility(reader, writer)
    assert official.compatibility is SchemaCompatibilityType.compatible


def test_a_field_with_a_default_may_come_a_field_may_go_and_an_alias_keeps_its_values() -> None:
    writer = _record({"name": "old", "type": "string"}, {"name": "dropped", "type": "int"})
    added = {"name": "added", "type": ["null", "string"], "default": None}
    reader = _record({"name": "renamed", "aliases": ["old"], "type": "string"}, added)
    assert incompatibilities(reader, writer) == []


def test_another_record_and_what_is_no_schema_are_told_by_version() -> None:
    other = '{"type": "record", "name": "Other", "fields": []}'
    assert unreadable_versions(schema_text("products"), {1: other, 2: "{}"}) == [
        "version 1: it is seine.Product, and was Other",
        'version 2: is no schema of Avro\'s: No "type" property: {}',
    ]


def test_a_difference_is_told_by_field() -> None:
    kept, gone = {"name": "kept", "type": "string"}, {"name": "gone", "type": "int"}
    changed = {"name": "changed", "type": "int"}
    described = {"name": "described", "type": "int", "doc": "One."}
    added = {"name": "added", "type": ["null", "string"], "default": None}
    before = _record(kept, gone, changed, described)
    after = _record(added, kept, {**changed, "type": "long"}, {**described, "doc": "Two."})

    assert differences(before, after) == [
        FieldChange("added", "added", "", "null | string = null"),
        FieldChange("changed", "changed", "int", "long"),
        FieldChange("described", "described", "int", "int"),
        FieldChange("gone", "removed", "int", ""),
    ]


# --- What is written


def test_money_is_a_decimal_and_time_has_milliseconds_to_another_library() -> None:
    zone = timezone(timedelta(hours=2))
    item = product(price=Decimal("19.9"), fetched_at=datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=zone))
    read = _read_by_apache(AvroPipeline("products", 7).process_item(item).value)

    assert isinstance(read["price"], Decimal)
    assert str(read["price"]) == "19.9000"
    assert read["fetched_at"] == datetime(2026, 1, 2, 1, 4, 5, 678000, tzinfo=UTC)


@pytest.mark.parametrize("price", ["0", "0.0001", "1E+2", "99999999999999.9999", "19.90000000"])
def test_every_valid_price_keeps_its_value(price: str) -> None:
    item = ValidationPipeline().process_item(product(price=Decimal(price)))
    assert _read_by_apache(AvroPipeline("products", 7).process_item(item).value)["price"] == Decimal(price)


def test_an_item_that_the_schema_cannot_hold_is_named() -> None:
    with pytest.raises(UnserializableItem, match=r"products\.avsc"):
        AvroPipeline("products", 7).process_item(product(review_count="many"))
    with pytest.raises(UnserializableItem, match=r"products\.avsc"):
        AvroPipeline("products", 7).process_item(product(price=Decimal("0.00001")))


def _read_by_apache(value: bytes) -> Any:
    schema_id, body = decode_frame(value)
    assert schema_id == 7
    return DatumReader(parse(schema_text("products"))).read(BinaryDecoder(io.BytesIO(body)))


# --- Adding a field, as docs/schemas.md shows it


_COPIED = {"crawlers", "deploy", "middlewares", "pipelines", "scrapy.cfg"}


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of the project that a test may change."""
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True)
    for name in listed.stdout.splitlines():
        if name.split("/")[0] in _COPIED and (ROOT / name).exists():
            (tmp_path / "copy" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, tmp_path / "copy" / name)
    return tmp_path / "copy"


def test_a_field_is_added_by_one_line_in_two_files_and_a_version(checkout: Path) -> None:
    in_item, in_schema = _documented_lines()
    _insert(checkout / "crawlers" / "items.py", in_item, after="    language: str | None = None")
    seine = Seine(checkout, {"SCHEMA_REGISTRY_URL": "", "KAFKA_TOPIC_PAGES": ""}, root=checkout)
    alone = seine.run("schema", "check")
    _insert(checkout / "pipelines" / "schemas" / "products.avsc", in_schema, after='    {"name": "language"')
    unfrozen = seine.run("schema", "check")
    frozen = seine.run("schema", "freeze")
    checked = seine.run("schema", "check", "--json")

    number = max(committed_versions("products")) + 1
    assert "field energy_class: in Product only" in alone.out
    assert "scrapy schema freeze" in unfrozen.out
    assert (alone.code, unfrozen.code, frozen.code, checked.code) == (1, 1, 0, 0)
    found = next(one for one in json.loads(checked.out) if one["schema"] == "products")
    assert (found["version"], found["problems"]) == (number, [])
    assert (checkout / f"pipelines/schemas/versions/products.{number}.avro").exists()


def test_what_has_not_changed_is_not_frozen_again() -> None:
    with pytest.raises(UserError, match=r"products\.avsc is version \d+ already"):
        freeze("products")


def test_a_change_that_cannot_read_a_committed_version_is_not_frozen(checkout: Path) -> None:
    path = checkout / "pipelines" / "schemas" / "products.avsc"
    path.write_text(path.read_text().replace('"scale": 4', '"scale": 2'))
    seine = Seine(checkout, {"SCHEMA_REGISTRY_URL": "", "KAFKA_TOPIC_PAGES": ""}, root=checkout)

    refused = seine.run("schema", "freeze")

    assert refused.code == 1
    wrong = "field price: was null | decimal(18, 4), is null | decimal(18, 2)"
    assert refused.err.startswith(f"seine: products.avsc: version 1: {wrong}; version 2: {wrong}")


def _documented_lines() -> tuple[str, str]:
    """The lines for crawlers/items.py and for products.avsc."""
    found = [line for line in (ROOT / "docs" / "schemas.md").read_text().splitlines() if "energy_class" in line]
    in_item = next(line for line in found if line.startswith("    energy_class: "))
    return in_item, next(line for line in found if line.startswith('    {"name": "energy_class"'))


def _insert(path: Path, line: str, *, after: str) -> None:
    lines = path.read_text().splitlines()
    place = next(number for number, one in enumerate(lines) if one.startswith(after)) + 1
    path.write_text("\n".join([*lines[:place], line, *lines[place:]]) + "\n")


# --- Schemas of the tests' own


def _record(*described: dict[str, Any]) -> Any:
    return parse(json.dumps({"type": "record", "name": "R", "fields": list(described)}))


def _with(described: list[dict[str, Any]], changed: dict[str, Any] | None) -> list[dict[str, Any]]:
    """`described` with the field of that name replaced, or added."""
    if changed is None:
        return described
    kept = [changed if one["name"] == changed["name"] else one for one in described]
    return kept if changed in kept else [*kept, changed]


def _field(kind: Any) -> dict[str, Any]:
    return {"name": "x", "type": _type(kind)}


def _type(kind: Any) -> Any:
    """A schema from a short form: a name, a list as a union, or a tuple of a kind and its details."""
    match kind:
        case str():
            return kind
        case list():
            return [_type(one) for one in kind]
        case ("decimal", precision, scale):
            return {"type": "bytes", "logicalType": "decimal", "precision": precision, "scale": scale}
        case ("enum", *symbols):
            return {"type": "enum", "name": "E", "symbols": symbols}
        case ("array", items):
            return {"type": "array", "items": items}
        case ("map", values):
            return {"type": "map", "values": values}
        case ("fixed", size):
            return {"type": "fixed", "name": "F", "size": size}
        case ("record", *names):
            return {"type": "record", "name": "Inner", "fields": [{"name": one, "type": "string"} for one in names]}
        case (logical,):
            return {"type": "long", "logicalType": logical}
    raise AssertionError(kind)


def _canonical(text: str) -> Any:
    """A schema with its names in full and its types spelled out, as fastavro keeps it."""
    parsed = fastavro.parse_schema(json.loads(text), _force=True)
    return {name: value for name, value in parsed.items() if not name.startswith("__")}
