"""The schema registry: the id of a committed schema, and whether every earlier version stays readable."""

from __future__ import annotations

import logging
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import httpx2
from avro.compatibility import ReaderWriterCompatibilityChecker, SchemaCompatibilityType
from avro.schema import RecordSchema, parse
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient, SchemaRegistryError

from crawlers.exceptions import IncompatibleSchema, StartupError
from pipelines.schemas import schema_text

_NOT_FOUND = {404, 40401, 40402, 40403}
_COMPATIBILITY = "BACKWARD_TRANSITIVE"


class Registry:
    """A registry with Confluent's API, asked at start-up only; its calls block."""

    def __init__(self, url: str, timeout: float = 10.0):
        self._url = _without_password(url)
        self._client = SchemaRegistryClient({"url": url, "timeout": timeout, "max.retries": 1})
        logging.getLogger("httpx2").setLevel(logging.WARNING)

    def schema_id(self, subject: str, name: str, *, register: bool) -> int:
        """The id of the committed schema `name` under `subject`; registered first where `register` allows it.

        Raises IncompatibleSchema naming the fields, StartupError where the registry is down or lacks the schema.
        """
        return self._asked(self._schema_id, subject, name, register)

    def check(self, subject: str, name: str) -> list[str]:
        """What in the committed schema `name` cannot read which version under `subject`; empty when all is well."""
        return self._asked(self._problems, subject, name)

    def schema_by_id(self, schema_id: int) -> str:
        """The text of the schema with that id."""
        return str(self._asked(self._client.get_schema, schema_id).schema_str)

    def _schema_id(self, subject: str, name: str, register: bool) -> int:
        problems = self._problems(subject, name)
        if problems:
            raise IncompatibleSchema(f"{subject} at {self._url}: {'; '.join(problems)}")
        schema = Schema(schema_text(name), "AVRO")
        if register:
            self._client.set_compatibility(subject_name=subject, level=_COMPATIBILITY)
            return self._client.register_schema(subject, schema)
        try:
            return self._client.lookup_schema(subject, schema).schema_id or 0
        except SchemaRegistryError as error:
            if error.error_code not in _NOT_FOUND and error.http_status_code != 404:
                raise
            raise StartupError(
                f"{subject} at {self._url} lacks the committed schema {name}.avsc. Register it: scrapy schema register"
            ) from None

    def _problems(self, subject: str, name: str) -> list[str]:
        reader: Any = parse(schema_text(name))
        problems = []
        for version in self._versions(subject):
            writer: Any = parse(self._client.get_version(subject, version).schema.schema_str or "")
            problems += [f"version {version}: {problem}" for problem in incompatibilities(reader, writer)]
        return problems

    def _versions(self, subject: str) -> list[int]:
        try:
            return list(self._client.get_versions(subject))
        except SchemaRegistryError as error:
            if error.error_code in _NOT_FOUND or error.http_status_code == 404:
                return []
            raise

    def _asked(self, call: Any, *args: Any) -> Any:
        try:
            return call(*args)
        except (httpx2.HTTPError, OSError) as error:
            raise StartupError(
                f"the schema registry does not answer at {self._url} (SCHEMA_REGISTRY_URL): {error}. "
                "On a laptop: scrapy stack up"
            ) from None
        except SchemaRegistryError as error:
            raise StartupError(f"the schema registry at {self._url} (SCHEMA_REGISTRY_URL) answers: {error}") from None


def _without_password(url: str) -> str:
    """The URL as logs and errors may show it."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def incompatibilities(reader: RecordSchema, writer: RecordSchema) -> list[str]:
    """What keeps `reader` from reading records of `writer`, one line per field; empty when compatible."""
    if reader.fullname != writer.fullname:
        return [f"the record is {reader.fullname}, and was {writer.fullname}"]
    problems = []
    for field in reader.fields:
        written = writer.fields_dict.get(field.name)
        if written is None:
            if not field.has_default:
                problems.append(f"field {field.name} is new and has no default")
            continue
        result = ReaderWriterCompatibilityChecker().get_compatibility(field.type, written.type)
        if result.compatibility is not SchemaCompatibilityType.compatible:
            problems.append(f"field {field.name}: {', '.join(sorted(result.messages))}")
        elif not _meanings(written.type) <= _meanings(field.type):
            problems.append(f"field {field.name}: its logical type is not what it was")
    return problems


def _meanings(kind: Any) -> set[tuple[str, str]]:
    """What the bytes and numbers of a type mean: Avro itself would read any text as a decimal of any scale."""
    branches = kind.schemas if kind.type == "union" else [kind]
    definitions = [branch.to_json() if branch.type in ("bytes", "fixed", "int", "long") else {} for branch in branches]
    found = {
        (str(one["logicalType"]), str(one.get("scale", "")))
        for one in definitions
        if isinstance(one, dict) and "logicalType" in one
    }
    return found or {("", "")} if any(branch.type != "null" for branch in branches) else set()
