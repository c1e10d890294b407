"""Verbs that change nothing."""

from __future__ import annotations

import heapq
import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from crawlers.dead_letters import display
from crawlers.dead_letters.letter import Letter
from crawlers.dead_letters.selection import Selection
from crawlers.dead_letters.statistics import Statistics
from crawlers.dead_letters.topic import LetterTopic
from crawlers.exceptions import UserError
from crawlers.frontier.display import put

if TYPE_CHECKING:
    import argparse

_NEWEST = 20
_ANY = Selection()


async def list_letters(settings: Any, args: list[str], opts: argparse.Namespace) -> int:
    """The newest letters, oldest first, and what became of those that were replayed."""
    selection, most = Selection.of(opts), opts.limit or _NEWEST
    newest: list[tuple[int, int, int, Letter]] = []
    results: dict[str, str] = {}
    seen: set[str] = set()
    with LetterTopic(settings) as topic:
        for letter in topic.letters(selection.since):
            if letter.is_receipt:
                results[letter.id] = letter.result
            elif selection.has(letter) and letter.id not in seen:
                seen.add(letter.id)
                heapq.heappush(newest, (letter.timestamp, letter.partition, letter.offset, letter))
                if len(newest) > most:
                    heapq.heappop(newest)
    found = [(letter, results.get(letter.id, "")) for *_, letter in sorted(newest, key=lambda entry: entry[:3])]
    if opts.json:
        for letter, result in found:
            print(json.dumps(_told(letter, result), ensure_ascii=False))
    else:
        put(display.letters(found))
    return 0


async def show(settings: Any, args: list[str], opts: argparse.Namespace) -> int:
    """One letter, whole. Its id may be given by its beginning."""
    [wanted] = args
    found: dict[str, Letter] = {}
    results: dict[str, str] = {}
    with LetterTopic(settings) as topic:
        for letter in topic.letters():
            if letter.id.startswith(wanted):
                if letter.is_receipt:
                    results[letter.id] = letter.result
                else:
                    found[letter.id] = letter
        if not found:
            raise UserError(f"no letter {wanted} in {topic.name}: `scrapy dlq list` has their ids")
        if len(found) > 1:
            raise UserError(f"{len(found)} letters begin with {wanted}: {', '.join(sorted(found)[:5])}")
        [(letter, value)] = topic.values(found.values())
    result = results.get(letter.id, "")
    if opts.json:
        print(json.dumps({**_told(letter, result), "value": display.readable(value)}, ensure_ascii=False))
    else:
        put(display.letter(letter, result, value))
    return 0


async def stats(settings: Any, args: list[str], opts: argparse.Namespace) -> int:
    """How many letters there are, of what, and how many were replayed."""
    selection = Selection.of(opts)
    with LetterTopic(settings) as topic:
        found = Statistics.of(topic.letters(selection.since), selection, settings.getint("DLQ_REPLAY_TIMES"))
    if opts.json:
        print(found.to_json())
    else:
        put(display.statistics(found))
    return 0


def _told(letter: Letter, result: str) -> dict[str, Any]:
    """As JSON: what is empty is left out."""
    fields = {**asdict(letter), "time": letter.time, "replayed": result}
    return {name: value for name, value in fields.items() if value not in ("", None) and name != "result"}
