"""`scrapy schema`: the committed schemas, and what the registry holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from crawlers.verbs import Verb, VerbCommand

if TYPE_CHECKING:
    import argparse


class Command(VerbCommand):
    """`register` is what a production registry needs once per version: workers there only look schemas up.

    Exit code 0: done, or all is well. 1: a schema breaks its contract, or the registry fails. 2: a mistake.
    """

    name = "schema"
    verbs: ClassVar[dict[str, Verb]] = {
        name: Verb(f"crawlers.schema_verbs.{function}", f"{name} [--json]")
        for name, function in {
            "check": "check",
            "diff": "diff",
            "register": "register",
            "list": "list_versions",
            "freeze": "freeze",
        }.items()
    }

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
