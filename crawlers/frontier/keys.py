"""Names of the frontier's keys. lua/common.lua describes what they hold."""

from __future__ import annotations

import zlib
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys of one fleet: all that share a namespace share domains, workers and crawls."""

    namespace: str
    spider: str
    shards: int = 1

    def shard_of(self, domain: str) -> int:
        """The shard that a domain belongs to, whatever the crawl."""
        return zlib.crc32(domain.encode()) % self.shards if self.shards > 1 else 0

    def shard(self, number: int) -> str:
        """S of the scripts: the root of a shard's keys, whose hash tag is the shard."""
        return f"{self.namespace}:{{{number}}}"

    def crawl(self, number: int, crawl: str) -> str:
        """C of the scripts: the root of a crawl's keys in a shard."""
        return f"{self.shard(number)}:{self.spider}:{crawl}"

    @property
    def registry(self) -> str:
        """The root of the keys that list the spider's crawls; it lives in shard 0."""
        return f"{self.shard(0)}:{self.spider}"
