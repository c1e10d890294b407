"""A team's scrapy-redis, its queue and seen-set as scrapy-redis itself wrote them, brought over into a crawl."""

from __future__ import annotations

import asyncio
import json
import re
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from redis import Redis
from scrapy import FormRequest, Request
from scrapy.crawler import Crawler
from scrapy.settings import Settings
from scrapy.statscollectors import MemoryStatsCollector
from scrapy.utils.project import get_project_settings
from scrapy.utils.request import fingerprint
from scrapy_redis.scheduler import Scheduler

from crawlers.exceptions import UserError
from crawlers.frontier.crawls import Totals
from crawlers.frontier.fingerprints import FORMULAS
from crawlers.frontier.fleet import Fleet
from crawlers.frontier.idle_crawler import idle_crawler, with_spider
from crawlers.frontier.importing import Imported, ScrapyRedisImport
from crawlers.frontier.scrapy_redis_entries import EntryReader
from crawlers.frontier.scrapy_redis_source import ScrapyRedisSource
from tests.fleet import FrontierSeine, links
from tests.frontier_shard import Shard, page
from tests.polling import until
from tests.servers.redis import RedisServer
from tests.servers.web import Page, WebServer
from tests.support import Finished

SPIDER = "path_spider"
CRAWL = "moved"
QUEUES = {kind: f"scrapy_redis.queue.{kind}" for kind in ("PriorityQueue", "FifoQueue", "LifoQueue")}


@dataclass
class Team:
    """A team that has run scrapy-redis, and now runs Seine on the same Redis."""

    fleet: FrontierSeine
    url: str
    settings: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        name = f"team-{secrets.token_hex(4)}"
        self.redis: Redis = self.fleet.redis
        self.queue, self.seen_set = f"{name}:{SPIDER}:requests", f"{name}:{SPIDER}:seen"
        self.settings = {
            "DUPEFILTER_CLASS": "scrapy_redis.dupefilter.RFPDupeFilter",
            "SCHEDULER_QUEUE_KEY": f"{name}:%(spider)s:requests",
            "SCHEDULER_DUPEFILTER_KEY": f"{name}:%(spider)s:seen",
            "SCHEDULER_PERSIST": True,
            **self.settings,
        }
        crawler = Crawler(self._spider_class(), Settings({**self.settings, "REDIS_URL": self.url}))
        self.spider = crawler.spider = self._spider_class().from_crawler(crawler, url="http://none.example/")
        crawler.stats = MemoryStatsCollector(crawler)
        self.scheduler = Scheduler.from_crawler(crawler)
        self.scheduler.stats = None
        self.scheduler.open(self.spider)

    @staticmethod
    def _spider_class() -> Any:
        from tests.spiders import PathSpider

        return PathSpider

    def request(self, url: str, **fields: Any) -> Request:
        return Request(url, **{"callback": self.spider.parse, "errback": self.spider.failed, **fields})

    def queue_up(self, *requests: Request) -> None:
        """As its spider's callbacks did."""
        for request in requests:
            assert self.scheduler.enqueue_request(request)

    def see(self, *requests: Request) -> None:
        """As its workers did when they fetched them."""
        for request in requests:
            assert not self.scheduler.df.request_seen(request)

    def run(self, *options: str, **settings: Any) -> Finished:
        """`scrapy frontier import-scrapy-redis`."""
        given = {**self.settings, "SPIDER_MODULES": "tests.spiders", **settings}
        words = [part for name, value in given.items() for part in ("-s", f"{name}={value}")]
        arguments = ("--spider", SPIDER, "-a", "url=http://none.example/", *options)
        return self.fleet.run("frontier", "import-scrapy-redis", *words, *arguments)

    def bring(self, **options: Any) -> Imported:
        """The same in this process."""
        return asyncio.run(self._bring(**options))

    async def _bring(
        self,
        *,
        name: str = CRAWL,
        url: str | None = None,
        formula: str | None = None,
        pickles: bool = True,
        move: bool = False,
        dry: bool = False,
        before: Callable[[ScrapyRedisImport], None] = lambda importing: None,
        **settings: Any,
    ) -> Imported:
        crawler = with_spider(idle_crawler(self._project(**settings), SPIDER), {"url": "http://none.example/"})
        assert crawler.spider is not None
        reader = EntryReader(crawler.settings, crawler.spider, may_run_code=pickles)
        source = ScrapyRedisSource.from_settings(crawler.settings, crawler.spider, url)
        try:
            async with Fleet.connected(crawler.settings, SPIDER) as fleet:
                importing = ScrapyRedisImport(crawler, fleet, source, reader)
                await importing.prepare(formula, name)
                before(importing)
                return await (importing.rehearse() if dry else importing.run(move=move))
        finally:
            source.close()

    def totals(self, name: str = CRAWL, **settings: Any) -> Totals:
        """The crawl's equation, which must hold."""

        async def ask() -> Totals:
            async with Fleet.connected(self._project(**settings), SPIDER) as fleet:
                return await fleet.crawls.totals(name)

        found = asyncio.run(ask())
        assert found.balanced, found
        return found

    def _project(self, **settings: Any) -> Settings:
        project = get_project_settings()
        given = {"REDIS_URL": self.url, "FRONTIER_NAMESPACE": self.fleet.env["FRONTIER_NAMESPACE"]}
        project.setdict({**given, **self.settings, "SPIDER_MODULES": ["tests.spiders"], **settings}, "cmdline")
        return project

    @property
    def frontier_keys(self) -> list[bytes]:
        return list(self.redis.scan_iter(f"{self.fleet.env['FRONTIER_NAMESPACE']}:*"))

    def source(self) -> tuple[Any, Any]:
        """What is in its queue, and in its seen-set."""
        kind = self.redis.type(self.queue)
        entries = self.redis.zrange(self.queue, 0, -1) if kind == b"zset" else self.redis.lrange(self.queue, 0, -1)
        return entries, self.redis.smembers(self.seen_set)


