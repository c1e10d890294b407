"""A batch of letters that are replayed together: one Kafka transaction, between two words with the frontier."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING

from crawlers.dead_letters.items import DEAD_AGAIN, DELIVERED, DROPPED, Replayed
from crawlers.dead_letters.requests import ELSEWHERE, NOT_DEAD, SENT_BACK, STILL_OPEN
from crawlers.exceptions import RejectedRecord, StartupError, UserError
from crawlers.frontier.reviving import ALIVE, BACK, DONE, LATER, TAKEN
from pipelines.letter import ITEM, REQUEST
from pipelines.producer import Record

if TYPE_CHECKING:
    from collections.abc import Sequence

    from crawlers.dead_letters.frontiers import Frontiers
    from crawlers.dead_letters.items import ItemReplays
    from crawlers.dead_letters.letter import Letter
    from crawlers.dead_letters.requests import RequestReplay
    from crawlers.dead_letters.transaction import Transactions

Valued = tuple["Letter", bytes | None]
"""A letter and its bytes."""
_LEFT = {BACK: NOT_DEAD, LATER: NOT_DEAD, ALIVE: STILL_OPEN, TAKEN: STILL_OPEN}
"""What the frontier says of items that are not to be replayed: somebody else has their page."""
_DONE_WITH = {SENT_BACK, ELSEWHERE, NOT_DEAD, DELIVERED, DEAD_AGAIN, DROPPED}
"""Results that a receipt tells; with others, another replay may do better."""


class Batch:
    """Letters of one kind or both."""

    def __init__(self, topic: str, letters: Sequence[Valued]):
        self._topic = topic
        self._requests = [one for one in letters if one[0].kind == REQUEST]
        self._items = [one for one in letters if one[0].kind == ITEM]
        self._results: dict[str, Replayed] = {}
        """By the letter's id."""
        self._taken: list[Letter] = []
        """Those whose requests nobody else sends back meanwhile."""
        self._is_begun = False
        """Whether anything of it is committed."""

    async def replay(
        self, frontiers: Frontiers, back: RequestReplay, items: ItemReplays, transactions: Transactions
    ) -> Counter[str]:
        """How many came to what."""
        told = await back.send_back(self._requests) if self._requests else {}
        self._results = {id_: Replayed(result, []) for id_, result in told.items()}
        try:
            await self._through(frontiers, items)
            await self._keep(frontiers)
        except BaseException:
            await frontiers.tell("free", self._taken)
            raise
        try:
            await self._commit([*self._requests, *self._items], items, transactions)
        except (RejectedRecord, StartupError):
            if not self._is_begun:  # else the next replay reads what was committed
                await frontiers.tell("free", self._taken)
            raise
        delivered = [letter for letter, _ in self._items if self._results[letter.id].result == DELIVERED]
        await frontiers.tell("delivered", delivered)
        await frontiers.tell("free", [letter for letter in self._taken if letter not in delivered])
        return Counter(replayed.result for replayed in self._results.values())

    @property
    def crawls(self) -> set[tuple[str, str]]:
        """(spider, crawl) of the requests that went back."""
        sent = (letter for letter, _ in self._requests if self._results[letter.id].result == SENT_BACK)
        return {(letter.spider, letter.crawl) for letter in sent}

    async def _through(self, frontiers: Frontiers, items: ItemReplays) -> None:
        """Items whose page was sent back are left to it."""
        told = await frontiers.tell("take", [letter for letter, _ in self._items])
        self._taken = [letter for letter, _ in self._items if told[letter.id] == DONE]
        for letter, value in self._items:
            if told[letter.id] in _LEFT:
                self._results[letter.id] = Replayed(_LEFT[told[letter.id]], [])
            else:
                self._results[letter.id] = await self._one_through(items, letter, value)

    async def _keep(self, frontiers: Frontiers) -> None:
        """Items that took too long may be somebody else's by now."""
        told = await frontiers.tell("keep", self._taken)
        for letter in self._taken:
            if told[letter.id] in _LEFT:
                self._results[letter.id] = Replayed(_LEFT[told[letter.id]], [])
        self._taken = [letter for letter in self._taken if told[letter.id] == DONE]

    async def _one_through(self, items: ItemReplays, letter: Letter, value: bytes | None) -> Replayed:
        try:
            return await (await items.of(letter.spider)).through(letter, value)
        except UserError as error:
            return Replayed(f"cannot be replayed: {error}", [])

    async def _commit(self, letters: Sequence[Valued], items: ItemReplays, transactions: Transactions) -> None:
        """What came of these letters, and their receipts; a record that Kafka refuses takes no other with it."""
        records = [record for letter, _ in letters for record in self._records(letter)]
        try:
            if records:
                await asyncio.to_thread(transactions.commit, records)
        except RejectedRecord as error:
            if len(letters) > 1:
                for one in letters:
                    await self._commit([one], items, transactions)
                return
            [(letter, value)] = letters
            if letter.kind == REQUEST or self._results[letter.id].result == DEAD_AGAIN:
                raise
            self._results[letter.id] = await (await items.of(letter.spider)).refused(letter, value, error)
            await self._commit(letters, items, transactions)
        else:
            self._is_begun |= bool(records)

    def _records(self, letter: Letter) -> list[Record]:
        result, records = self._results[letter.id]
        if result not in _DONE_WITH:
            return []
        return [*records, Record(self._topic, letter.key.encode(), b"", letter.receipt(result))]
