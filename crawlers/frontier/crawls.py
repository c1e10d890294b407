"""Crawls: one pass over the seeds each, known to every worker by its definition or its name."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import msgpack

from crawlers.exceptions import Skipped, UserError
from crawlers.frontier.connection import failed
from crawlers.frontier.fingerprints import PROJECT
from crawlers.frontier.paging import escaped, pages
from crawlers.frontier.scripts import Command, run
from crawlers.lineage import fresh_crawl_id

if TYPE_CHECKING:
    from crawlers.frontier.connection import Connection
    from crawlers.frontier.keys import Keys

LIST = "list:"
"""What the source of a crawl begins with whose seeds are a list."""
IMPORT = "import:"
"""What it begins with where the crawl was brought over from scrapy-redis; the formula of its fingerprints follows."""
_TERMS = ("delivered", "expanded", "redirected", "empty", "filtered", "dead", "pending")


class Definition(NamedTuple):
    """What a crawl is about. Workers whose definitions are equal join the same crawl."""

    sites: tuple[str, ...] = ()
    urls: tuple[str, ...] = ()
    follow: bool = True
    source: str = ""
    """Where its URLs come from when they are pushed: a list's key, LIST and the name of a file, or IMPORT."""

    @classmethod
    def read(cls, text: str) -> Definition | None:
        """That of its `text`; None for one of given URLs, which only its own workers were told."""
        fields = json.loads(text)
        if fields.get("urls"):
            return None
        return cls(tuple(fields.get("sites", ())), follow=fields["follow"], source=fields.get("source", ""))

    @property
    def is_of_list(self) -> bool:
        """Whether a command seeds it, and not its workers."""
        return self.source.startswith(LIST) or self.is_import

    @property
    def is_import(self) -> bool:
        """Whether it was brought over from scrapy-redis."""
        return self.source.startswith(IMPORT)

    @property
    def formula(self) -> str:
        """Of the fingerprints by which its requests are known."""
        return self.source.removeprefix(IMPORT) if self.is_import else PROJECT

    @property
    def text(self) -> str:
        """As JSON; a long list of URLs by its digest."""
        urls: Any = list(self.urls)
        if len(urls) > 100:
            digest = hashlib.sha256("\n".join(urls).encode()).hexdigest()
            urls = {"count": len(urls), "sha256": digest}
        fields = {"sites": list(self.sites), "urls": urls, "follow": self.follow, "source": self.source}
        return json.dumps({name: value for name, value in fields.items() if value or name == "follow"}, sort_keys=True)

    @property
    def digest(self) -> str:
        """Names the definition."""
        return hashlib.sha256(self.text.encode()).hexdigest()[:16]


@dataclass
class Totals:
    """The equation of a crawl, summed over its shards: exact in each, and together when nothing changes."""

    state: str = "gone"
    counts: dict[str, int] = field(default_factory=dict)
    leased: int = 0
    delayed: int = 0
    workers: int = 0
    letters: int = 0
    """Dead letters that are to be written."""
    versions: tuple[int, ...] = ()

    def term(self, name: str) -> int:
        """One term of the equation, 0 where nothing was counted."""
        return self.counts.get(name, 0)

    @property
    def known(self) -> int:
        """Seeded and discovered: the left side."""
        return self.term("seeded") + self.term("discovered")

    @property
    def open(self) -> int:
        """Requests that have no outcome yet."""
        return self.term("pending") + self.leased + self.delayed

    @property
    def right_side(self) -> dict[str, int]:
        """The terms of the right side."""
        return {**{name: self.term(name) for name in _TERMS}, "delayed": self.delayed, "leased": self.leased}

    @property
    def accounted(self) -> int:
        """The right side's sum."""
        return sum(self.right_side.values())

    @property
    def balanced(self) -> bool:
        """Whether everything adds up."""
        return self.known == self.accounted

    def by_reason(self, term: str) -> dict[str, int]:
        """The reasons of `filtered` or `dead`."""
        return {name.partition(":")[2]: n for name, n in self.counts.items() if name.startswith(f"{term}:") and n}