@pytest.fixture
def new_team(fleet: FrontierSeine, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setenv("SCRAPY_SETTINGS_MODULE", "crawlers.settings")
    teams: list[Team] = []

    def new(**settings: Any) -> Team:
        teams.append(Team(fleet, redis_server.url, settings))
        return teams[-1]

    yield new
    for team in teams:
        team.redis.delete(team.queue, team.seen_set)


@pytest.fixture
def team(new_team: Callable[..., Team]) -> Team:
    return new_team()


def crawl(team: Team, server: WebServer) -> list[str]:
    """The paths that workers of the crawl fetch, in order."""
    settings = {"FRONTIER_CRAWL_ID": CRAWL, "CONCURRENT_REQUESTS_PER_DOMAIN": 1, "DEPTH_PRIORITY": 0}
    finished = team.fleet.run("crawl", SPIDER, "-a", f"url={server.url}/start", *team.fleet.options(**settings))
    assert finished.code == 0, finished.err[-2000:]
    team.fleet.ended(finished, server)
    return [visit.path for visit in server.visits]


@pytest.mark.parametrize(
    ("kind", "serializer", "read_as", "in_order"),
    [
        ("PriorityQueue", "scrapy_redis.picklecompat", "scrapy_redis.picklecompat", ["/q2", "/q0", "/q1"]),
        ("FifoQueue", "tests.json_serializer", "json", ["/q0", "/q1", "/q2"]),
        ("LifoQueue", "msgpack", "msgpack", ["/q2", "/q1", "/q0"]),
    ],
)
def test_a_crawl_fetches_what_was_queued_and_nothing_that_was_seen(
    new_team: Callable[..., Team],
    web: Callable[..., WebServer],
    kind: str,
    serializer: str,
    read_as: str,
    in_order: list[str],
) -> None:
    """A sorted set keeps no order among equals, and lists know no priorities."""
    pages = {f"/q{i}": links("/seen", f"/new{i}", "/q0") for i in range(3)}
    server = web(pages | {f"/new{i}": Page("x") for i in range(3)} | {"/seen": Page("x"), "/start": Page("x")})
    team = new_team(SCHEDULER_QUEUE_CLASS=QUEUES[kind], SCHEDULER_SERIALIZER=serializer)
    priorities = [0, -1, 5] if kind == "PriorityQueue" else [0, 0, 0]
    team.see(team.request(f"{server.url}/seen"), team.request(f"{server.url}/seen-elsewhere"))
    team.queue_up(*(team.request(f"{server.url}/q{i}", priority=priorities[i]) for i in range(3)))
    done = team.bring(pickles=kind == "PriorityQueue", SCHEDULER_SERIALIZER=read_as)
    assert (done.formula, done.added, done.known) == ("scrapy-redis", 3, 2)
    assert team.totals().counts["filtered:imported as seen"] == 2
    fetched = crawl(team, server)
    assert [path for path in fetched if path.startswith("/q")] == in_order
    assert sorted(fetched) == ["/new0", "/new1", "/new2", "/q0", "/q1", "/q2"]


@pytest.mark.parametrize("order", ["breadth", "depth"])
@pytest.mark.parametrize(("kind", "first"), [("FifoQueue", 0), ("LifoQueue", 599)])
def test_a_list_keeps_its_order_in_a_crawl_of_either_order(
    new_team: Callable[..., Team], kind: str, first: int, order: str
) -> None:
    team = new_team(SCHEDULER_QUEUE_CLASS=QUEUES[kind])
    team.queue_up(*(team.request(f"http://a.example/{n}") for n in range(600)))
    team.bring(FRONTIER_ORDER=order)
    queue = f"{team.fleet.keys.crawl(0, CRAWL)}:queue:a.example"
    numbers = [int(re.findall(rb"a\.example/(\d+)", member)[0]) for member in team.redis.zrange(queue, 0, -1)]
    assert numbers == sorted(range(600), reverse=first > 0)


def test_what_a_request_has_is_kept(new_team: Callable[..., Team]) -> None:
    """As JSON that a serializer of the team's own wrote, and as pickles."""
    kept = []
    for serializer in ("tests.json_serializer", "scrapy_redis.picklecompat"):
        team = new_team(SCHEDULER_SERIALIZER=serializer)
        fields = {"headers": {"X-Job": ["7", "8"]}, "cookies": {"a": "b"}, "meta": {"depth": 3, "job": [1, "x"]}}
        more = {"cb_kwargs": {"page": 2}, "priority": 4, "dont_filter": True, "flags": ["f"]}
        form = FormRequest("http://a.example/form", formdata={"q": "é"}, callback=team.spider.parse, **fields, **more)
        team.queue_up(form)
        as_json = {"SCHEDULER_SERIALIZER": "json"} if serializer.startswith("tests") else {}
        crawler = with_spider(idle_crawler(team._project(**as_json), SPIDER), {"url": "http://none.example/"})
        assert crawler.spider is not None
        reader = EntryReader(crawler.settings, crawler.spider, may_run_code=not as_json)
        source = ScrapyRedisSource.from_settings(crawler.settings, crawler.spider)
        [[entry]] = source.entries()
        request, _ = reader.read(entry)
        source.close()
        assert type(request) is FormRequest
        assert request.callback == crawler.spider.parse
        kept.append(request.to_dict(spider=crawler.spider))
        assert kept[-1] == form.to_dict(spider=team.spider)
    assert kept[0] == kept[1]


def test_pickles_are_refused_in_a_line_unless_they_are_allowed(team: Team) -> None:
    team.queue_up(team.request("http://a.example/1"))
    before = team.source()
    refused = team.run("--crawl", CRAWL)
    assert refused.code == 2
    [line] = refused.err.splitlines()
    assert line.startswith(f"seine: {team.queue}: its requests are pickled, and unpickling runs whatever they say")
    assert "--allow-pickle" in line
    assert not team.frontier_keys
    assert team.source() == before


def test_without_permission_nothing_runs_that_an_entry_names(new_team: Callable[..., Team]) -> None:
    class Bomb:
        def __reduce__(self) -> Any:
            return (pytest.fail, ("an entry was unpickled",))

    team = new_team(SCHEDULER_QUEUE_CLASS=QUEUES["FifoQueue"])
    team.redis.rpush(team.queue, team.scheduler.queue.serializer.dumps(Bomb()))
    for _ in range(3):  # pickles are found among any number of others, before anything is written
        team.redis.rpush(team.queue, json.dumps({"url": "http://a.example/"}))
    with pytest.raises(UserError, match="--allow-pickle"):
        team.bring(pickles=False)
    with pytest.raises(UserError, match=r"SCHEDULER_SERIALIZER=tests\.json_serializer may run"):
        team.bring(pickles=False, SCHEDULER_SERIALIZER="tests.json_serializer")
    assert not team.frontier_keys
    done = team.bring(pickles=False, SCHEDULER_SERIALIZER="json")
    assert (done.added, dict(done.refusals.counts)) == (1, {"unreadable: UnicodeDecodeError": 1})
    assert done.duplicates == 2


def test_a_second_import_brings_only_what_is_new(team: Team) -> None:
    team.queue_up(team.request("http://a.example/1"), team.request("http://a.example/1", dont_filter=True))
    team.see(team.request("http://a.example/seen"))
    first = team.bring()
    assert (first.added, first.duplicates, first.known, first.fingerprints) == (2, 0, 1, 2)
    assert first.formula == "scrapy-redis"
    once = team.totals()
    assert (once.state, once.term("seeded"), once.term("pending")) == ("running", 3, 2)
    again = team.bring()
    assert (again.added, again.duplicates, again.known) == (0, 2, 0)
    assert {**team.totals().counts, "version": 0, "duplicates": 0} == {**once.counts, "version": 0, "duplicates": 0}
    team.queue_up(team.request("http://a.example/2"))
    assert team.bring().added == 1


def test_a_move_empties_the_source_once_everything_is_there(new_team: Callable[..., Team]) -> None:
    for kind in QUEUES.values():
        team = new_team(SCHEDULER_QUEUE_CLASS=kind)
        team.queue_up(*(team.request(f"http://a.example/{n}") for n in range(600)))
        team.see(*(team.request(f"http://a.example/seen{n}") for n in range(600)))
        moved = team.bring(name=kind, move=True)
        assert moved.removed
        assert not team.redis.exists(team.queue, team.seen_set)
        assert team.totals(kind).counts["pending"] == 600
        assert team.totals(kind).counts["filtered:imported as seen"] == 600
    with pytest.raises(UserError, match="nothing to import"):
        team.bring(name="another")


def test_what_is_refused_is_told_left_and_still_comes_when_it_is_mended(team: Team) -> None:
    """The seen-set knows it too: it must not be taken for fetched."""
    good, odd = team.request("http://a.example/1"), team.request("http://a.example/odd")
    lost = team.request("http://a.example/lost", callback=team.spider.failed, meta={"at": {1, 2}})
    team.queue_up(good, odd, lost)
    odd_entry = next(entry for entry in team.source()[0] if b"/odd" in entry)
    team.redis.zrem(team.queue, odd_entry)
    renamed = odd_entry.replace(b"\x8c\x05parse", b"\x8c\x05pause")
    assert renamed != odd_entry
    team.redis.zadd(team.queue, {renamed: -3, b"{not json": 0, json.dumps({"url": "ftp://a.example/"}): 0})
    moved = team.run("--crawl", CRAWL, "--allow-pickle", "--move")
    assert moved.code == 2, moved.err
    assert moved.err == f"seine: warning: {team.queue}: reading its entries runs whatever they say\n"
    for line in (
        "1 new requests, 0 known already",
        "4 refused, and left where they are:",
        "1  callback 'pause' is no method of path_spider: http://a.example/odd",
        "1  meta['at']: can not serialize 'set' object: http://a.example/lost",
        "1  unreadable: JSONDecodeError: b'{not json'",
        '1  no http or https URL: b\'{"url": "ftp://a.example/"}\'',
    ):
        assert line in moved.out
    entries, seen = team.source()
    assert len(entries) == 4
    assert team.redis.zscore(team.queue, renamed) == -3
    assert seen == {FORMULAS["scrapy-redis"](request).hex().encode() for request in (odd, lost)}
    team.redis.zrem(team.queue, *entries)
    team.redis.zadd(team.queue, {odd_entry: -3})
    assert team.bring().added == 1
    assert team.totals().term("pending") == 2


def test_a_rehearsal_changes_nothing(team: Team) -> None:
    team.queue_up(team.request("http://a.example/1"))
    before = team.source()
    told = team.run("--allow-pickle", "--dry-run")
    assert told.code == 0
    assert "1 requests, 1 of which can be imported" in told.out
    assert "fingerprints of scrapy-redis: 1 of 1 queued requests are in the seen-set by it" in told.out
    assert not team.frontier_keys
    assert team.source() == before


@pytest.mark.parametrize(
    ("options", "settings", "told"),
    [
        ({}, {"SCHEDULER_QUEUE_CLASS": QUEUES["FifoQueue"]}, "is a zset, where SCHEDULER_QUEUE_CLASS means a list"),
        ({}, {"SCHEDULER_QUEUE_CLASS": "queue.Queue"}, "none of scrapy-redis's PriorityQueue, FifoQueue, LifoQueue"),
        ({}, {"SCHEDULER_QUEUE_CLASS": "no.Queue"}, "SCHEDULER_QUEUE_CLASS=no.Queue: No module named 'no'"),
        ({}, {"SCHEDULER_QUEUE_KEY": "%(name)s:q"}, "SCHEDULER_QUEUE_KEY=%(name)s:q: expected a key in which"),
        ({}, {"SCHEDULER_QUEUE_KEY": "q", "SCHEDULER_DUPEFILTER_KEY": "d"}, "nothing to import: neither q nor d is"),
        ({}, {"SCHEDULER_SERIALIZER": "no_such_module"}, "SCHEDULER_SERIALIZER=no_such_module: No module named"),
        ({"formula": "md5"}, {}, "fingerprints 'md5': expected scrapy, scrapy-redis, scrapy-redis-0.7"),
        ({"url": "http://127.0.0.1/"}, {}, "--from-url: "),
        ({}, {"REDIS_SENTINELS": ["127.0.0.1:1"]}, "name its Redis with --from-url"),
        ({"name": "other"}, {}, "crawl other was not opened by an import"),
        ({"name": "over"}, {}, "crawl over is complete: it takes no more"),
        ({"name": "two words"}, {}, "expected a crawl's name"),
    ],
)
def test_what_cannot_be_meant_is_refused(
    team: Team, options: dict[str, Any], settings: dict[str, Any], told: str
) -> None:
    team.queue_up(team.request("http://a.example/1"))
    registry = team.fleet.keys.registry
    other = {"definition": '{"follow": true}', "state": "running", "shards": 1, "digest": "x"}
    over = {"definition": '{"follow": true, "source": "import:scrapy-redis"}', "state": "complete", "shards": 1}
    team.redis.hset(f"{registry}:crawl:other", mapping=other)
    team.redis.hset(f"{registry}:crawl:over", mapping=over)
    before = sorted(team.frontier_keys)
    with pytest.raises(UserError, match=re.escape(told)):
        team.bring(**options, **settings)
    assert sorted(team.frontier_keys) == before


@pytest.mark.parametrize(
    ("options", "code", "told"),
    [
        (
            ["--from-url", "redis://user:secret@127.0.0.1:1/0"],
            1,
            "scrapy-redis's Redis at 127.0.0.1:1/0 cannot be used",
        ),
        (["-a", "depth"], 2, "-a depth: expected NAME=VALUE"),
    ],
)
def test_mistakes_end_in_a_line(team: Team, options: list[str], code: int, told: str) -> None:
    refused = team.run(*options)
    assert refused.code == code
    assert told in refused.err.splitlines()[-1]
    assert "Traceback" not in refused.err
    assert "secret" not in refused.err


def test_the_formula_of_a_seen_set_is_found_by_what_is_queued(new_team: Callable[..., Team]) -> None:
    for name, formula in {**FORMULAS, "scrapy": fingerprint}.items():
        team = new_team()
        requests = [team.request(f"http://a.example/?b={n}&a=1") for n in range(3)]
        team.queue_up(*requests, team.request("http://a.example/", dont_filter=True))
        team.redis.delete(team.seen_set)
        team.redis.sadd(team.seen_set, *(formula(request).hex() for request in requests), "0" * 40)
        done = team.bring(name=name)
        assert (done.formula, done.added, done.known) == (name, 4, 1)
    team.redis.delete(team.seen_set)
    team.redis.sadd(team.seen_set, "0" * 40)
    with pytest.raises(UserError, match=r"none of 3 queued requests .* REQUEST_FINGERPRINTER_CLASS"):
        team.bring(name="unknown")
    assert team.bring(name="unknown", formula="scrapy").known == 1


def test_scrapys_fingerprints_are_never_scrapy_rediss(team: Team) -> None:
    for request in (Request("http://a.example/?b=1&a=2"), Request("http://a.example/", method="POST", body="x")):
        theirs = team.scheduler.df.request_fingerprint(request)
        assert theirs == FORMULAS["scrapy-redis"](request).hex()
        assert theirs != fingerprint(request).hex()


def test_every_shard_knows_what_was_seen_and_it_counts_once(team: Team) -> None:
    queued = [team.request(f"http://d{n}.example/") for n in range(40)]
    team.queue_up(*queued)
    team.see(*(team.request(f"http://d{n}.example/seen") for n in range(40)))
    done = team.bring(FRONTIER_SHARDS=3)
    assert (done.added, done.known, done.fingerprints) == (40, 40, 80)
    assert team.bring(FRONTIER_SHARDS=3).known == 0
    totals = team.totals(FRONTIER_SHARDS=3)
    assert (totals.term("seeded"), totals.term("pending"), totals.term("filtered")) == (80, 40, 40)
    for shard in range(3):
        root = f"{team.fleet.env['FRONTIER_NAMESPACE']}:{{{shard}}}:{SPIDER}:{CRAWL}"
        assert sum(team.redis.scard(key) for key in team.redis.scan_iter(f"{root}:seen:*")) == 80


def test_an_import_that_was_cut_off_keeps_the_crawl_from_beginning_and_goes_on(
    team: Team, web: Callable[..., WebServer]
) -> None:
    server = web({f"/q{n}": Page("x") for n in range(3)})
    team.queue_up(*(team.request(f"{server.url}/q{n}") for n in range(3)))
    team.see(team.request(f"{server.url}/seen"))

    async def power_cut() -> None:
        raise ConnectionError("cut off")

    def cut_off(importing: ScrapyRedisImport) -> None:
        importing._import_seen = power_cut  # type: ignore[method-assign]

    with pytest.raises(ConnectionError, match="cut off"):
        team.bring(before=cut_off)
    assert (team.totals().state, team.totals().term("pending")) == ("paused", 3)
    settings = {"FRONTIER_CRAWL_ID": CRAWL, "DOWNLOAD_DELAY": 0}
    worker = team.fleet.start("crawl", SPIDER, "-a", f"url={server.url}/start", *team.fleet.options(**settings))
    until(lambda: team.totals().workers, "no worker has come")
    assert not server.visits
    assert team.bring().known == 1
    _, err = worker.communicate(timeout=30)
    assert worker.returncode == 0, err[-2000:]
    assert sorted(visit.path for visit in server.visits) == ["/q0", "/q1", "/q2"]


def test_a_source_that_changes_meanwhile_is_not_removed(team: Team) -> None:
    team.queue_up(team.request("http://a.example/1"))

    def still_running(importing: ScrapyRedisImport) -> None:
        team.queue_up(team.request("http://a.example/2"))

    done = team.bring(move=True, before=still_running)
    assert not done.unchanged
    assert not done.removed
    assert len(team.source()[0]) == 2
    assert team.bring(move=True).removed
    assert team.totals().term("pending") == 2


def test_a_seen_fingerprint_counts_as_seeded_and_filtered(redis_server: RedisServer) -> None:
    """The script: kind 2 counts, kind 3 does not, and neither is queued."""
    with redis_server.client() as client:
        shard = Shard(client)
        worker = shard.worker()
        assert worker.enqueue(page(1, seed=1), page(1, seed=2), page(2, seed=2), page(3, seed=3)) == (1, 0, 0)
        expected = {"seeded": 2, "pending": 1, "filtered": 1, "filtered:imported as seen": 1}
        assert worker.crawl.counts == expected
        assert worker.enqueue(page(2), page(3), page(4)) == (1, 2, 0)
        assert worker.enqueue(page(2, seed=2), page(3, seed=2)) == (0, 0, 0)
        assert worker.crawl.counts == {**expected, "pending": 2, "discovered": 1, "duplicates": 2}
        shard.check()
        shard.forget()
