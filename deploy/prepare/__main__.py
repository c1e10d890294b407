"""python -m deploy.prepare [kafka] [schemas] [claims]: each may be done again at any time, and changes nothing then."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from scrapy.utils.project import get_project_settings

from crawlers.exceptions import SeineError
from crawlers.schema_report import registered
from crawlers.settings_check import check_settings
from deploy.prepare.claims import prepare_folder
from deploy.prepare.rights import grant
from pipelines.registry import Registry
from pipelines.schemas.contracts import CONTRACTS
from pipelines.topics import contract_topics, ensure_topics


def main(argv: list[str] | None = None) -> int:
    """Exit code 0: all is there. 1: a service fails. 2: a mistake."""
    options = _parser().parse_args(argv)
    settings = get_project_settings()
    parts = {"kafka": _kafka, "schemas": _schemas, "claims": _claims}
    try:
        check_settings(settings)
        for part in options.parts:
            print(f"{part}: {parts[part](settings, options)}", flush=True)
    except SeineError as error:
        print(f"seine: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m deploy.prepare", description="Prepare what workers need.")
    parser.add_argument("parts", nargs="+", choices=("kafka", "schemas", "claims"), help="what to prepare, in order")
    parser.add_argument(
        "--passwords", type=Path, metavar="FOLDER", help="kafka: files kafka_ROLE_password; makes users and rights"
    )
    parser.add_argument("--superuser", default="hadoop", help="claims: HDFS's superuser (default: %(default)s)")
    return parser


def _kafka(settings: Any, options: argparse.Namespace) -> str:
    ensure_topics(settings)
    told = f"topics {', '.join(contract_topics(settings))}"
    if options.passwords is None:
        return told
    return f"{told}; users {', '.join(grant(settings, options.passwords))}"


def _schemas(settings: Any, options: argparse.Namespace) -> str:
    registry = Registry.from_settings(settings)
    written = [contract for contract in CONTRACTS if settings.get(contract.topic)]
    found = [registered(contract, contract.subject(settings), registry) for contract in written]
    return ", ".join(f"{one['subject']} version {one['version']}" for one in found)


def _claims(settings: Any, options: argparse.Namespace) -> str:
    return prepare_folder(settings, options.superuser)


if __name__ == "__main__":
    sys.exit(main())
