"""What `scrapy schema` finds out: the items, the committed schemas and their versions, and the registry's."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from avro.schema import parse

from crawlers.exceptions import IncompatibleSchema, UserError
from pipelines.registry import Registry
from pipelines.schemas import committed_versions, is_same, schema_text
from pipelines.schemas.compatibility import unreadable_versions
from pipelines.schemas.conformity import mismatches
from pipelines.schemas.contracts import Contract
from pipelines.schemas.diff import differences
from pipelines.schemas.freeze import frozen_as

_NOTHING = '{"type": "record", "name": "Nothing", "fields": []}'


def checked(contract: Contract, subject: str, registry: Registry | None) -> dict[str, Any]:
    """{schema, version, subject, registered, problems}.

    `version` is the committed one that the schema is, None where it is none; `registered` is the registry's
    {version, id} of it, None where it has none or was not asked.
    """
    text = schema_text(contract.name)
    problems = [f"{contract.name}.avsc: {problem}" for problem in _offline_problems(contract, text)]
    registered = None
    if registry is not None:
        problems += [f"{subject} at {registry.url}: {problem}" for problem in registry.check(subject, contract.name)]
        registered = registry.lookup(subject, text)
    return {
        "schema": contract.name,
        "version": frozen_as(contract.name),
        "subject": subject,
        "registered": registered and {"version": registered.number, "id": registered.id},
        "problems": problems,
    }


def _offline_problems(contract: Contract, text: str) -> list[str]:
    schema: Any = parse(text)
    problems = [] if contract.item is None else mismatches(contract.item, schema)
    problems += unreadable_versions(text, committed_versions(contract.name))
    if frozen_as(contract.name) is None:
        problems.append("it is not its latest committed version. Once it is as it shall be: scrapy schema freeze")
    return problems


def compared(contract: Contract, subject: str, registry: Registry) -> dict[str, Any]:
    """{schema, subject, latest, changes}: from the registry's latest version to the committed schema.

    `latest` is None where the registry has none, and every field then counts as added.
    """
    latest = max(registry.versions(subject), key=lambda version: version.number, default=None)
    before: Any = parse(latest.text if latest else _NOTHING)
    after: Any = parse(schema_text(contract.name))
    changes = [asdict(change) for change in differences(before, after)]
    return {"schema": contract.name, "subject": subject, "latest": latest and latest.number, "changes": changes}


def registered(contract: Contract, subject: str, registry: Registry) -> dict[str, Any]:
    """{subject, version, id, new}.

    Raises IncompatibleSchema naming the fields, UserError where the schema is no committed version.
    """
    text = schema_text(contract.name)
    if frozen_as(contract.name) is None:
        raise UserError(f"{contract.name}.avsc is not its latest committed version. First: scrapy schema freeze")
    if problems := registry.check(subject, contract.name):
        raise IncompatibleSchema(f"{subject} at {registry.url}: {'; '.join(problems)}")
    before = registry.lookup(subject, text)
    now = registry.register(subject, text)
    return {"subject": subject, "version": now.number, "id": now.id, "new": before is None}


def listed(registry: Registry, ours: dict[str, Contract]) -> list[dict[str, Any]]:
    """{subject, version, id, ours} of everything there; `ours` names the committed file that it is, or is None.

    The argument `ours` has the contracts by subject.
    """
    return [
        {
            "subject": subject,
            "version": version.number,
            "id": version.id,
            "ours": _file(ours[subject].name, version.text) if subject in ours else None,
        }
        for subject in registry.subjects()
        for version in registry.versions(subject)
    ]


def _file(name: str, text: str) -> str | None:
    """The committed file that is the schema `text`."""
    if is_same(text, schema_text(name)):
        return f"{name}.avsc"
    versions = committed_versions(name)
    return next((f"versions/{name}.{number}.avsc" for number in versions if is_same(text, versions[number])), None)
