"""Requests go out through proxies that really forward, fail, slow down and get banned; the fleet knows which do."""

from __future__ import annotations

import asyncio
import json
import random
import secrets
from base64 import b64encode
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from time import monotonic
from typing import Any, NamedTuple

import pytest
from scrapy.settings import Settings
from scrapy.utils.project import get_project_settings
from structlog.testing import capture_logs

from crawlers.exceptions import UserError
from crawlers.frontier.connection import Servers
from crawlers.frontier.keys import Keys
from crawlers.proxies.health import CoolDowns, Health, Results, Standing
from crawlers.proxies.listing import Proxy, read_proxies, read_tiers
from crawlers.proxies.pool import ProxyPool, Wanted
from crawlers.proxies.sharing import Sharing, today
from crawlers.refusals import NoProxy
from tests.audit import events_of
from tests.browsers import short_folder
from tests.fleet import FrontierSeine, links
from tests.polling import eventually
from tests.routing_shop import product
from tests.servers.certificates import Authority
from tests.servers.forward_proxy import RunningProxy
from tests.servers.redis import RedisServer
from tests.servers.web import Page, WebServer
from tests.support import Finished, Seine, consume

Web = Callable[..., WebServer]
Proxies = Callable[..., RunningProxy]
RULES = {
    "PROXY_FAILURES": 2,
    "PROXY_COOL_DOWN": 30.0,
    "PROXY_BAN_COOL_DOWN": 300.0,
    "PROXY_LONGEST_COOL_DOWN": 3600.0,
    "RETRY_AFTER_LONGEST": 3600.0,
}


@pytest.fixture
def proxies() -> Iterator[Proxies]:
    """Starts forward proxies that end with the test."""
    with ExitStack() as running:
        yield lambda *args: running.enter_context(RunningProxy(*args))


def settings_of(**settings: Any) -> Settings:
    return Settings({"PROXIES_FILE": None, "PROXY_TIERS": [], "PROXIES_REFRESH": 0, **RULES, **settings})


def pool_of(*entries: str, **settings: Any) -> ProxyPool:
    return ProxyPool(settings_of(PROXIES=list(entries), **settings), "spider")


class Side(NamedTuple):
    health: Health
    sharing: Sharing


def sharing_of(url: str, namespace: str, **settings_of_redis: Any) -> Side:
    """A worker's knowledge, and its way to Redis."""
    given = {"REDIS_URL": url, "REDIS_TIMEOUT": 2, **RULES, **settings_of_redis}
    settings = Settings({**get_project_settings().copy_to_dict(), **given})
    health = Health(CoolDowns.from_settings(settings))
    return Side(
        health, Sharing(health, Servers.from_settings(settings), Keys(namespace, "spider"), lambda domain: None)
    )


def taken(pool: ProxyPool, times: int = 400, wanted: Wanted = Wanted(), domain: str = "a.test") -> Counter[str]:  # noqa: B008
    pool._random = random.Random(7)
    return Counter(pool.choose(domain, wanted).label for _ in range(times))


# --- The list


def test_entries_have_labels_tiers_regions_weights_and_credentials(tmp_path: Path) -> None:
    (tmp_path / "list").write_text("# dear ones\nsocks5://me:p%40ss@[::1]:1080 tier=dear region=de weight=2 # mine\n\n")
    found = read_proxies(settings_of(PROXIES="direct, http://10.0.0.1:8080 label=one", PROXIES_FILE=f"{tmp_path}/list"))
    assert found == [
        Proxy("direct", tier="direct"),
        Proxy("one", "http://10.0.0.1:8080"),
        Proxy("[::1]:1080", "socks5://[::1]:1080", "me", "p@ss", "dear", "de", 2.0),
    ]
    assert found[2].secret_url == "socks5://me:p%40ss@[::1]:1080"
    assert "p@ss" not in repr(found)


