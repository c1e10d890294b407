"""Makes what NAME.avsc is now its next committed version: its text, and records of it that must stay readable."""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path

import fastavro

from crawlers.exceptions import IncompatibleSchema, UserError
from pipelines.schemas import VERSIONS, committed_versions, is_same, schema_text
from pipelines.schemas.compatibility import unreadable_versions
from pipelines.schemas.samples import samples


def freeze(name: str) -> list[Path]:
    """Write versions/`name`.N.avsc and .avro of the next N, and return their paths.

    Raises UserError where `name`.avsc is the latest version already, IncompatibleSchema naming the fields where it
    cannot read an earlier one.
    """
    text, versions = schema_text(name), committed_versions(name)
    if (latest := frozen_as(name)) is not None:
        raise UserError(f"{name}.avsc is version {latest} already")
    if problems := unreadable_versions(text, versions):
        raise IncompatibleSchema(f"{name}.avsc: {'; '.join(problems)}")
    number = max(versions, default=0) + 1
    schema_file, records_file = (VERSIONS / f"{name}.{number}.{kind}" for kind in ("avsc", "avro"))
    schema_file.write_text(text, encoding="utf-8")
    records_file.write_bytes(container(text))
    return [schema_file, records_file]


def frozen_as(name: str) -> int | None:
    """The number of the latest committed version, where `name`.avsc is the same; None where it has changed since."""
    versions = committed_versions(name)
    latest = max(versions, default=0)
    return latest if latest and is_same(schema_text(name), versions[latest]) else None


def container(text: str) -> bytes:
    """Avro's object container file with the samples of the schema `text`; the same bytes for the same text."""
    buffer = io.BytesIO()
    marker = hashlib.sha256(text.encode()).digest()[:16]
    fastavro.writer(buffer, json.loads(text), samples(text), sync_marker=marker)
    return buffer.getvalue()
