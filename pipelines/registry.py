"""The schema registry: the id of a committed schema, and whether every earlier version stays readable."""

from __future__ import annotations

import logging
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import urlsplit, urlunsplit

import httpx2
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient, SchemaRegistryError

from crawlers.exceptions import IncompatibleSchema, StartupError, UserError
from pipelines.bounded_answers import bound_answers
from pipelines.kafka_config import registry_access
from pipelines.schemas import schema_text
from pipelines.schemas.compatibility import unreadable_versions

_NOT_FOUND = {404, 40401, 40402, 40403}
COMPATIBILITY = "BACKWARD_TRANSITIVE"


@dataclass(frozen=True, slots=True)
class Version:
    """One schema under a subject: `number` counts within the subject, `id` is what records carry."""

    number: int
    id: int
    text: str


class Registry:
    """A registry with Confluent's API, asked at start-up and by commands only; its calls block.

    Raises StartupError where it is down or answers with an error.
    """

    def __init__(self, url: str, timeout: float = 10.0, access: dict[str, Any] | None = None):
        """`access`: user, certificates and the like, by their names in Confluent's client."""
        self.url = _without_password(url)
        self._client = SchemaRegistryClient({"url": url, "timeout": timeout, "max.retries": 1, **(access or {})})
        bound_answers(self._client._rest_client.session)
        logging.getLogger("httpx2").setLevel(logging.WARNING)

    @classmethod
    def from_settings(cls, settings: Any) -> Self:
        """The registry of SCHEMA_REGISTRY_URL, with its user and certificates."""
        try:
            return cls(settings["SCHEMA_REGISTRY_URL"], access=registry_access(settings))
        except (OSError, ValueError) as error:
            raise UserError(f"SCHEMA_REGISTRY_SSL_*: the certificates or the key cannot be used: {error}") from None

    def schema_id(self, subject: str, name: str, *, register: bool) -> int:
        """The id of the committed schema `name` under `subject`; registered first where `register` allows it.

        Raises IncompatibleSchema naming the fields, StartupError where the registry is down or lacks the schema.
        """
        if problems := self.check(subject, name):
            raise IncompatibleSchema(f"{subject} at {self.url}: {'; '.join(problems)}")
        text = schema_text(name)
        found = self.register(subject, text) if register else self.lookup(subject, text)
        if found is None:
            raise StartupError(
                f"{subject} at {self.url} lacks the committed schema {name}.avsc. Register it: scrapy schema register"
            )
        return found.id

    def check(self, subject: str, name: str) -> list[str]:
        """What in the committed schema `name` cannot read which version under `subject`; empty when all is well."""
        return unreadable_versions(
            schema_text(name), {version.number: version.text for version in self.versions(subject)}
        )

    def register(self, subject: str, text: str) -> Version:
        """Register the schema `text`, and hold everybody else's to BACKWARD_TRANSITIVE. Again is the same as once."""
        if self.compatibility(subject) != COMPATIBILITY:
            self._set_compatibility(subject)
        self._asked(self._client.register_schema, subject, Schema(text, "AVRO"))
        found = self.lookup(subject, text)
        assert found is not None, "it was registered in this moment"
        return found

    def lookup(self, subject: str, text: str) -> Version | None:
        """The version under `subject` that is the schema `text`; None where there is none."""
        found = self._found(self._client.lookup_schema, subject, Schema(text, "AVRO"))
        return None if found is None else Version(found.version, found.schema_id, text)

    def subjects(self) -> list[str]:
        """Every subject's name."""
        return sorted(self._asked(self._client.get_subjects))

    def versions(self, subject: str) -> list[Version]:
        """All versions under `subject`, oldest first; none where there is no such subject."""
        numbers = self._found(self._client.get_versions, subject) or []
        if not isinstance(numbers, list) or not all(type(number) is int for number in numbers):
            raise StartupError(
                f"the schema registry at {self.url} (SCHEMA_REGISTRY_URL) tells of versions {numbers!r:.200}"
            )
        found = [self._asked(self._client.get_version, subject, number) for number in sorted(numbers)]
        return [Version(one.version, one.schema_id, one.schema.schema_str or "") for one in found]

    def compatibility(self, subject: str) -> str | None:
        """The rule that the registry holds new versions under `subject` to; None where it has none of its own."""
        return self._found(self._client.get_compatibility, subject)

    def schema_by_id(self, schema_id: int) -> str:
        """The text of the schema with that id."""
        return str(self._asked(self._client.get_schema, schema_id).schema_str)

    def _set_compatibility(self, subject: str) -> None:
        with suppress(_Conflict):  # another worker that starts has set it in the same moment
            self._asked(self._client.set_compatibility, subject, COMPATIBILITY)

    def _found(self, call: Any, *args: Any) -> Any:
        """The answer; None where there is no such thing."""
        try:
            return self._asked(call, *args)
        except _NotFound:
            return None

    def _asked(self, call: Any, *args: Any) -> Any:
        try:
            return call(*args)
        except (httpx2.HTTPError, OSError) as error:
            raise StartupError(
                f"the schema registry does not answer at {self.url} (SCHEMA_REGISTRY_URL): {error}. "
                "On a laptop: scrapy stack up"
            ) from None
        except SchemaRegistryError as error:
            raise _kind(error)(f"the schema registry at {self.url} (SCHEMA_REGISTRY_URL) answers: {error}") from None
        except (
            ValueError,
            TypeError,
            LookupError,
            AttributeError,
            RecursionError,
        ) as error:  # of the client, reading it
            raise StartupError(
                f"at {self.url} (SCHEMA_REGISTRY_URL) is no schema registry with Confluent's API: its answer cannot be "
                f"read: {type(error).__name__}: {error}"
            ) from None


class _NotFound(StartupError):
    """The registry has no such subject, version or schema."""


class _Conflict(StartupError):
    """The registry has something else in that place, or has refused an incompatible schema."""


def _kind(error: SchemaRegistryError) -> type[StartupError]:
    if error.error_code in _NOT_FOUND or error.http_status_code == 404:
        return _NotFound
    return _Conflict if error.http_status_code == 409 else StartupError


def _without_password(url: str) -> str:
    """The URL as logs and errors may show it."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
