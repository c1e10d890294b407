"""The runbooks: a page for each alert, and nothing in them that is not there."""

from __future__ import annotations

import re
from functools import cache
from importlib import import_module
from pathlib import Path

import pytest
from scrapy.settings import Settings

from tests.monitoring import RUNBOOKS, alerts, expressions
from tests.promql import metrics_of
from tests.support import ROOT

PAGES = sorted(path for path in RUNBOOKS.glob("*.md") if path.name != "README.md")
OF_ALERTS = {alert.page: alert for alert in alerts()}
SHORT = 60
"""Lines of a page."""
_COMMAND = re.compile(r"scrapy ([a-z]+) ?([^`\n#|,;)]*)")
_SETTING = re.compile(r"(?<![\w/])[A-Z][A-Z0-9]+(?:_[A-Z0-9]+)+\b")
_OTHERS = {"MSG_SIZE_TOO_LARGE", "NOT_ENOUGH_REPLICAS", "SASL_SSL", "NAME_FILE", "COMPOSE_FILE"}
"""Words that look like settings."""
_VERBS = ("frontier", "dlq", "claims", "records", "schema")
_SCRAPYS = {"crawl", "parse", "settings", "stack"}

each_page = pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
each_text = pytest.mark.parametrize("path", [*PAGES, RUNBOOKS / "README.md"], ids=lambda path: path.stem)


@cache
def verbs(command: str) -> dict[str, str]:
    """Of `scrapy COMMAND`: usage by verb."""
    module = import_module(f"crawlers.commands.{command}")
    return {name: verb.usage for name, verb in module.Command.verbs.items()}


@cache
def settings() -> set[str]:
    given = Settings()
    given.setmodule("crawlers.settings")
    return set(given) | set(given["SETTINGS_CONTRACT"])


def test_every_alert_has_a_page_that_begins_with_it() -> None:
    for page, alert in OF_ALERTS.items():
        text = (RUNBOOKS / page).read_text()
        assert f"`{alert.name}`, {alert.rule['labels']['severity']}." in text, page


def test_a_page_is_of_an_alert_or_of_work_that_the_index_lists() -> None:
    index = (RUNBOOKS / "README.md").read_text()
    linked = set(re.findall(r"\]\(([\w-]+\.md)\)", index))
    assert linked == {path.name for path in PAGES}
    for page, alert in OF_ALERTS.items():
        title = (RUNBOOKS / page).read_text().splitlines()[0].removeprefix("# ")
        assert f"\n| `{alert.name}` | {alert.rule['labels']['severity']} | [{title}]({page}) |\n" in index
    work = index[index.index("## Work") :]
    assert {path.name for path in PAGES} - OF_ALERTS.keys() == set(re.findall(r"\]\(([\w-]+\.md)\)", work))


@each_page
def test_a_page_is_short_and_says_when_it_is_over(path: Path) -> None:
    text = path.read_text()
    assert text.startswith("# ")
    assert "\n## Over\n" in text
    assert len(text.splitlines()) <= SHORT
    if path.name in OF_ALERTS:
        assert "\n## See it\n\n    " in text
        assert "\n## Do\n" in text
    else:
        assert not re.search(r"^`Seine\w+`, ", text, re.M)


@each_text
def test_commands_that_a_page_names_are_there(path: Path) -> None:
    for command, rest in _COMMAND.findall(path.read_text()):
        if command not in _VERBS:
            assert command in _SCRAPYS, command
            continue
        verb, *words = rest.split() or [""]
        assert verb in verbs(command), f"scrapy {command} {verb}"
        options = {word for word in words if word.startswith("--")}
        known = set(re.findall(r"--[a-z-]+", verbs(command)[verb]))
        assert options <= known, f"scrapy {command} {verb}: {options - known}"


@each_text
def test_a_command_of_compose_leaves_the_fleet_as_secure_and_as_large_as_it_is(path: Path) -> None:
    """Files are those of COMPOSE_FILE; without --scale `up` makes one worker of many."""
    for command in re.findall(r"docker compose ([^`\n]+)", path.read_text()):
        assert not command.startswith(("-f ", "--file ")), command
        if command.startswith("up "):
            assert "--scale worker=" in command, command


@each_text
def test_settings_that_a_page_names_are_there(path: Path) -> None:
    named = set(_SETTING.findall(path.read_text())) - _OTHERS
    assert {name if name in settings() else name.removesuffix("_FILE") for name in named} <= settings()


@each_text
def test_links_of_a_page_lead_somewhere(path: Path) -> None:
    for target, anchor in re.findall(r"\]\(([^)#]+)(?:#([\w-]+))?\)", path.read_text()):
        there = (path.parent / target).resolve()
        assert there.exists(), target
        if anchor:
            titles = re.findall(r"^#+ (.+)$", there.read_text(), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w -]", "", title).strip().lower().replace(" ", "-") for title in titles}


@each_text
def test_metrics_and_files_that_a_page_names_are_there(path: Path) -> None:
    text = path.read_text()
    for name in re.findall(r"(?<![\w/.-])((?:deploy|crawlers|pipelines)/[\w./-]+)", text):
        assert (ROOT / name).exists(), name
    known = {name.removesuffix("_bucket") for one in expressions().values() for name in metrics_of(one)}
    assert set(re.findall(r"`(seine_\w+)[`{]", text)) <= known


def test_figures_of_capacity_are_those_that_were_measured() -> None:
    measured = "".join((ROOT / "docs" / name).read_text() for name in ("performance.md", "operations.md"))
    figures = re.findall(r"\*\*(\d[^*]*)\*\*", (RUNBOOKS / "capacity.md").read_text())
    assert len(figures) > 15
    for figure in figures:
        number, _, unit = figure.partition(" ")
        assert re.search(rf"(?<![\d.,]){re.escape(number)}(?![\d,]|\.\d){f'.*{unit}' if unit else ''}", measured), (
            figure
        )
