"""The verbs of `scrapy schema`. Each tells what it found as lines, or with --json as one JSON value."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from crawlers.exceptions import UserError
from crawlers.schema_report import checked, compared, listed, registered
from pipelines.registry import COMPATIBILITY, Registry
from pipelines.schemas.contracts import CONTRACTS, Contract
from pipelines.schemas.freeze import freeze as frozen
from pipelines.schemas.freeze import frozen_as

if TYPE_CHECKING:
    import argparse

_SIGNS = {"added": "+", "removed": "-", "changed": "~", "described": " "}


def check(settings: Any, args: list[str], opts: argparse.Namespace) -> int:
    """Items, schemas and all versions, and the registry where one is set."""
    registry = _registry(settings) if settings.get("SCHEMA_REGISTRY_URL") else None
    found = [checked(contract, subject, registry) for subject, contract in _contracts(settings).items()]
    _tell(
        opts,
        found,
        [line for one in found for line in one["problems"] or [_all_well(one, asked=registry is not None)]],
    )
    return int(any(one["problems"] for one in found))


def diff(settings: Any, args: list[str], opts: argparse.Namespace) -> int:
    """From the registry's latest version to the committed schema, by field."""
    registry = _registry(settings)
    found = [compared(contract, subject, registry) for subject, contract in _contracts(settings).items()]
    _tell(opts, found, [line for one in found for line in _diff_lines(one)])
    return 0


def register(settings: Any, args: list[str], opts: argparse.Namespace) -> int:
    """Set BACKWARD_TRANSITIVE and register; again is the same as once."""
    registry = _registry(settings)
    found = [registered(contract, subject, registry) for subject, contract in _contracts(settings).items()]
    lines = [
        f"{one['subject']}: {'registered' if one['new'] else 'was registered'} as version {one['version']}, "
        f"id {one['id']}; {COMPATIBILITY}"
        for one in found
    ]
    _tell(opts, found, lines)
    return 0


def list_versions(settings: Any, args: list[str], opts: argparse.Namespace) -> int:
    """Subjects, versions, ids, and which are ours."""
    found = listed(_registry(settings), _contracts(settings))
    cells = [(one["subject"], str(one["version"]), str(one["id"]), one["ours"] or "") for one in found]
    _tell(opts, found, _table([("SUBJECT", "VERSION", "ID", "OURS"), *cells]))
    return 0


def freeze(settings: Any, args: list[str], opts: argparse.Namespace) -> int:
    """Make a changed schema its next committed version."""
    changed = [contract.name for contract in CONTRACTS if frozen_as(contract.name) is None]
    if not changed:
        raise UserError("nothing to freeze: every schema is its latest committed version")
    written = [str(path) for name in changed for path in frozen(name)]
    _tell(opts, written, [f"written, to be committed: {path}" for path in written])
    return 0


def _tell(opts: argparse.Namespace, found: Any, lines: list[str]) -> None:
    print(json.dumps(found, ensure_ascii=False) if opts.json else "\n".join(lines))


def _contracts(settings: Any) -> dict[str, Contract]:
    """The contracts of the topics that are written, by subject."""
    written = [contract for contract in CONTRACTS if settings.get(contract.topic)]
    return {contract.subject(settings): contract for contract in written}


def _registry(settings: Any) -> Registry:
    if not settings.get("SCHEMA_REGISTRY_URL"):
        raise UserError('SCHEMA_REGISTRY_URL is not set. On a laptop: eval "$(scrapy stack env)"')
    return Registry.from_settings(settings)


def _all_well(one: dict[str, Any], *, asked: bool) -> str:
    here = f"{one['schema']}.avsc: version {one['version']}, reads every earlier version"
    if not asked:
        return f"{here}. No registry was asked: SCHEMA_REGISTRY_URL is not set"
    there = one["registered"]
    state = f"registered as version {there['version']}, id {there['id']}" if there else "not registered yet"
    return f"{here}. {one['subject']}: compatible with every version there, {state}"


def _diff_lines(one: dict[str, Any]) -> list[str]:
    before = "nothing" if one["latest"] is None else f"version {one['latest']}"
    head = f"{one['subject']}: from {before} there to {one['schema']}.avsc"
    if not one["changes"]:
        return [f"{head}: no field differs"]
    width = max(len(change["field"]) for change in one["changes"])
    return [head + ":", *(_change_line(change, width) for change in one["changes"])]


def _change_line(change: dict[str, str], width: int) -> str:
    sides = dict.fromkeys(side for side in (change["before"], change["after"]) if side)
    note = "  (its description)" if change["change"] == "described" else ""
    return f"  {_SIGNS[change['change']]} {change['field'].ljust(width)}  {'  ->  '.join(sides)}{note}"


def _table(rows: list[tuple[str, ...]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