class Crawls:
    """The registry of a spider's crawls, over connections to its shards (the first is shard 0's)."""

    def __init__(self, keys: Keys, connections: list[Connection]):
        self.keys = keys
        self._connections = connections
        self._registry = connections[0]

    async def open(
        self,
        definition: Definition,
        name: str = "",
        *,
        depth_first: bool = False,
        listed: bool = False,
        overlap: str = "join",
        starting_ms: int = 0,
    ) -> tuple[str, bool]:
        """(name, whether it was opened now) of the open crawl of `definition`, or of the crawl `name`.

        `listed`: one that is opened now is seeded by a list, and not by its workers. A worker takes no longer than
        `starting_ms` to register and call `started`. Raises UserError where `name` is another definition's, or
        complete; Skipped where the `overlap` is `skip` and somebody is at work on it.
        """
        if name:
            _check_name(name)
        reply = await self._run(
            "open",
            definition.digest,
            definition.text,
            name,
            fresh_crawl_id(),
            self.keys.shards,
            json.dumps(definition.sites),
            "list" if listed else "",
            overlap,
            starting_ms,
        )
        crawl, opened, state, digest, shards = reply[0].decode(), reply[1] == 1, reply[2].decode(), reply[3], reply[4]
        if digest.decode() != definition.digest:
            raise UserError(f"crawl {crawl} has other sites or URLs: name another with -s FRONTIER_CRAWL_ID=")
        if shards != self.keys.shards:
            raise UserError(f"crawl {crawl} has {shards} shards: set FRONTIER_SHARDS={shards}, or open another")
        if state == "complete":
            raise UserError(
                f"crawl {crawl} is complete: name another with -s FRONTIER_CRAWL_ID=, or fetch its dead requests again "
                f"with `scrapy frontier requeue --dead --crawl {crawl}`"
            )
        if reply[1] == -1:
            raise Skipped(f"skipped: workers are at crawl {crawl} already; CRAWL_OVERLAP=join would join them")
        if opened or state == "running":
            await self._everywhere(crawl, "running", depth_first=depth_first)
        return crawl, opened

    async def started(self, crawl: str) -> None:
        """A worker that opened or joined the crawl has registered."""
        await self._registry.one("HDEL", f"{self.keys.registry}:crawl:{crawl}", "starting")

    async def kept(self, crawl: str, name: str, wanted: str) -> str:
        """What all of its workers do, `delivery` or `emit`: as the first one `wanted` it."""
        key = f"{self.keys.registry}:crawl:{crawl}"
        await self._registry.one("HSETNX", key, name, wanted)
        return (await self._registry.one("HGET", key, name)).decode()  # type: ignore[no-any-return]

    async def definition(self, name: str) -> Definition | None:
        """What the crawl `name` is about, for a worker that joins it by its name alone; None where there is none.

        Raises UserError for a crawl of given URLs, as its workers must have been given them.
        """
        described = await self.describe(name)
        if not described:
            return None
        definition = Definition.read(described["definition"])
        if definition is None:
            raise UserError(f"crawl {name} is one of given URLs: give its workers the same -a urls=")
        return definition

    async def formula(self, name: str) -> str:
        """The formula of a crawl's fingerprints."""
        definition = Definition.read((await self.describe(name))["definition"])
        return definition.formula if definition is not None else PROJECT

    async def set_state(
        self, crawl: str, state: str, *, may_reopen: bool = False, is_judged: bool = False
    ) -> tuple[str, str]:
        """(state that it has now, state that it had); a complete crawl stays so, unless it `may_reopen`."""
        now, had = (part.decode() for part in await self._run("state", crawl, state, int(may_reopen), int(is_judged)))
        if now == state and state != "gone":
            await self._everywhere(crawl, state)
        return now, had

    async def state(self, crawl: str) -> str:
        """The registry's word; 'gone' for a crawl that is not there."""
        found = await self._registry.one("HGET", f"{self.keys.registry}:crawl:{crawl}", "state")
        return found.decode() if found else "gone"

    async def describe(self, crawl: str) -> dict[str, str]:
        """The registry's hash of a crawl; empty where there is none."""
        flat = await self._registry.one("HGETALL", f"{self.keys.registry}:crawl:{crawl}")
        return {flat[i].decode(): flat[i + 1].decode() for i in range(0, len(flat), 2)}

    async def names(self, most: int = 100) -> list[str]:
        """The latest crawls, the newest first."""
        found = await self._registry.one("ZREVRANGE", f"{self.keys.registry}:crawls", 0, most - 1)
        return [name.decode() for name in found]

    async def running(self) -> list[tuple[str, str]]:
        """(name, definition as JSON) of the open crawls that are running."""
        names = await self._registry.one("HVALS", f"{self.keys.registry}:open")
        described = [(name.decode(), await self.describe(name.decode())) for name in names]
        return [(name, fields["definition"]) for name, fields in described if fields.get("state") == "running"]

    async def last_opened(self) -> dict[str, float]:
        """When a crawl of each site was last opened, in seconds since the epoch."""
        flat = await self._registry.one("HGETALL", f"{self.keys.registry}:sites")
        return {flat[i].decode(): int(flat[i + 1]) / 1000 for i in range(0, len(flat), 2)}

    async def longest_gaps(self) -> dict[str, float]:
        """The most seconds between two of the last crawls of each site, which were opened one after the other."""
        flat = await self._registry.one("HGETALL", f"{self.keys.registry}:openings")
        gaps = {}
        for site, text in zip(flat[::2], flat[1::2], strict=True):
            moments = [int(moment) / 1000 for moment in text.split()]
            if len(moments) > 1:
                gaps[site.decode()] = max(later - earlier for earlier, later in pairwise(moments))
        return gaps

    async def totals(self, crawl: str) -> Totals:
        """The equation of `crawl`."""
        total, versions = Totals(state=await self.state(crawl)), []
        for number, connection in enumerate(self._connections):
            reply = await connection.one(*run("totals", self.keys.shard(number), self.keys.crawl(number, crawl)))
            _, counts, leased, delayed, _, workers, letters = msgpack.unpackb(reply, raw=False)
            versions.append(counts.pop("version"))
            for name, n in counts.items():
                total.counts[name] = total.counts.get(name, 0) + n
            total.leased += leased
            total.delayed += delayed
            total.letters += letters
            total.workers = max(total.workers, workers)
        total.versions = tuple(versions)
        return total

    async def complete(self, crawl: str, keep_seconds: int, *, is_judged: bool = False) -> bool:
        """Whether the crawl is complete; the last worker to find nothing open makes it so.

        `is_judged`: from then on, what it came to is to be judged by a worker (lua/judge.lua).

        It is not while a dead letter is to be written. A double collect: what was empty in every shard, twice, with
        nothing changed in between, was empty at once.
        """
        first = await self.totals(crawl)
        if first.state == "complete":
            return True
        if (
            first.open
            or first.letters
            or (len(self._connections) > 1 and (await self.totals(crawl)).versions != first.versions)
        ):
            return False
        state, had = await self.set_state(crawl, "complete", is_judged=is_judged)
        if state == "complete" and had != "complete":
            await self._expire(crawl, keep_seconds)
        return state == "complete"

    async def reopen(self, crawl: str) -> None:
        """A complete crawl has requests again."""
        await self.set_state(crawl, "running", may_reopen=True)
        for number, connection in enumerate(self._connections):
            async for batch in self.keys_of(crawl, number):
                await connection.call(*(("PERSIST", key) for key in batch if b":done:" not in key))

    async def expect_letters(self, crawl: str) -> None:
        """From now on somebody writes the dead letters of requests that die without a worker at them."""
        for number in range(len(self._connections)):
            await self._letters(crawl, number, "expect")

    async def claim_letters(self, crawl: str, number: int, most: int, milliseconds: int) -> list[list[Any]]:
        """Dead requests of a shard whose letters are the caller's to write: rows of lua/letters.lua."""
        found: list[list[Any]] = await self._letters(crawl, number, "claim", most, milliseconds)
        return found

    async def letters_written(self, crawl: str, number: int, written: list[tuple[bytes, int]]) -> None:
        """The letters of these deaths, id and how many-th, are in Kafka."""
        await self._letters(crawl, number, "written", *(part for death in written for part in death))

    async def _letters(self, crawl: str, number: int, *arguments: str | bytes | float) -> Any:
        roots = self.keys.shard(number), self.keys.crawl(number, crawl)
        return msgpack.unpackb(await self._connections[number].one(*run("letters", *roots, *arguments)), raw=True)

    async def keys_of(self, crawl: str, number: int) -> Any:
        """The keys of a crawl in a shard, in batches."""
        pattern = escaped(f"{self.keys.crawl(number, crawl)}:") + b"*"
        async for batch in pages(self._connections[number], "SCAN", match=pattern):
            yield batch

    async def judge(self, crawl: str, token: str, action: str, *arguments: str | bytes | float) -> Any:
        """The reply of lua/judge.lua."""
        return await self._run("judge", crawl, token, action, *arguments)

    async def ask(self, *commands: Command) -> list[Any]:
        """The registry's replies."""
        return _good(await self._registry.call(*commands))

    async def everywhere(self, crawl: str, *commands: tuple[str, str, *tuple[int, ...]]) -> list[list[Any]]:
        """The replies of every shard; the first argument of a command is a key below the crawl's root there."""
        found = []
        for number, connection in enumerate(self._connections):
            root = self.keys.crawl(number, crawl)
            asked: list[Command] = [(name, f"{root}:{key}", *rest) for name, key, *rest in commands]
            found.append(_good(await connection.call(*asked)))
        return found

    async def seeding(self, crawl: str, worker: str, action: str, number: int = 0) -> list[Any]:
        """The reply of lua/seeding.lua."""
        reply = await self._run("seeding", crawl, worker, action, number)
        return [part.decode() if isinstance(part, bytes) else part for part in reply]

    async def noted(self, crawl: str, name: str) -> str | None:
        """What is noted of the list `name` that is seeded into a crawl, as JSON."""
        text = await self._registry.one("HGET", f"{self.keys.crawl(0, crawl)}:lists", name)
        return None if text is None else text.decode()

    async def note(self, crawl: str, name: str, text: str) -> None:
        """Note how far the list is."""
        await self._registry.one("HSET", f"{self.keys.crawl(0, crawl)}:lists", name, text)

    async def close(self) -> None:
        """Drop the connections."""
        for connection in self._connections:
            await connection.close()

    async def _expire(self, crawl: str, seconds: int) -> None:
        """What a complete crawl leaves goes by itself, its dead requests among it."""
        for number, connection in enumerate(self._connections):
            async for batch in self.keys_of(crawl, number):
                await connection.call(*(("EXPIRE", key, seconds) for key in batch if b":done:" not in key))

    async def _everywhere(self, crawl: str, state: str, *, depth_first: bool | None = None) -> None:
        for number, connection in enumerate(self._connections):
            key = f"{self.keys.crawl(number, crawl)}:meta"
            await connection.one("HSET", key, "state", state)
            if depth_first is not None:
                await connection.one("HSETNX", key, "depth_first", int(depth_first))

    async def _run(self, script: str, *arguments: str | bytes | float) -> Any:
        return await self._registry.one(*run(script, self.keys.shard(0), self.keys.registry, *arguments))


def _good(replies: list[Any]) -> list[Any]:
    """`replies`, none of which is an error; the first that is is raised."""
    if error := failed(replies):
        raise error
    return replies


def _check_name(name: str) -> None:
    """A name is a part of keys: none may be the beginning of another's, nor one of the registry's own."""
    if not re.fullmatch(r"[\w.@+=-]{1,200}", name) or name in ("crawl", "crawls", "open", "sites", "monitors"):
        raise UserError(f"FRONTIER_CRAWL_ID={name}: expected a crawl's name: letters, digits, and any of . _ @ + = -")
