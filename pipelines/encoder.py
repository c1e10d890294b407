"""Values as Avro in Confluent's framing: what every consumer of a topic reads."""

from __future__ import annotations

import io
import struct
from typing import Any

import fastavro

from pipelines.schemas import schema

MAGIC_BYTE = 0


class AvroEncoder:
    """Encodes by one committed schema, whose id the registry gave at start-up."""

    def __init__(self, name: str, schema_id: int):
        self._frame = struct.pack(">bI", MAGIC_BYTE, schema_id)
        self._schema = fastavro.parse_schema(schema(name))

    def encode(self, values: dict[str, Any]) -> bytes:
        """The framed bytes. A field that the schema does not declare, or whose value does not fit, is an error."""
        buffer = io.BytesIO(self._frame)
        buffer.seek(len(self._frame))
        fastavro.schemaless_writer(buffer, self._schema, values, strict_allow_default=True)
        return buffer.getvalue()
