"""`scrapy schema check | register`: the committed schemas against the registry."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, ClassVar

from scrapy.commands import ScrapyCommand
from scrapy.exceptions import UsageError

from crawlers.exceptions import SeineError, UserError
from pipelines.registry import Registry

if TYPE_CHECKING:
    import argparse


class Command(ScrapyCommand):
    """`register` is what a production registry needs once per version: workers there only look schemas up."""

    requires_project = True
    requires_crawler_process = False
    default_settings: ClassVar[dict[str, Any]] = {"LOG_ENABLED": False}

    def syntax(self) -> str:
        return "check|register"

    def short_desc(self) -> str:
        return "Check the committed schemas against the registry, or register them"

    def run(self, args: list[str], opts: argparse.Namespace) -> None:
        if args not in (["check"], ["register"]):
            raise UsageError("expected: scrapy schema check, or scrapy schema register")
        try:
            self._run(args[0])
        except SeineError as error:
            print(f"seine: {error}", file=sys.stderr)
            self.exitcode = error.exit_code

    def _run(self, verb: str) -> None:
        assert self.settings is not None
        url = self.settings.get("SCHEMA_REGISTRY_URL")
        if not url:
            raise UserError('SCHEMA_REGISTRY_URL is not set. On a laptop: eval "$(scrapy stack env)"')
        subject = f"{self.settings['KAFKA_TOPIC_PRODUCTS']}-value"
        if verb == "register":
            schema_id = Registry(url).schema_id(subject, "products", register=True)
            print(f"{subject}: registered as id {schema_id}")
            return
        problems = Registry(url).check(subject, "products")
        print(f"{subject}: {'; '.join(problems) or 'compatible with every version there'}")
        self.exitcode = int(bool(problems))
