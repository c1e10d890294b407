"""`scrapy schema check | diff | register | list | freeze`: the committed schemas, and what the registry holds."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any, ClassVar

from scrapy.commands import ScrapyCommand
from scrapy.exceptions import UsageError

from crawlers.exceptions import SeineError, UserError
from crawlers.schema_report import checked, compared, listed, registered
from pipelines.registry import COMPATIBILITY, Registry
from pipelines.schemas.contracts import CONTRACTS, Contract
from pipelines.schemas.freeze import freeze, frozen_as

if TYPE_CHECKING:
    import argparse

_SIGNS = {"added": "+", "removed": "-", "changed": "~", "described": " "}

Answer = tuple[Any, list[str]]
"""What a verb found, as JSON's types and as lines."""


class Command(ScrapyCommand):
    """`register` is what a production registry needs once per version: workers there only look schemas up."""

    requires_project = True
    requires_crawler_process = False
    default_settings: ClassVar[dict[str, Any]] = {"LOG_ENABLED": False}

    def syntax(self) -> str:
        return "check|diff|register|list|freeze [--json]"

    def short_desc(self) -> str:
        return "Check, compare, register, list and freeze the schemas of the topics"

    def long_desc(self) -> str:
        return (
            "check: items, schemas and all versions, and the registry where one is set. "
            "diff: from the registry's latest version to the committed schema, by field. "
            "register: set BACKWARD_TRANSITIVE and register; again is the same as once. "
            "list: subjects, versions, ids, and which are ours. "
            "freeze: make a changed schema its next committed version."
        )

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        super().add_options(parser)
        parser.add_argument("--json", action="store_true", help="print JSON")

    def run(self, args: list[str], opts: argparse.Namespace) -> None:
        verbs = {"check": self._check, "diff": self._diff, "register": self._register, "list": self._list}
        verbs["freeze"] = self._freeze
        if len(args) != 1 or args[0] not in verbs:
            raise UsageError("expected: scrapy schema check, diff, register, list or freeze")
        try:
            found, lines = verbs[args[0]]()
            print(json.dumps(found, ensure_ascii=False) if opts.json else "\n".join(lines))
        except SeineError as error:
            print(f"seine: {error}", file=sys.stderr)
            self.exitcode = error.exit_code

    def _check(self) -> Answer:
        registry = self._registry() if self._url else None
        found = [checked(contract, subject, registry) for subject, contract in self._contracts.items()]
        self.exitcode = int(any(one["problems"] for one in found))
        lines = [line for one in found for line in one["problems"] or [_all_well(one, asked=registry is not None)]]
        return found, lines

    def _diff(self) -> Answer:
        registry = self._registry()
        found = [compared(contract, subject, registry) for subject, contract in self._contracts.items()]
        return found, [line for one in found for line in _diff_lines(one)]

    def _register(self) -> Answer:
        registry = self._registry()
        found = [registered(contract, subject, registry) for subject, contract in self._contracts.items()]
        lines = [
            f"{one['subject']}: {'registered' if one['new'] else 'was registered'} as version {one['version']}, "
            f"id {one['id']}; {COMPATIBILITY}"
            for one in found
        ]
        return found, lines

    def _list(self) -> Answer:
        found = listed(self._registry(), self._contracts)
        cells = [(one["subject"], str(one["version"]), str(one["id"]), one["ours"] or "") for one in found]
        return found, _table([("SUBJECT", "VERSION", "ID", "OURS"), *cells])

    def _freeze(self) -> Answer:
        changed = [contract.name for contract in CONTRACTS if frozen_as(contract.name) is None]
        if not changed:
            raise UserError("nothing to freeze: every schema is its latest committed version")
        written = [str(path) for name in changed for path in freeze(name)]
        return written, [f"written, to be committed: {path}" for path in written]

    @property
    def _contracts(self) -> dict[str, Contract]:
        """The contracts of the topics that are written, by subject."""
        assert self.settings is not None
        written = [contract for contract in CONTRACTS if self.settings.get(contract.topic)]
        return {contract.subject(self.settings): contract for contract in written}

    @property
    def _url(self) -> str | None:
        assert self.settings is not None
        return self.settings.get("SCHEMA_REGISTRY_URL")

    def _registry(self) -> Registry:
        if not self._url:
            raise UserError('SCHEMA_REGISTRY_URL is not set. On a laptop: eval "$(scrapy stack env)"')
        return Registry.from_settings(self.settings)


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
