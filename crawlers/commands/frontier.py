"""`scrapy frontier`: what becomes of a crawl's requests, and what an operator does about it."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from crawlers.verbs import Verb, VerbCommand

if TYPE_CHECKING:
    import argparse


class Command(VerbCommand):
    """Exit code 0: done. 1: Redis cannot be used, or there is no answer. 2: what was asked for is wrong."""

    name = "frontier"
    asks_redis = True
    positive = ("seconds", "top")
    endless = "watch"
    verbs: ClassVar[dict[str, Verb]] = {
        "status": Verb(
            "crawlers.frontier.verbs.look.status",
            "status [--crawl ID] [--top N] [--json] [--watch]",
            "crawl top json watch",
        ),
        "crawls": Verb("crawlers.frontier.verbs.look.crawls", "crawls [--top N] [--json]", "top json"),
        "why": Verb(
            "crawlers.frontier.verbs.why.why",
            "why URL [--crawl ID] [--since AGE] [--seconds N] [--json]",
            "crawl since seconds json",
            1,
        ),
        "domains": Verb(
            "crawlers.frontier.verbs.look.domains",
            "domains [--domain D] [--top N] [--json] [--forget D [--yes]]",
            "domain top json forget",
        ),
        "proxies": Verb(
            "crawlers.frontier.verbs.proxies.proxies", "proxies [--domain D] [--top N] [--json]", "domain top json"
        ),
        "routes": Verb(
            "crawlers.frontier.verbs.routes.routes",
            "routes SITE [--http PATTERN | --browser PATTERN | --learn PATTERN] [--json]",
            "http browser learn json",
            1,
        ),
        "serve": Verb("crawlers.status.serving.serve", "serve", ""),
        "pause": Verb("crawlers.frontier.verbs.steer.pause", "pause [--crawl ID]", "crawl"),
        "resume": Verb("crawlers.frontier.verbs.steer.resume", "resume [--crawl ID]", "crawl"),
        "drain": Verb("crawlers.frontier.verbs.steer.drain", "drain [--crawl ID]", "crawl"),
        "cancel": Verb("crawlers.frontier.verbs.steer.cancel", "cancel [--crawl ID] [--yes]", "crawl"),
        "requeue": Verb(
            "crawlers.frontier.verbs.steer.requeue",
            "requeue --dead [--reason R] [--domain D] [--crawl ID] [--yes]",
            "crawl dead reason domain",
        ),
        "purge": Verb(
            "crawlers.frontier.verbs.steer.purge",
            "purge --crawl ID [--force] [--yes], or purge --all-complete [--yes]",
            "crawl all_complete force",
        ),
        "seed": Verb("crawlers.frontier.verbs.seed.seed", "seed FILE|- [--crawl ID] [--follow]", "crawl follow", 1),
        "import-scrapy-redis": Verb(
            "crawlers.frontier.verbs.bring.import_scrapy_redis",
            "import-scrapy-redis [--crawl ID] [--from-url URL] [--allow-pickle] [--move] [--dry-run]",
            "crawl from_url allow_pickle fingerprints move dry_run argument",
        ),
    }

    def short_desc(self) -> str:
        return "Look at crawls in Redis, and steer them"

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        super().add_options(parser)
        add = parser.add_argument
        add("--spider", default="product_spider", metavar="NAME", help="whose crawls (default: product_spider)")
        add("--crawl", metavar="ID", help="which crawl (default: the one that is open, else the newest)")
        add("--json", action="store_true", help="status, why, domains, proxies, routes, crawls: one JSON object")
        add(
            "--since", metavar="AGE", help="why: how far back the audit trail is read, such as 12h or 7d (default: all)"
        )
        add("--seconds", type=float, metavar="N", help="why: how long it is read at most (default: 60)")
        add("--watch", action="store_true", help="status: again every second, until Ctrl-C")
        add("--top", type=int, metavar="N", help="status, domains, proxies, crawls: how many")
        add("--domain", metavar="D", help="domains, proxies, requeue: only that one")
        add("--forget", metavar="D", help="domains: close its circuit, forget how slow it was")
        add("--http", metavar="PATTERN", help="routes: its pages by HTTP alone, whatever was learnt")
        add("--browser", metavar="PATTERN", help="routes: its pages by the browser alone")
        add("--learn", metavar="PATTERN", help="routes: take such a word back, and learn anew")
        add("--dead", action="store_true", help="requeue: the dead requests")
        add("--reason", metavar="R", help="requeue: only those that died of it")
        add("--all-complete", action="store_true", help="purge: every crawl that is complete")
        add("--follow", action="store_true", help="seed: follow links, inside the domains of the URLs")
        add("--from-url", metavar="URL", help="import-scrapy-redis: the Redis it comes from, where it is another")
        add("--allow-pickle", action="store_true", help="import-scrapy-redis: read entries that can run code")
        add("--fingerprints", metavar="F", help="import-scrapy-redis: formula of the seen-set, where nothing tells it")
        add("--move", action="store_true", help="import-scrapy-redis: remove there what is here")
        add("--dry-run", action="store_true", help="import-scrapy-redis: tell what it would do")
        add("-a", "--argument", action="append", metavar="N=V", help="import-scrapy-redis: an argument of the spider")
        add("--force", action="store_true", help="purge: though workers are at it")
        add("--yes", action="store_true", help="do not ask")