def test_a_list_may_come_from_a_server(web: Web) -> None:
    server = web({"/list": Page("http://10.0.0.1:8080\nhttp://10.0.0.2:8080")})
    assert len(read_proxies(settings_of(PROXIES_FILE=f"{server.url}/list"))) == 2
    with pytest.raises(UserError, match=r"PROXIES_FILE=http://127.0.0.1/…: http 404"):
        read_proxies(settings_of(PROXIES_FILE=server.url.replace("//", "//me:secret@") + "/other?key=secret"))


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ("http://me:secret@10.0.0.1", r"PROXIES: entry 1: expected http://\[user:password@\]host:port"),
        ("foo", "PROXIES: entry 1: expected http://"),
        ("direct,https://me:secret@proxy:3128", "PROXIES: entry 2: expected http://"),
        ("http://me:secret@proxy:port", "PROXIES: entry 1: expected http://"),
        ("http://me:secret@[::1:1", "PROXIES: entry 1: expected http://"),
        ("ftp://me:secret@10.0.0.1:21", "PROXIES: entry 1: expected http://"),
        ("10.0.0.7:8080:me:secretpw", "PROXIES: entry 1: expected http://"),
        ("http://me:secret,pw@host:8080", "PROXIES: entry 1: expected http://"),
        ("http://me:123/secret@host:8080", "PROXIES: entry 1: expected http://"),
        ("http://me:123?secret@host:8080", "PROXIES: entry 1: expected http://"),
        ("http://me:123#secret@host:8080", "PROXIES: entry 1: expected http://"),
        ("http://me:123 secret@host:8080", "PROXIES: entry 1: expected a URL whose password is percent-encoded"),
        ("http://10.0.0.1:80 teir=x", "PROXIES: entry 1: expected .*label=, tier=, region= or weight="),
        ("http://10.0.0.1:80 weight=0", "weight: expected a number above 0"),
        ("http://10.0.0.1:80,http://10.0.0.1:80", "entry 2: 10.0.0.1:80 is there twice"),
    ],
)
def test_a_mistake_is_named_without_credentials(entries: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        read_proxies(settings_of(PROXIES=entries))
    assert "secret" not in str(caught.value)


def test_a_line_of_the_list_is_named_by_its_number_alone(tmp_path: Path) -> None:
    listed = tmp_path / "list"
    listed.write_text("# mine\nhttp://a:1 # a remark\nhttp://me:12#secret@host:8080\n")
    with pytest.raises(UserError, match=r"^PROXIES_FILE: line 3: expected http://") as caught:
        read_proxies(settings_of(PROXIES_FILE=str(listed)))
    assert "secret" not in str(caught.value)
    with pytest.raises(UserError, match=r"^PROXIES_FILE: cannot be read: No such file") as caught:
        read_proxies(settings_of(PROXIES_FILE="ftp://me:secret@host/list"))
    assert "secret" not in str(caught.value)


def test_a_crawl_does_not_start_with_a_wrong_proxy(offline: Seine) -> None:
    finished = offline.crawl("-a", "urls=http://a.test/", PROXIES="http://me:secret@proxy")
    assert (finished.code, finished.err.splitlines()) == (
        2,
        ["seine: PROXIES: entry 1: expected http://[user:password@]host:port or socks5://[user:password@]host:port"],
    )


def test_tiers_stand_in_the_order_that_is_given() -> None:
    some = read_proxies(settings_of(PROXIES="http://a:1 tier=dear,http://b:1 tier=cheap,direct"))
    assert [tier.name for tier in read_tiers(settings_of(), some)] == ["direct", "dear", "cheap"]
    given = read_tiers(settings_of(PROXY_TIERS="direct,cheap,dear=5"), some)
    assert [(tier.name, tier.budget) for tier in given] == [("direct", 0), ("cheap", 0), ("dear", 5_000_000)]
    for wrong, message in {
        "direct,cheap": "dear is left out",
        "dear=many": "expected a tier, or tier=megabytes",
    }.items():
        with pytest.raises(UserError, match=message):
            read_tiers(settings_of(PROXY_TIERS=wrong), some)


# --- Which one


def test_requests_are_spread_by_weight() -> None:
    spread = taken(pool_of("http://a:1 label=one", "http://b:1 label=two weight=3"))
    assert 80 < spread["one"] < 120


def test_quick_and_reliable_ones_are_taken_more_often() -> None:
    pool = pool_of("http://a:1 label=quick", "http://b:1 label=slow", "http://c:1 label=flaky")
    by_label = pool._proxies
    for _ in range(20):
        pool.note(by_label["quick"], "a.test", Results(ok=1, seconds=0.1))
        pool.note(by_label["slow"], "a.test", Results(ok=1, seconds=2.0))
        pool.note(by_label["flaky"], "a.test", Results(ok=1, seconds=0.1))
        pool.note(by_label["flaky"], "a.test", Results(failed=1))
    spread = taken(pool)
    assert spread["quick"] > 1.5 * spread["flaky"] > 3 * spread["slow"]
    assert 90 < taken(pool, domain="other.test")["slow"] < 180


def test_dearer_ones_are_taken_when_cheaper_ones_cool_down_there() -> None:
    pool = pool_of("direct", "http://a:1 label=cheap tier=cheap", "http://b:1 label=dear tier=dear")
    direct, cheap = pool._proxies["direct"], pool._proxies["cheap"]
    assert set(taken(pool)) == {"direct"}
    pool.note(direct, "a.test", Results(banned=1))
    assert set(taken(pool)) == {"cheap"}
    pool.note(cheap, "a.test", Results(failed=1))
    assert set(taken(pool)) == {"cheap"}
    pool.note(cheap, "a.test", Results(failed=1))
    assert set(taken(pool)) == {"dear"}
    assert set(taken(pool, domain="other.test")) == {"direct"}


def test_a_cool_down_ends_and_is_doubled_until_something_succeeds() -> None:
    health, now = Health(CoolDowns(2, 10, 60, 100)), monotonic()
    health.note("a.test", "one", Results(failed=2))
    standing = health.at("a.test")["one"]
    lasted = []
    for _ in range(5):
        lasted.append(round(standing.until - now))
        now = standing.until + 0.001
        standing.note(Results(failed=2), health.rules, now)
    assert lasted == [10, 20, 40, 80, 100]
    standing.note(Results(ok=1, seconds=1), health.rules, now := standing.until + 1)
    standing.note(Results(failed=2), health.rules, now)
    assert round(standing.until - now) == 10


def test_workers_and_redis_reckon_the_same(redis_server: RedisServer) -> None:
    """One worker tells what it saw; another one, which has seen nothing, then stands where the first one does."""
    choice = random.Random(11)
    seen = [
        Results(*((choice.randrange(3), choice.randrange(3), 0, 0.25) if choice.random() < 0.8 else (0, 0, 1, 0.0)))
        for _ in range(60)
    ]

    async def exchange() -> None:
        namespace = f"test-{secrets.token_hex(4)}"
        one, other = (sharing_of(redis_server.url, namespace) for _ in range(2))
        for number, results in enumerate(seen):
            domain = f"{number % 12}.test"
            one.health.note(domain, "p", results)
            one.sharing.note(domain, "p", results)
            await one.sharing.hear_of(domain)
        one.sharing.spend("dear", 700)
        other.sharing.spend("dear", 50)
        for domain in (f"{number}.test" for number in range(12)):
            await one.sharing.hear_of(domain)
            await other.sharing.hear_of(domain)
            [mine, theirs] = (side.health.at(domain)["p"] for side in (one, other))
            assert (mine.row, mine.level) == (theirs.row, theirs.level)
            assert (mine.until > monotonic()) == (theirs.until > monotonic())
            assert theirs.until == pytest.approx(mine.until, abs=0.5) or mine.until <= monotonic()
            expected = Standing()
            for number, results in enumerate(seen):
                if f"{number % 12}.test" == domain:
                    expected.note(results, one.health.rules, monotonic())
            assert (theirs.row, theirs.level) == (expected.row, expected.level)
            assert (theirs.ok, theirs.failed) == (expected.ok, expected.failed)
            assert theirs.latency == pytest.approx(expected.latency, abs=0.002)
        assert other.health.spent == {"dear": 750}
        for side in (one, other):
            await side.sharing.close()

    asyncio.run(exchange())


def test_without_redis_a_worker_goes_by_what_it_sees_and_tells_it_later(
    redis_server: RedisServer, nowhere: str
) -> None:
    async def exchange() -> None:
        namespace = f"test-{secrets.token_hex(4)}"
        cut_off, other = sharing_of(f"redis://{nowhere}", namespace), sharing_of(redis_server.url, namespace)
        cut_off.health.note("a.test", "p", Results(banned=1))
        cut_off.sharing.note("a.test", "p", Results(banned=1))
        cut_off.sharing.spend("dear", 9)
        await cut_off.sharing.hear_of("a.test")
        assert cut_off.sharing.knows("a.test")
        assert cut_off.health.at("a.test")["p"].until > monotonic()
        cut_off.sharing._servers = other.sharing._servers
        await cut_off.sharing.close()
        await other.sharing.hear_of("a.test")
        assert other.health.at("a.test")["p"].until > monotonic()
        assert other.health.spent == {"dear": 9}
        await other.sharing.close()

    asyncio.run(exchange())


def test_a_talk_is_no_longer_with_many_domains_and_each_has_its_turn() -> None:
    sharing = sharing_of("redis://unused", "unused").sharing
    domains = {f"{number}.test" for number in range(1000)}
    for domain in domains:
        sharing.uses(domain)
    sharing.note("new.test", "p", Results(ok=1))
    talks = [sharing._due() for _ in range(5)]
    assert all(len(set(talk)) == len(talk) == 201 for talk in talks)
    assert set().union(*talks) == domains | {"new.test"}


def test_what_others_saw_at_a_domain_in_use_is_heard_of(redis_server: RedisServer) -> None:
    async def exchange() -> None:
        namespace = f"test-{secrets.token_hex(4)}"
        one, other = (sharing_of(redis_server.url, namespace) for _ in range(2))
        await other.sharing.hear_of("a.test")
        one.sharing.note("a.test", "p", Results(banned=1))
        await one.sharing.close()
        other.sharing.open()
        await eventually(lambda: other.health.at("a.test"), "nothing was heard")
        await other.sharing.close()

    asyncio.run(exchange())


def test_a_domain_forgets_proxies_that_no_list_has_any_longer(redis_server: RedisServer) -> None:
    """But not one that cools down, and not before they are many."""

    async def exchange() -> None:
        namespace = f"test-{secrets.token_hex(4)}"
        before, after = (sharing_of(redis_server.url, namespace) for _ in range(2))
        for number in range(101):
            before.sharing.note("a.test", f"old-{number}", Results(ok=1))
        before.sharing.note("a.test", "banned", Results(banned=1))
        before.sharing.note("b.test", "old", Results(ok=1))
        await before.sharing.close()
        after.health.use(["new"])
        for domain in ("a.test", "b.test"):
            after.sharing.note(domain, "new", Results(ok=1))
            await after.sharing.hear_of(domain)
            assert after.health.at(domain).keys() == {"new"}
        await after.sharing.close()
        await before.sharing.hear_of("a.test")
        await before.sharing.hear_of("b.test")
        assert before.health.at("a.test").keys() == {"banned", "new"}
        assert before.health.at("b.test").keys() == {"old", "new"}
        await before.sharing.close()

    asyncio.run(exchange())


def test_new_domains_wait_together_and_not_for_long_for_a_redis_that_is_silent() -> None:
    async def exchange() -> None:
        silent = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
        port = silent.sockets[0].getsockname()[1]
        sharing = sharing_of(f"redis://127.0.0.1:{port}", "unused", REDIS_TIMEOUT=60).sharing
        await asyncio.wait_for(asyncio.gather(*(sharing.hear_of(f"{n}.test") for n in range(100))), 20)
        assert all(sharing.knows(f"{n}.test") for n in range(100))
        assert len(sharing._asking) <= 2
        for task in sharing._asking:
            task.cancel()
        silent.close()

    asyncio.run(exchange())


def test_a_list_is_read_again_and_a_bad_one_changes_nothing(tmp_path: Path) -> None:
    listed = tmp_path / "list"
    listed.write_text("http://a:1")

    async def watched() -> None:
        pool = pool_of(PROXIES_FILE=str(listed), PROXIES_REFRESH=0.02)
        pool.open()
        with capture_logs() as told:
            listed.write_text("nonsense")
            await eventually(lambda: told, "the list was not read again")
        assert set(taken(pool)) == {"a:1"}
        listed.write_text("http://b:1\nhttp://c:1")
        await eventually(lambda: set(taken(pool)) == {"b:1", "c:1"}, "the new list was not taken")
        await pool.close()

    asyncio.run(watched())


def test_a_spent_budget_closes_its_tier_until_tomorrow(monkeypatch: pytest.MonkeyPatch) -> None:
    day = 20_000
    monkeypatch.setattr("crawlers.proxies.pool.today", lambda: day)
    pool = pool_of("http://a:1 tier=dear", PROXY_TIERS="dear=1")
    assert taken(pool)
    pool.spend(pool._proxies["a:1"], 1_000_000)
    with pytest.raises(NoProxy, match="the budget of dear is spent") as caught:
        pool.choose("b.test", Wanted())
    assert 0 < caught.value.wait <= 86_400
    assert not caught.value.is_counted
    day += 1
    assert taken(pool, domain="b.test")


def test_where_all_cool_down_or_are_spent_the_first_that_may_be_used_is_waited_for() -> None:
    pool = pool_of("http://a:1 label=c tier=cheap", "http://b:1 label=d tier=dear", PROXY_TIERS="cheap,dear=1")
    pool.spend(pool._proxies["d"], 1_000_000)
    pool.note(pool._proxies["c"], "a.test", Results(failed=2))
    with pytest.raises(NoProxy, match=r"cool down at a\.test, and the budget of dear is spent") as caught:
        pool.choose("a.test", Wanted())
    assert 29 < caught.value.wait <= 30
    assert not caught.value.is_counted


def test_a_cool_down_beyond_what_a_request_may_wait_is_an_attempt() -> None:
    pool = pool_of("http://a:1 label=c", RETRY_AFTER_LONGEST=299)
    pool.note(pool._proxies["c"], "a.test", Results(banned=1))
    with pytest.raises(NoProxy, match="cool down") as caught:
        pool.choose("a.test", Wanted())
    assert caught.value.is_counted


def test_what_the_list_no_longer_has_is_named(tmp_path: Path) -> None:
    (tmp_path / "list").write_text("http://a:1 region=de\nhttp://b:1 region=fr")
    pool = pool_of(PROXIES_FILE=str(tmp_path / "list"), PROXIES_REFRESH=60)
    (tmp_path / "list").write_text("http://b:1 region=fr")
    pool._take(read_proxies(pool._settings))
    with pytest.raises(NoProxy, match="the list has no proxy any longer") as caught:
        pool.choose("a.test", Wanted(region="de"))
    assert (caught.value.wait, caught.value.is_counted) == (60, True)


def test_what_a_download_that_fails_has_brought_is_charged(fleet: FrontierSeine, web: Web, proxies: Proxies) -> None:
    server = web({"/": Page("x" * 300_000)})
    ended = crawl(
        fleet, server, f"{proxies().url} tier=dear", PROXY_TIERS="dear=1", DOWNLOAD_MAXSIZE=200_000, RETRY_TIMES=0
    )
    assert ended.dead == {"/": ["too large"]}
    [spent] = fleet.redis.hvals(f"{fleet.keys.shard(0)}:spent:{today()}")
    assert int(spent) > 500


def test_a_region_and_tiers_may_be_asked_for() -> None:
    pool = pool_of("http://a:1 label=de region=de", "http://b:1 label=fr region=fr", "http://c:1 label=x tier=dear")
    assert set(taken(pool, wanted=Wanted(region="fr"))) == {"fr"}
    assert set(taken(pool, wanted=Wanted(tiers=("dear",)))) == {"x"}
    with pytest.raises(
        UserError, match=r"mine\.toml: proxies: cheap is no tier of the proxies: expected one of proxies, dear"
    ):
        pool.check(Wanted(tiers=("cheap",)), "mine.toml: proxies")
    with pytest.raises(UserError, match="no proxy has region es"):
        pool.check(Wanted(region="es"), "mine.toml: proxies")


def test_a_session_keeps_its_proxy_while_it_may_be_used() -> None:
    pool = pool_of("http://a:1 label=one", "http://b:1 label=two")
    first = pool.choose("a.test", Wanted(), "me")
    assert all(pool.of_session("me", domain, Wanted()) is first for domain in ("a.test", "b.test"))
    pool.note(first, "a.test", Results(banned=1))
    assert pool.of_session("me", "a.test", Wanted()) is None
    assert pool.of_session("me", "b.test", Wanted()) is first


# --- In a crawl


def crawl(fleet: FrontierSeine, server: WebServer, *entries: str, **settings: Any) -> Any:
    return fleet.crawl_from(server, "/", PROXIES=",".join(entries), **settings)


def stored(fleet: FrontierSeine) -> str:
    """Every value of the frontier, as it is now."""
    redis, values = fleet.redis, []
    for key in redis.scan_iter(f"{fleet.keys.namespace}*"):
        match redis.type(key):
            case b"hash":
                values.append(redis.hgetall(key))
            case b"list":
                values.append(redis.lrange(key, 0, -1))
            case b"set":
                values.append(redis.smembers(key))
            case b"zset":
                values.append(redis.zrange(key, 0, -1))
            case b"string":
                values.append(redis.get(key))
            case b"stream":
                values.append(redis.xrange(key))
    return repr(values)


@pytest.mark.parametrize("scheme", ["http", "socks5"])
@pytest.mark.parametrize("is_tls", [False, True], ids=["plain", "tls"])
def test_pages_come_through_a_proxy_with_credentials_that_nobody_is_told(
    fleet: FrontierSeine, web: Web, proxies: Proxies, tmp_path: Path, scheme: str, is_tls: bool
) -> None:
    """Neither the spider, whose request it was, nor the site, nor Redis while it has what the request led to."""
    certificate = Authority(tmp_path / "authority").issue("shop") if is_tls else None
    in_redis = []

    def look(earlier: int) -> Page:
        in_redis.append(stored(fleet))
        return Page("b")

    server = web(
        {
            "/": links("/request", "/moved", "/busy"),
            "/request": Page("a"),
            "/moved": Page("", 302, {"Location": "/b"}),
            "/b": look,
            "/busy": Page("", 503),
        },
        certificate,
    )
    proxy = proxies(scheme, "user", "s3cret/p@ss")
    (tmp_path / "list").write_text(f"{proxy.url} label=mine")
    ended = crawl(fleet, server, PROXIES_FILE=tmp_path / "list", RETRY_TIMES=1)
    assert ended.of("expanded", "empty", "redirected", "dead") == {
        "expanded": 1,
        "empty": 2,
        "redirected": 1,
        "dead": 1,
    }
    assert set(proxy.asked) == {("127.0.0.1", int(server.domain.rpartition(":")[2]))}
    assert len(in_redis) == 1
    assert "/b" in in_redis[0]
    [seen] = ended.finished.events("asked")
    assert "User-Agent" in seen["headers"]
    for told in (ended.finished.err, ended.finished.out, *in_redis, stored(fleet), repr(server.visits)):
        for secret in ("s3cret", b64encode(b"user:s3cret/p@ss").decode(), "Proxy-Authorization", "proxy-authorization"):
            assert secret not in told


def test_neither_records_nor_the_audit_trail_nor_stats_nor_status_tell_credentials(
    audited: FrontierSeine, sites: Path, web: Web, proxies: Proxies
) -> None:
    """Of the site's region's proxy, by whose label they tell it."""
    server = web({"/p/1": Page(product(name="Lamp", sku="L-1", price="3.00", priceCurrency="EUR"))})
    (sites / "mine.toml").write_text(
        f'name = "mine"\ndomains = ["{server.domain}"]\nseeds = ["{server.url}/p/1"]\n[proxies]\nregion = "de"\n'
    )
    german, french = proxies("http", "user", "s3cret"), proxies("http", "user", "s3cret")
    listed = f"{german.url} label=german region=de,{french.url} label=french region=fr weight=1000"
    audited.env |= {"PROXIES": listed, "STATS_DUMP": "1", "LOG_LEVEL": "DEBUG"}
    finished = audited.crawl("-a", "sites=mine")
    assert finished.code == 0, finished.err[-2000:]
    assert (len(french.asked), len(german.asked) >= 1) == (0, True)
    [record] = consume(audited.env, audited.env["KAFKA_TOPIC_PRODUCTS"])
    [event] = [one for one in events_of(audited) if one.value["url"].endswith("/p/1")]
    assert (record.value["proxy"], event.value["proxy"]) == ("german", "german")
    status = audited.run("frontier", "status", "--json")
    assert (status.code, json.loads(status.out)["right"]["delivered"]) == (0, 1)
    assert "Dumping Scrapy stats" in finished.err
    for told in (repr(record), repr(event), finished.err, finished.out, status.out, status.err):
        for secret in ("s3cret", b64encode(b"user:s3cret").decode(), "Proxy-Authorization"):
            assert secret not in told


def test_passwords_of_a_list_are_in_no_line_of_the_log(
    fleet: FrontierSeine, web: Web, proxies: Proxies, tmp_path: Path
) -> None:
    server = web({"/": links("/say-s3cret+pass"), "/say-s3cret+pass": Page("x")})
    proxy = proxies("http", "user", "s3cret+pass")
    (tmp_path / "list").write_text(f"{proxy.url} label=mine")
    ended = crawl(fleet, server, PROXIES_FILE=tmp_path / "list")
    assert ended.counts["empty"] == 1
    assert "/say-***" in ended.finished.err
    assert "s3cret" not in ended.finished.err


def test_wrong_credentials_are_the_proxys_failure(fleet: FrontierSeine, web: Web, proxies: Proxies) -> None:
    server = web({"/": Page("x")})
    for scheme in ("http", "socks5"):
        proxy = proxies(scheme, "user", "right")
        ended = crawl(
            fleet, server, proxy.url.replace("right", "wrong"), RETRY_TIMES=0, FRONTIER_CRAWL_ID=f"wrong-{scheme}"
        )
        assert ended.dead == {"/": ["proxy failed"]}
    assert server.visits == []


@pytest.mark.parametrize("trouble", ["drop", "502", "hang"])
@pytest.mark.parametrize("scheme", ["http", "socks5"])
def test_a_proxy_that_fails_is_left_out_and_no_page_is_lost(
    fleet: FrontierSeine, web: Web, proxies: Proxies, trouble: str, scheme: str
) -> None:
    server = web({"/": links(*(f"/{n}" for n in range(30))), **{f"/{n}": Page("x") for n in range(30)}})
    good, bad = proxies(scheme), proxies(scheme)
    bad.trouble = trouble
    ended = crawl(
        fleet, server, good.url, bad.url, PROXY_FAILURES=2, DOWNLOAD_TIMEOUT=1.5, RETRY_TIMES=6, DOWNLOAD_DELAY=0,
        CONCURRENT_REQUESTS_PER_DOMAIN=2,
    )  # fmt: skip
    assert ended.of("empty", "expanded", "dead") == {"empty": 30, "expanded": 1, "dead": 0}
    assert len(bad.asked) <= 8
    assert ended.finished.events("proxy cools down", proxy=bad.address, reason="failed")


def health_of(fleet: FrontierSeine, server: WebServer) -> dict[str, str]:
    """What the frontier has learnt of the server's domain."""
    known = fleet.redis.hgetall(f"{fleet.keys.shard(0)}:domain:{server.domain}")
    return {name.decode(): value.decode() for name, value in known.items()}


@pytest.mark.parametrize(("scheme", "is_tls"), [("http", True), ("socks5", False), ("socks5", True)])
def test_a_site_that_hangs_behind_a_tunnel_is_the_one_to_blame(
    fleet: FrontierSeine, web: Web, proxies: Proxies, tmp_path: Path, scheme: str, is_tls: bool
) -> None:
    certificate = Authority(tmp_path / "authority").issue("shop") if is_tls else None
    server = web({"/": Page("x")}, certificate)
    server.may_answer.clear()
    ended = crawl(fleet, server, proxies(scheme).url, DOWNLOAD_TIMEOUT=0.7, RETRY_TIMES=1)
    server.may_answer.set()
    assert ended.dead == {"/": ["DownloadTimeoutError"] * 2}
    assert health_of(fleet, server)["e"] == "2"


@pytest.mark.parametrize("trouble", ["hang", "502"])
@pytest.mark.parametrize("scheme", ["http", "socks5"])
def test_a_proxy_that_opens_no_tunnel_says_nothing_of_the_site(
    fleet: FrontierSeine, web: Web, proxies: Proxies, tmp_path: Path, scheme: str, trouble: str
) -> None:
    server = web({"/": Page("x")}, Authority(tmp_path / "authority").issue("shop"))
    proxy = proxies(scheme)
    proxy.trouble = trouble
    ended = crawl(fleet, server, proxy.url, DOWNLOAD_TIMEOUT=0.7, RETRY_TIMES=1)
    assert ended.dead == {"/": ["proxy failed"] * 2}
    assert not {"e", "l", "q", "x"} & health_of(fleet, server).keys()
    assert int(health_of(fleet, server).get("f", 0)) == 0


@pytest.mark.parametrize("answers_others", [True, False])
def test_a_forward_proxy_hides_who_hangs_unless_it_answers_others(
    fleet: FrontierSeine, web: Web, proxies: Proxies, answers_others: bool
) -> None:
    hanging = web({"/x": Page("x")})
    hanging.may_answer.clear()

    def answer_later(earlier: int) -> Page:
        hanging.wait_for(1)
        return Page("x")

    server = web({"/": links(f"{hanging.url}/x", "/later"), "/later": answer_later if answers_others else Page("x")})
    ended = crawl(
        fleet, server, proxies().url, DOWNLOAD_TIMEOUT=4, RETRY_TIMES=0, DOWNLOAD_DELAY=0,
        CONCURRENT_REQUESTS=16 if answers_others else 1,
    )  # fmt: skip
    hanging.may_answer.set()
    assert ended.dead == {"/x": ["DownloadTimeoutError" if answers_others else "proxy failed"]}
    assert health_of(fleet, hanging).get("e") == ("1" if answers_others else None)


def test_a_robots_txt_comes_by_the_way_of_its_site(
    fleet: FrontierSeine, sites: Path, web: Web, proxies: Proxies
) -> None:
    server = web({"/": Page("x")})
    others, own = proxies(), proxies()
    (sites / "mine.toml").write_text(
        f'name = "mine"\ndomains = ["{server.domain}"]\nseeds = ["{server.url}/"]\n[proxies]\ntiers = ["own"]\n'
    )
    entries = f"{others.url} tier=others,{own.url} tier=own"
    ended = fleet.crawl("-a", "sites=mine", PROXIES=entries, PROXY_TIERS="others,own", ROBOTSTXT_OBEY=1)
    assert ended.code == 0
    assert sorted(visit.path for visit in server.visits) == ["/", "/robots.txt"]
    assert (len(others.asked), len(own.asked)) == (0, 2)


def test_a_proxy_that_fails_says_nothing_of_robots_txt(fleet: FrontierSeine, web: Web, proxies: Proxies) -> None:
    server = web({"/": Page("x")})
    proxy = proxies("http", "user", "right")
    ended = crawl(
        fleet, server, proxy.url.replace("right", "wrong"), ROBOTSTXT_OBEY=1, RETRY_TIMES=1, PROXY_FAILURES=1,
        PROXY_COOL_DOWN=30, RETRY_AFTER_LONGEST=0.1,
    )  # fmt: skip
    assert ended.dead == {"/": ["proxy failed", "no proxy"]}
    assert list(fleet.redis.scan_iter(f"{fleet.keys.namespace}*:robots:*")) == []


def test_a_slow_proxy_gets_less_to_do(fleet: FrontierSeine, web: Web, proxies: Proxies) -> None:
    server = web({"/": links(*(f"/{n}" for n in range(80))), **{f"/{n}": Page("x") for n in range(80)}})
    quick, slow = proxies(), proxies()
    slow.delay = 0.5
    ended = crawl(fleet, server, quick.url, slow.url, DOWNLOAD_DELAY=0)
    assert ended.counts["empty"] == 80
    assert len(quick.asked) > 2 * len(slow.asked)


def test_a_banned_proxy_is_known_to_the_whole_fleet(fleet: FrontierSeine, web: Web, proxies: Proxies) -> None:
    """The second worker, with a crawl of its own, does not try what the first one was banned with."""
    server = web({"/": Page("x")})
    banned, dear = proxies(), proxies()
    banned.trouble = "ban"
    settings = {"BAN_STATUSES": "403", "PROXY_TIERS": "cheap,dear"}
    entries = f"{banned.url} label=b tier=cheap", f"{dear.url} label=d tier=dear"
    first = crawl(fleet, server, *entries, **settings)
    assert first.counts["empty"] == 1
    assert (len(banned.asked), len(dear.asked)) == (1, 1)
    again = {f"/{n}": Page("x") for n in range(20)}
    server.pages |= {"/": links(*again), **again}
    second = crawl(fleet, server, *entries, FRONTIER_CRAWL_ID="second", DOWNLOAD_DELAY=0, **settings)
    assert second.counts["empty"] == 20
    assert (len(banned.asked), len(dear.asked)) == (1, 22)
    told = fleet.run(
        "frontier", "domains", "--forget", server.domain, "--yes", "--spider", "path_spider", *fleet.options()
    )
    assert told.code == 0, told.err
    assert not list(fleet.redis.scan_iter(f"{fleet.keys.namespace}*:proxies:*"))


def offline_crawl(offline: Seine, server: WebServer, **settings: Any) -> Finished:
    """Without Redis."""
    given = {"SPIDER_MODULES": "tests.spiders", "ITEM_PIPELINES": "{}", "ROBOTSTXT_OBEY": 0, "DOWNLOAD_DELAY": 0}
    options = (part for name, value in {**given, **settings}.items() for part in ("-s", f"{name}={value}"))
    return offline.run("crawl", "path_spider", "-a", f"url={server.url}/", *options)


def gaps_of(proxy: RunningProxy) -> list[float]:
    return [after - before for before, after in pairwise(proxy.asked_at)]


def test_bans_in_a_row_double_the_cool_down(offline: Seine, web: Web, proxies: Proxies) -> None:
    """Every second attempt finds that the proxy cools down."""
    only = proxies()
    only.trouble = "ban"
    offline_crawl(
        offline, web({"/": Page("x")}), PROXIES=only.url, BAN_STATUSES="403", PROXY_BAN_COOL_DOWN=0.2, RETRY_TIMES=9
    )
    gaps = gaps_of(only)
    assert len(gaps) == 4
    assert all(gap >= 0.2 * 2**number for number, gap in enumerate(gaps)), gaps


def test_bans_in_a_row_double_the_cool_down_in_the_fleet(fleet: FrontierSeine, web: Web, proxies: Proxies) -> None:
    """Cool-downs that are longer than the workers take to tell Redis."""
    only = proxies()
    only.trouble = "ban"
    ended = crawl(fleet, web({"/": Page("x")}), only.url, BAN_STATUSES="403", PROXY_BAN_COOL_DOWN=1.5, RETRY_TIMES=2)
    assert ended.dead == {"/": ["ban"] * 3}
    [first, second] = gaps_of(only)
    assert first >= 1.5
    assert second >= 3.0


def test_what_is_given_no_proxy_waits_and_then_is_told(fleet: FrontierSeine, web: Web, proxies: Proxies) -> None:
    server = web({"/": Page("x")})
    only = proxies()
    only.trouble = "drop"
    ended = crawl(fleet, server, only.url, PROXY_FAILURES=1, PROXY_COOL_DOWN=0.3, RETRY_TIMES=3)
    assert ended.dead["/"][0] == "proxy failed"
    assert len(only.asked) >= 2
    assert server.visits == []


def test_a_request_waits_for_a_budget_for_as_long_as_it_takes(fleet: FrontierSeine, web: Web, proxies: Proxies) -> None:
    """More often than it has attempts, none of which sends anything."""
    server = web({"/": Page("x")})
    budget = f"{fleet.keys.shard(0)}:spent:{today()}"
    fleet.redis.hset(budget, "dear", 2_000_000)
    worker = fleet.start(
        "crawl", "path_spider", "-a", f"url={server.url}/",
        *fleet.options(
            PROXIES=f"{proxies().url} tier=dear", PROXY_TIERS="dear=1", RETRY_TIMES=1, RETRY_AFTER_LONGEST=0.05
        ),
    )  # fmt: skip
    assert worker.stderr is not None
    waits = (line for line in worker.stderr if '"no proxy"' in line)
    assert all("the budget of dear is spent" in next(waits) for _ in range(4))
    assert server.visits == []
    fleet.redis.hset(budget, "dear", 0)
    out, err = worker.communicate(timeout=60)
    ended = fleet.ended(Finished(worker.returncode, out, err), server)
    assert ended.of("empty", "dead", "retried") == {"empty": 1, "dead": 0, "retried": 0}


def pages_crawl(offline: Seine, *requests: tuple[str, dict[str, Any]], **settings: Any) -> Finished:
    """One request after another."""
    given = {"SPIDER_MODULES": "tests.browser_spider", "ITEM_PIPELINES": "{}", "ROBOTSTXT_OBEY": 0, **settings}
    options = (part for name, value in given.items() for part in ("-s", f"{name}={value}"))
    return offline.run("crawl", "pages_spider", "-a", f"requests={json.dumps(requests)}", *options)


def test_a_request_names_its_proxy(offline: Seine, web: Web, proxies: Proxies) -> None:
    server = web({f"/?{number}": Page("x") for number in range(5)})
    one, two = proxies(), proxies()
    asked = [{"use_proxy": "one"}, {"use_proxy": "dear"}, {"use_proxy": "direct"}, {"proxy": two.url}, {"proxy": None}]
    pages_crawl(
        offline, *((f"{server.url}/?{number}", meta) for number, meta in enumerate(asked)),
        PROXIES=f"direct,{one.url} label=one,{two.url} label=two tier=dear",
    )  # fmt: skip
    assert (len(server.visits), len(one.asked), len(two.asked)) == (5, 1, 2)


def test_a_bots_session_keeps_its_proxy(offline: Seine, web: Web, proxies: Proxies) -> None:
    """Without cookies, which would keep one, too."""
    paths = [f"/{number}" for number in range(20)]
    server = web(dict.fromkeys(paths, Page("x")))
    pair = [proxies(), proxies()]
    pages_crawl(
        offline, *((server.url + path, {"session": "me"}) for path in paths),
        PROXIES=",".join(proxy.url for proxy in pair), COOKIES_ENABLED=0,
    )  # fmt: skip
    assert sorted(len(proxy.asked) for proxy in pair) == [0, 20]


def test_credentials_in_a_request_are_not_stored(fleet: FrontierSeine, web: Web) -> None:
    server = web({"/": links("/hidden-proxy")})
    ended = crawl(fleet, server, "direct")
    assert "s3cret" not in ended.finished.err
    assert "has credentials" in ended.finished.err
    assert "/" in stored(fleet)
    assert "s3cret" not in stored(fleet)


def test_a_bots_cookies_go_back_by_the_proxy_that_they_came_by(
    fleet: FrontierSeine, web: Web, proxies: Proxies
) -> None:
    """While they are switched off, both proxies are taken."""
    pages = {f"/{n}": Page("x") for n in range(40)}
    server = web({"/": links(*pages)._replace(headers={"Set-Cookie": "who=1; Path=/"}), **pages})
    pair = [proxies(), proxies()]
    for proxy in pair:
        proxy.delay = 0.3
    settings = {"DOWNLOAD_DELAY": 0, "CONCURRENT_REQUESTS_PER_DOMAIN": 8}
    ended = crawl(fleet, server, *(proxy.url for proxy in pair), **settings)
    assert ended.counts["empty"] == 40
    assert sorted(len(proxy.asked) for proxy in pair) == [0, 41]
    spread = crawl(
        fleet, server, *(proxy.url for proxy in pair), COOKIES_ENABLED=0, FRONTIER_CRAWL_ID="spread", **settings
    )
    assert spread.counts["empty"] == 40
    assert all(len(proxy.asked) > 1 for proxy in pair)


def test_cookies_keep_no_proxy_that_is_dearer_than_it_must_be() -> None:
    pool = pool_of("http://a:1 label=cheap tier=cheap", "http://b:1 label=dear tier=dear", PROXY_TIERS="cheap,dear")
    pool.note(pool._proxies["cheap"], "a.test", Results(banned=1))
    dear = pool.choose("a.test", Wanted(), jar="a.test cookies")
    pool._keep("a.test cookies", dear)
    assert pool.choose("a.test", Wanted(), jar="a.test cookies") is dear
    pool.health.at("a.test")["cheap"].until = 0
    pool._reckon_anew("a.test")
    assert pool.choose("a.test", Wanted(), jar="a.test cookies").label == "cheap"


def test_the_environments_proxy_is_asked_with_its_credentials_after_a_redirect(
    fleet: FrontierSeine, web: Web, proxies: Proxies
) -> None:
    server = web({"/": links("/moved"), "/moved": Page("", 302, {"Location": "/b"}), "/b": Page("b")})
    proxy = proxies("http", "user", "s3cret")
    fleet.env |= {"http_proxy": proxy.url, "no_proxy": ""}
    ended = fleet.crawl_from(server, "/")
    assert ended.of("expanded", "redirected", "empty", "dead") == {
        "expanded": 1,
        "redirected": 1,
        "empty": 1,
        "dead": 0,
    }
    assert len(proxy.asked) == 3


def test_without_redis_a_request_waits_in_memory_until_a_proxy_may_be_used(
    offline: Seine, web: Web, proxies: Proxies
) -> None:
    only = proxies()
    only.trouble = "drop"
    offline_crawl(
        offline, web({"/": Page("x")}), PROXIES=only.url, PROXY_FAILURES=1, PROXY_COOL_DOWN=0.5, RETRY_TIMES=3
    )
    [gap] = gaps_of(only)
    assert gap >= 0.5


def test_an_identity_ends_with_its_proxy(fleet: FrontierSeine, sites: Path, web: Web, proxies: Proxies) -> None:
    """Before the ban all pages came by one proxy, from one visitor; after it by the other, from another."""
    cookie = {"Set-Cookie": "who=1; Path=/"}
    chain = {f"/{n}": links(f"/{n + 1}")._replace(headers=cookie) for n in range(10)}
    server = web({**chain, "/10": Page("end")})
    pair = [proxies(), proxies()]
    (sites / "mine.toml").write_text(
        f'name = "mine"\ndomains = ["{server.domain}"]\nseeds = ["{server.url}/0"]\n'
        '[identities]\nkind = "browser"\n[limits]\ndelay = 0\n'
    )

    def break_one(earlier: int) -> Page:
        used = max(pair, key=lambda proxy: len(proxy.asked))
        used.trouble = "drop"
        return chain["/5"]

    server.pages["/5"] = break_one
    entries = ",".join(proxy.url for proxy in pair)
    ended = fleet.crawl(
        "-a", "sites=mine", PROXIES=entries, PROXY_FAILURES=1, ROBOTSTXT_OBEY=0, RETRY_BACKOFF_SECONDS=0.01
    )
    assert ended.code == 0
    assert len(ended.events("identity retired", reason="proxy lost")) == 1
    agents = {path: dict(visit.headers)["User-Agent"] for visit in server.visits for path in [visit.path]}
    cookies = {visit.path: dict(visit.headers).get("Cookie") for visit in server.visits}
    assert len({agents[f"/{n}"] for n in range(6)}) == 1
    assert len({agents[f"/{n}"] for n in range(6, 11)}) == 1
    assert [cookies[f"/{n}"] for n in (0, 1, 5, 6, 7)] == [None, "who=1", "who=1", None, "who=1"]
    assert sorted(len(proxy.asked) for proxy in pair) == [5, 7]


def test_browsers_go_through_the_chosen_proxy(fleet: FrontierSeine, web: Web, proxies: Proxies) -> None:
    server = web({"/": links("/a"), "/a": Page("a")})
    bad, good = proxies("socks5", "user", "s3cret"), proxies("socks5", "user", "s3cret")
    bad.trouble = "drop"
    with short_folder() as folder:
        ended = crawl(
            fleet, server, f"{bad.url} tier=a", f"{good.url} tier=b", SPIDER_MODULES="tests.rendered_spider",
            BROWSER_TMP_DIR=folder, PROXY_FAILURES=1, PROXY_COOL_DOWN=60,
        )  # fmt: skip
    assert ended.of("expanded", "empty", "dead") == {"expanded": 1, "empty": 1, "dead": 0}
    assert len(bad.asked) >= 1
    assert ("127.0.0.1", int(server.domain.rpartition(":")[2])) in good.asked
    assert "s3cret" not in ended.finished.err
