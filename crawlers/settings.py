"""The table of contents of the whole program: what is switched on, and every deviation from Scrapy's defaults.

A setting of Seine's own has the name of its environment variable; `-s NAME=VALUE` overrides both. Secrets may come from
files: NAME_FILE.
This module alone reads os.environ, and no module imports this one: components get `crawler.settings`.
"""

import os
import sys
from pathlib import Path

from scrapy.settings.default_settings import RETRY_EXCEPTIONS as _RETRY_EXCEPTIONS

from crawlers.timers import keep_monotonic_time

SETTINGS_CONTRACT = {}
"""Of every setting that `env()` declares: its name, type and meaning. `scrapy crawl` checks `-s` values against it."""


def env(name, kind, default, meaning, *, may_be_empty=False, is_secret=False):
    """The value of the environment variable `name`, as a `kind` (str, int, float, bool or list), or `default`.

    An empty variable is an unset one, unless it `may_be_empty`. A secret may also come from the file that the variable
    `name`_FILE names, as orchestrators mount them.
    """
    SETTINGS_CONTRACT[name] = (kind.__name__, meaning)
    text = os.environ.get(name)
    if is_secret and (path := os.environ.get(f"{name}_FILE")):
        text = _read_secret(name, path, text)
    if text is None or (text == "" and not may_be_empty):
        return default
    try:
        return _READERS[kind](text)
    except ValueError:
        _refuse(f"{name}={text}: expected {kind.__name__}. {name}: {meaning}")


def _read_secret(name, path, text):
    if text:
        _refuse(f"{name} and {name}_FILE are both set: only one of them can be meant")
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text"
        _refuse(f"{name}_FILE={path}: cannot be read: {why}")


def _refuse(mistake):
    print(f"seine: {mistake}", file=sys.stderr)
    raise SystemExit(2) from None


def _read_bool(text):
    if text.lower() in ("1", "true", "yes"):
        return True
    if text.lower() in ("0", "false", "no"):
        return False
    raise ValueError(text)


def _read_list(text):
    return [part.strip() for part in text.split(",") if part.strip()]


_READERS = {str: str, int: int, float: float, bool: _read_bool, list: _read_list}
_ROOT = Path(__file__).parent.parent

# --- The project ---------------------------------------------------------------------------------------------------
BOT_NAME = "seine"
SPIDER_MODULES = ["crawlers.spiders"]
NEWSPIDER_MODULE = "crawlers.spiders"
COMMANDS_MODULE = "crawlers.commands"
REQUEST_FINGERPRINTER_CLASS = "crawlers.fingerprints.QuickFingerprinter"  # Scrapy's fingerprints, quicker
SITES_DIR = env("SITES_DIR", str, str(_ROOT / "crawlers" / "sites"), "folder of the sites' TOML files")
FRONTIER_CRAWL_ID = env("FRONTIER_CRAWL_ID", str, None, "name of the crawl; made from the time when unset")
WORKER_ID = env("WORKER_ID", str, None, "name of this worker in records and logs; host and pid when unset")

# --- Politeness ----------------------------------------------------------------------------------------------------
# A site's [limits] override these two for its domains.
DOWNLOAD_DELAY = env("DOWNLOAD_DELAY", float, 0.25, "seconds between two requests to a domain")
CONCURRENT_REQUESTS_PER_DOMAIN = env("CONCURRENT_REQUESTS_PER_DOMAIN", int, 4, "requests at once to a domain")
CONCURRENT_REQUESTS = env("CONCURRENT_REQUESTS", int, 32, "requests at once in a worker")
ROBOTSTXT_OBEY = env("ROBOTSTXT_OBEY", bool, True, "whether robots.txt is obeyed")
ROBOTSTXT_USER_AGENT = env("ROBOTSTXT_USER_AGENT", str, None, "who robots.txt is asked about; unset: USER_AGENT")
ROBOTSTXT_TTL = env("ROBOTSTXT_TTL", float, 86_400.0, "seconds until a robots.txt is fetched anew")
ROBOTSTXT_STALE = env(
    "ROBOTSTXT_STALE", float, 2_592_000.0, "seconds: up to which age a copy is used while it is unreachable"
)
ROBOTS_DIRECTIVES = env(
    "ROBOTS_DIRECTIVES",
    list,
    ["noindex", "nofollow"],
    "what is kept to of X-Robots-Tag and meta robots; empty: nothing",
    may_be_empty=True,
)
USER_AGENT = env(
    "USER_AGENT", str, "Seine (+https://example.org/seine-bot)", "the honest bot's name, and where to read about it"
)

REFERRER_POLICY = "strict-origin-when-cross-origin"  # as browsers have it
IDENTITY = env("IDENTITY", str, "bot", "bot: as USER_AGENT; browser: as a person's; of sites that do not say")
IDENTITY_COUNT = env("IDENTITY_COUNT", int, 1, "browser-like identities that a site sees at once, of a worker")
IDENTITY_SECONDS = env("IDENTITY_SECONDS", float, 3600.0, "seconds until such an identity is replaced")

# --- Fetching ------------------------------------------------------------------------------------------------------
DOWNLOADER_MIDDLEWARES = {
    "scrapy.downloadermiddlewares.offsite.OffsiteMiddleware": None,
    "middlewares.gone.GoneMiddleware": 40,  # what is not sent, no other one has a say in
    "middlewares.site.SiteMiddleware": 50,  # in its place, by host and port, and per site
    "middlewares.guard.GuardMiddleware": 60,  # before robots.txt is asked for
    "scrapy.downloadermiddlewares.robotstxt.RobotsTxtMiddleware": None,
    "middlewares.robots.RobotsMiddleware": 100,  # in its place, one copy for the fleet, as RFC 9309 has it
    "middlewares.routing.RoutingMiddleware": 380,  # before who asks is chosen; behind walls, which are no pages
    "middlewares.cookie_jar.CookieJarMiddleware": 385,  # an identity is also its cookie jar's
    "middlewares.identity.IdentityMiddleware": 390,  # before Scrapy's defaults of headers, and before cookies
    "middlewares.proxy.ProxyMiddleware": 395,  # an identity ends with its proxy
    "middlewares.waiting.WaitingMiddleware": 555,  # before retries, which it holds back where there is no Redis
    "middlewares.changes.ChangesMiddleware": 560,  # before compression, behind redirects and cookies
    "middlewares.ban.BanMiddleware": 570,  # sees what came decompressed, before anybody takes it for a page
    "middlewares.sanity.SanityMiddleware": 580,  # before anybody counts or parses an answer
    "scrapy.downloadermiddlewares.httpcompression.HttpCompressionMiddleware": None,
    "middlewares.compression.CompressionMiddleware": 590,  # in its place, with a limit of the ratio
    "middlewares.header_order.HeaderOrderMiddleware": 720,  # behind cookies: all headers are there
}
PROXIES = env("PROXIES", list, [], "forward proxies, comma separated: URL [label= tier= region= weight=], or direct")
PROXIES_FILE = env("PROXIES_FILE", str, None, "file, or http URL, of further ones, one a line")
PROXIES_REFRESH = env("PROXIES_REFRESH", float, 300.0, "seconds until that list is read again; 0: never")
PROXY_TIERS = env("PROXY_TIERS", list, [], "tiers in the order of their price: direct,cheap,dear=megabytes a day")
PROXY_FAILURES = env("PROXY_FAILURES", int, 3, "failures in a row at a domain that cool a proxy down there")
PROXY_COOL_DOWN = env(
    "PROXY_COOL_DOWN", float, 30.0, "seconds of its first cool-down after failures; doubled each time"
)
PROXY_BAN_COOL_DOWN = env(
    "PROXY_BAN_COOL_DOWN", float, 300.0, "seconds of its first one after a ban; doubled each time"
)
PROXY_LONGEST_COOL_DOWN = env("PROXY_LONGEST_COOL_DOWN", float, 86_400.0, "seconds of any cool-down at most")
DOWNLOAD_TIMEOUT = env("DOWNLOAD_TIMEOUT", float, 30.0, "seconds for one download")
DOWNLOAD_MAXSIZE = env("DOWNLOAD_MAXSIZE", int, 16 * 1024 * 1024, "bytes of a response, decompressed, at most")
HEADERS_MAXSIZE = env("HEADERS_MAXSIZE", int, 256 * 1024, "bytes of a response's headers at most")
DECOMPRESSION_RATIO = env("DECOMPRESSION_RATIO", int, 200, "times its size that a body over 1 MiB may decompress to")
REDIRECT_MAX_TIMES = env("REDIRECT_MAX_TIMES", int, 10, "redirects in a row that are followed")
CONTENT_TYPES = env(
    "CONTENT_TYPES",
    list,
    ["text/*", "*/*+xml", "application/xml", "*/*json", "application/*gzip", "*/octet-stream"],
    "types of content whose body is downloaded; what has no type is, too",
)
ALLOWED_PRIVATE_NETWORKS = env(
    "ALLOWED_PRIVATE_NETWORKS", list, [], "networks that may be asked though they are not public, as 10.0.0.0/8"
)
BAN_STATUSES = env("BAN_STATUSES", list, ["430", "999"], "statuses that mean a ban by themselves", may_be_empty=True)
CAPTCHA_SOLVER = env("CAPTCHA_SOLVER", str, None, "path of the operator's class that answers CAPTCHAs")
CAPTCHA_SOLVER_TIMEOUT = env("CAPTCHA_SOLVER_TIMEOUT", float, 120.0, "seconds that it has for one")
DOWNLOAD_HANDLERS = {
    "http": "browser_pool.handler.BrowserHandler",
    "https": "browser_pool.handler.BrowserHandler",
    **dict.fromkeys(("data", "file", "ftp", "s3")),  # a page must not lead into our files
}
PLAIN_DOWNLOAD_HANDLER = "crawlers.fetching.dialling.GuardedHTTPHandler"  # of what needs no browser
DOWNLOAD_WARNSIZE = 0  # a page over the limit is an outcome; one below it is not worth a line
RETRY_EXCEPTIONS = [*_RETRY_EXCEPTIONS, "crawlers.refusals.Postponed"]
RETRY_TIMES = env("RETRY_TIMES", int, 3, "attempts after the first, for server errors and lost connections")
COOKIES_ENABLED = env("COOKIES_ENABLED", bool, True, "whether cookies are kept per site")
SPIDER_MIDDLEWARES = {
    "middlewares.robots_directives.RobotsDirectivesMiddleware": 950,
    "middlewares.accounting.AccountingMiddleware": 1000,  # next to the spider: it sees all it yields
}
METAREFRESH_ENABLED = False  # a shop's refresh is a script's work, which the browser pool does

# --- Browsers (docs/browser-pool.md) -------------------------------------------------------------------------------
BROWSER_BACKEND = env("BROWSER_BACKEND", str, "playwright", "what drives browsers: playwright, selenium, undetected")
BROWSER_EXECUTABLE = env("BROWSER_EXECUTABLE", str, None, "Chromium's program; one on PATH when unset")
BROWSER_REMOTE_URL = env(
    "BROWSER_REMOTE_URL", str, None, "DevTools or, for selenium, WebDriver of another machine", is_secret=True
)
BROWSER_EGRESS_HOST = env("BROWSER_EGRESS_HOST", str, "127.0.0.1", "address at which its browsers reach this worker")
BROWSER_EGRESS_CLIENTS = env("BROWSER_EGRESS_CLIENTS", list, [], "networks of those browsers, as 10.0.3.0/24")
BROWSER_TMP_DIR = env("BROWSER_TMP_DIR", str, None, "folder of the workers' private ones; the system's when unset")
BROWSER_PROCESSES = env("BROWSER_PROCESSES", int, 1, "browsers at once in a worker")
BROWSER_PAGES = env("BROWSER_PAGES", int, 4, "pages at once in a browser")
BROWSER_PAGE_USES = env("BROWSER_PAGE_USES", int, 20, "pages that a tab shows until it is replaced")
BROWSER_RETIRE_PAGES = env("BROWSER_RETIRE_PAGES", int, 1000, "pages until a browser is replaced")
BROWSER_RETIRE_SECONDS = env("BROWSER_RETIRE_SECONDS", float, 3600.0, "seconds until a browser is replaced")
BROWSER_RETIRE_MEMORY = env("BROWSER_RETIRE_MEMORY", int, 2048, "MiB of a browser at which it is replaced")
BROWSER_PAGE_MEMORY = env("BROWSER_PAGE_MEMORY", int, 768, "MiB of a page's process at which it is killed")
BROWSER_LAUNCH_TIMEOUT = env("BROWSER_LAUNCH_TIMEOUT", float, 30.0, "seconds for a browser to start")
ROUTING_SLIPS = env("ROUTING_SLIPS", float, 500.0, "pages by HTTP that may have needed a browser, between two checks")

# --- Extraction to Kafka -------------------------------------------------------------------------------------------
ITEM_PROCESSOR = "pipelines.processor.FateProcessor"  # the one place where an item's fate becomes known
ITEM_PIPELINES = {
    "pipelines.validation.ValidationPipeline": 100,
    "pipelines.changes.ChangesPipeline": 150,
    "pipelines.masking.MaskingPipeline": 200,
    "pipelines.content.ContentPipeline": 300,  # after masking, which reads the page as it was fetched
    "pipelines.claim_check.ClaimCheckPipeline": 400,
    "pipelines.avro.AvroPipeline": 500,
    "pipelines.kafka.KafkaPipeline": 600,
}
CONCURRENT_ITEMS = 8  # Scrapy's 100 starts 100 tasks per response: 1.4 times slower, and a page has few items
KAFKA_BOOTSTRAP_SERVERS = env("KAFKA_BOOTSTRAP_SERVERS", str, None, "brokers, host:port comma separated")
KAFKA_TOPIC_PRODUCTS = env("KAFKA_TOPIC_PRODUCTS", str, "products", "topic of the products")
KAFKA_TOPIC_DEAD_LETTERS = env("KAFKA_TOPIC_DEAD_LETTERS", str, "products.dlq", "topic of the dead letters")
KAFKA_TOPIC_PAGES = env(
    "KAFKA_TOPIC_PAGES", str, "crawl.pages", "topic of the audit trail; empty: there is none", may_be_empty=True
)
DLQ_REPLAY_TIMES = env("DLQ_REPLAY_TIMES", int, 3, "times that `scrapy dlq replay` sends the same thing back")
KAFKA_CREATE_TOPICS = env("KAFKA_CREATE_TOPICS", bool, False, "whether missing topics are created at start")
KAFKA_PARTITIONS = env("KAFKA_PARTITIONS", int, 6, "partitions of a topic that is created")
KAFKA_REPLICATION_FACTOR = env("KAFKA_REPLICATION_FACTOR", int, 1, "replicas of a topic that is created")
KAFKA_DELIVERY = env("KAFKA_DELIVERY", str, "at_least_once", "at_least_once or exactly_once (docs/exactly-once.md)")
KAFKA_TOPIC_LEDGER = env("KAFKA_TOPIC_LEDGER", str, "seine.ledger", "topic of the transactions, for exactly_once")
KAFKA_SLOTS = env("KAFKA_SLOTS", int, 16, "partitions of that topic: workers times shards that commit at once, at most")
KAFKA_TRANSACTION_LINGER = env("KAFKA_TRANSACTION_LINGER", float, 0.05, "seconds that a transaction gathers requests")
KAFKA_TRANSACTION_TIMEOUT = env("KAFKA_TRANSACTION_TIMEOUT", float, 15.0, "seconds until Kafka aborts one by itself")
KAFKA_LEDGER_LAG = env("KAFKA_LEDGER_LAG", float, 604_800.0, "seconds: age of the oldest Redis backup ever restored")
KAFKA_DELIVERY_TIMEOUT = env("KAFKA_DELIVERY_TIMEOUT", float, 300.0, "seconds until a send is tried anew")
KAFKA_TIMEOUT = env("KAFKA_TIMEOUT", float, 10.0, "seconds without acknowledgement until Kafka counts as away")
KAFKA_DRAIN_TIMEOUT = env("KAFKA_DRAIN_TIMEOUT", float, 60.0, "seconds that a closing worker waits for Kafka")
SINK_HIGH_WATER_RECORDS = env("SINK_HIGH_WATER_RECORDS", int, 2000, "records in flight that pause leasing, to half")
SINK_HIGH_WATER_BYTES = env("SINK_HIGH_WATER_BYTES", int, 33_554_432, "bytes in flight that pause leasing, to half")
EMIT = env("EMIT", str, "all", "all products, or changes: those that are not what they were (docs/changes.md)")
CHANGES_GONE_AFTER = env("CHANGES_GONE_AFTER", int, 3, "crawls of its site in a row without a product until it is gone")
CHANGES_TOMBSTONES = env("CHANGES_TOMBSTONES", bool, False, "whether the record of a gone product is followed by null")
CHANGES_IGNORE = env("CHANGES_IGNORE", list, [], "fields whose changes are no reason for a record, comma separated")
KAFKA_SECURITY_PROTOCOL = env("KAFKA_SECURITY_PROTOCOL", str, "PLAINTEXT", "PLAINTEXT, SSL, SASL_PLAINTEXT, SASL_SSL")
KAFKA_SASL_MECHANISM = env("KAFKA_SASL_MECHANISM", str, None, "PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512")
KAFKA_SASL_USERNAME = env("KAFKA_SASL_USERNAME", str, None, "user name for SASL")
KAFKA_SASL_PASSWORD = env("KAFKA_SASL_PASSWORD", str, None, "password for SASL; never logged", is_secret=True)
KAFKA_SSL_CA_LOCATION = env("KAFKA_SSL_CA_LOCATION", str, None, "file of the CA that signed the brokers' certificates")
KAFKA_SSL_CERTIFICATE_LOCATION = env("KAFKA_SSL_CERTIFICATE_LOCATION", str, None, "file of this client's certificate")
KAFKA_SSL_KEY_LOCATION = env("KAFKA_SSL_KEY_LOCATION", str, None, "file of its private key")
KAFKA_SSL_KEY_PASSWORD = env("KAFKA_SSL_KEY_PASSWORD", str, None, "password of that key; never logged", is_secret=True)
SCHEMA_REGISTRY_URL = env("SCHEMA_REGISTRY_URL", str, None, "registry with Confluent's API")
SCHEMA_REGISTRY_USERNAME = env("SCHEMA_REGISTRY_USERNAME", str, None, "user name at the registry (HTTP basic)")
SCHEMA_REGISTRY_PASSWORD = env(
    "SCHEMA_REGISTRY_PASSWORD", str, None, "password at the registry; never logged", is_secret=True
)
SCHEMA_REGISTRY_SSL_CA_LOCATION = env(
    "SCHEMA_REGISTRY_SSL_CA_LOCATION", str, None, "file of the CA that signed the registry's certificate"
)
SCHEMA_REGISTRY_SSL_CERTIFICATE_LOCATION = env(
    "SCHEMA_REGISTRY_SSL_CERTIFICATE_LOCATION", str, None, "file of this client's certificate for the registry"
)
SCHEMA_REGISTRY_SSL_KEY_LOCATION = env("SCHEMA_REGISTRY_SSL_KEY_LOCATION", str, None, "file of its private key")
SCHEMA_REGISTRY_SSL_KEY_PASSWORD = env(
    "SCHEMA_REGISTRY_SSL_KEY_PASSWORD", str, None, "password of that key; never logged", is_secret=True
)
SCHEMA_REGISTRY_AUTO_REGISTER = env(
    "SCHEMA_REGISTRY_AUTO_REGISTER", bool, False, "whether the committed schemas are registered at start"
)

# --- Stored pages and claim checks (docs/claim-check.md) -----------------------------------------------------------
STORE_CONTENT = env("STORE_CONTENT", bool, False, "whether a record brings along the page as it was fetched")
CLAIM_CHECK_URL = env("CLAIM_CHECK_URL", str, None, "store of large fields: file:///folder, webhdfs://host:port/folder")
CLAIM_CHECK_CONSUMER_URL = env("CLAIM_CHECK_CONSUMER_URL", str, None, "the same folder's URI, as consumers see it")
CLAIM_CHECK_THRESHOLD = env("CLAIM_CHECK_THRESHOLD", int, 262_144, "bytes of an encoded value that stay in the record")
CLAIM_CHECK_CONCURRENCY = env("CLAIM_CHECK_CONCURRENCY", int, 8, "uploads at once in a worker")
CLAIM_CHECK_TIMEOUT = env("CLAIM_CHECK_TIMEOUT", float, 60.0, "seconds until an upload is tried anew")
CLAIM_CHECK_DRAIN_TIMEOUT = env("CLAIM_CHECK_DRAIN_TIMEOUT", float, 60.0, "seconds that a closing worker waits for it")
CLAIM_CHECK_USER = env("CLAIM_CHECK_USER", str, "seine", "HDFS user that the blobs belong to, without Kerberos")
CLAIM_CHECK_KERBEROS = env("CLAIM_CHECK_KERBEROS", bool, False, "whether HDFS is asked with a Kerberos ticket")
CLAIM_CHECK_MARGIN = env("CLAIM_CHECK_MARGIN", int, 604_800, "seconds past the topics' retention that blobs are kept")

# --- The frontier --------------------------------------------------------------------------------------------------
# Without Redis: Scrapy's own scheduler, in memory, breadth first, so that a category's pages come before its depths.
DEPTH_PRIORITY = 1
SCHEDULER_DISK_QUEUE = "scrapy.squeues.PickleFifoDiskQueue"
SCHEDULER_MEMORY_QUEUE = "scrapy.squeues.FifoMemoryQueue"
REDIS_URL = env("REDIS_URL", str, None, "Redis that holds the frontier: redis://, rediss:// or unix://", is_secret=True)
REDIS_SENTINELS = env("REDIS_SENTINELS", list, [], "Sentinels, host:port comma separated, instead of REDIS_URL's host")
REDIS_SENTINEL_MASTER = env("REDIS_SENTINEL_MASTER", str, "mymaster", "name of the master that the Sentinels watch")
REDIS_CLUSTER = env("REDIS_CLUSTER", bool, False, "whether REDIS_URL is a node of a Redis Cluster")
REDIS_TIMEOUT = env("REDIS_TIMEOUT", float, 10.0, "seconds until a silent Redis counts as away")
FRONTIER_NAMESPACE = env("FRONTIER_NAMESPACE", str, "seine", "what the keys start with; a fleet shares it")
FRONTIER_SHARDS = env("FRONTIER_SHARDS", int, 1, "parts of the frontier, by domain; several spread over a Cluster")
FRONTIER_ORDER = env("FRONTIER_ORDER", str, "breadth", "breadth or depth first, within a priority and a domain")
FRONTIER_CRAWL_PAGES = env("FRONTIER_CRAWL_PAGES", int, 0, "requests of a crawl at most; 0 is no limit")
FRONTIER_DOMAIN_PAGES = env("FRONTIER_DOMAIN_PAGES", int, 0, "of a domain whose site sets no limit; 0 is no limit")
FRONTIER_LEASE_SECONDS = env("FRONTIER_LEASE_SECONDS", float, 30.0, "seconds without heartbeat until a worker is dead")
FRONTIER_PREFETCH = env("FRONTIER_PREFETCH", int, 0, "leases held ahead; 0: twice CONCURRENT_REQUESTS")
FRONTIER_LOST_TIMES = env("FRONTIER_LOST_TIMES", int, 10, "times that a request may be lost with its worker")
FRONTIER_OUTCOME_SECONDS = env("FRONTIER_OUTCOME_SECONDS", int, 86_400, "seconds that `why` knows an outcome at least")
FRONTIER_KEEP_SECONDS = env("FRONTIER_KEEP_SECONDS", int, 604_800, "seconds that a complete crawl's keys are kept")
FRONTIER_WAIT_REPLICAS = env("FRONTIER_WAIT_REPLICAS", int, 0, "replicas that must have a write until it is safe")
FRONTIER_DRAIN_SECONDS = env("FRONTIER_DRAIN_SECONDS", float, 25.0, "seconds for what a stopping worker has begun")
FRONTIER_WAIT = env("FRONTIER_WAIT", bool, False, "whether a worker waits for the next crawl when one is complete")
CRAWL_OPEN = env("CRAWL_OPEN", bool, True, "whether a worker opens crawls; 0: it waits for one (FRONTIER_WAIT=1)")
CRAWL_OVERLAP = env("CRAWL_OVERLAP", str, "join", "join or skip a crawl that other workers are at (docs/schedules.md)")
CRAWL_SKIPPED_EXIT_CODE = env("CRAWL_SKIPPED_EXIT_CODE", int, 0, "exit code of a crawl that was skipped")
RETRY_BACKOFF_SECONDS = env("RETRY_BACKOFF_SECONDS", float, 1.0, "most seconds until the first retry; doubled for each")
RETRY_BACKOFF_LONGEST = env("RETRY_BACKOFF_LONGEST", float, 300.0, "most seconds until any retry")
RETRY_AFTER_LONGEST = env("RETRY_AFTER_LONGEST", float, 3600.0, "seconds that a Retry-After is obeyed at most")
CRAWL_DELAY_LONGEST = env("CRAWL_DELAY_LONGEST", float, 60.0, "seconds that a robots.txt's Crawl-delay may ask for")
BREAKER_FAILURES = env("BREAKER_FAILURES", int, 10, "failures in a row that open a domain's circuit")
BREAKER_COOL_DOWN = env("BREAKER_COOL_DOWN", float, 10.0, "seconds that it is open at first; doubled each time")
BREAKER_LONGEST_COOL_DOWN = env("BREAKER_LONGEST_COOL_DOWN", float, 1800.0, "seconds that it is open at most")
BREAKER_OPENINGS = env("BREAKER_OPENINGS", int, 5, "openings in a row until a crawl gives the domain up")
# What `scrapy crawl` switches on where Redis is configured (crawlers/frontier/wiring.py).
FRONTIER_SETTINGS = {
    "FRONTIER_ENABLED": True,
    "SCHEDULER": "crawlers.frontier.scheduler.FrontierScheduler",
    "DOWNLOADER": "crawlers.frontier.downloader.FleetDownloader",
    "PLAIN_DOWNLOAD_HANDLER": "crawlers.frontier.sending.DepartingHTTPHandler",
    "RETRY_ENABLED": False,  # the frontier's retries are durable
    "EXACTLY_ONCE": "pipelines.exactly_once.delivery.ExactlyOnce",  # where KAFKA_DELIVERY says so
}

# --- Seeing what happens -------------------------------------------------------------------------------------------
STATUS_HOST = env("STATUS_HOST", str, "127.0.0.1", "address of /metrics, /healthz, /readyz and the status page")
STATUS_PORT = env(
    "STATUS_PORT", str, "9410-9459", "their port; of a range the first that is free; empty: none", may_be_empty=True
)
STATUS_TOKEN = env(
    "STATUS_TOKEN", str, None, "what /metrics and the status page ask for; unset: nothing", is_secret=True
)
# Of deploy/cron/run, which reads them by itself, and of `python -m deploy.cron` (docs/schedules.md).
SCHEDULE_DIR = env("SCHEDULE_DIR", str, str(_ROOT / ".schedules"), "folder of schedules' locks, logs and metrics")
SCHEDULE_LOG_DIR = env("SCHEDULE_LOG_DIR", str, None, "folder of their logs; -: none, to this one's output")
SCHEDULE_LOGS = env("SCHEDULE_LOGS", int, 30, "logs of a schedule that are kept")
SCHEDULE_METRICS_DIR = env("SCHEDULE_METRICS_DIR", str, None, "folder of their metrics, for a textfile collector")
SCHEDULE_TIMEOUT = env("SCHEDULE_TIMEOUT", int, 82_800, "seconds until a run is told to end; 0: never")
SCHEDULE_GRACE = env("SCHEDULE_GRACE", int, 165, "seconds that it has then: more than a drain takes")
SCHEDULE_INTERVAL = env("SCHEDULE_INTERVAL", int, 0, "seconds from one run to the next; 0: the scheduler knows")
AUDIT_SAMPLE = env("AUDIT_SAMPLE", list, [], "share of fetches that are audited, by outcome: expanded=0.1,empty=0")
AUDIT_QUERY_STRINGS = env("AUDIT_QUERY_STRINGS", bool, True, "whether the audit trail tells the queries of URLs")
EXTENSIONS = {
    "crawlers.extensions.audit.AuditTrail": 50,
    "crawlers.extensions.tracing.Tracing": 60,
    "crawlers.extensions.monitors.OwnMonitors": 90,
    "crawlers.extensions.outcomes.RequestOutcomes": 100,
    "crawlers.extensions.status.WorkerStatus": 150,
    "browser_pool.warm_start.WarmStart": 200,
    "crawlers.extensions.progress.LiveProgress": 500,
    "crawlers.extensions.heap.FrozenHeap": 900,
    "scrapy.extensions.logstats.LogStats": None,  # the outcome events and the summary say more
}
MONITORS = env("MONITORS", bool, True, "whether what each site's crawl came to is judged (docs/monitors.md)")
OWN_MONITORS = False  # `scrapy crawl` without Redis sets it: `shell`, `parse` and `check` are no crawls
MONITORS_FAIL = env("MONITORS_FAIL", str, "never", "what ends with exit code 3: never, error, warning (or worse)")
MONITORS_WEBHOOK_URL = env(
    "MONITORS_WEBHOOK_URL", str, None, "where alarms are posted to, as JSON; unset: nowhere", is_secret=True
)
MONITORS_WEBHOOK_SECRET = env(
    "MONITORS_WEBHOOK_SECRET", str, None, "key of the posts' HMAC-SHA256; unset: not signed", is_secret=True
)
MONITORS_WEBHOOK_LEVEL = env("MONITORS_WEBHOOK_LEVEL", str, "warning", "what is posted: error, warning (or worse), all")
MONITORS_WEBHOOK_SECONDS = env("MONITORS_WEBHOOK_SECONDS", float, 30.0, "for all posts of a crawl, repeats among them")
LOG_LEVEL = env("LOG_LEVEL", str, "INFO", "DEBUG, INFO, WARNING, ERROR")
LOG_STYLE = env("LOG_STYLE", str, "auto", "json, pretty, or auto: pretty on a terminal, json elsewhere")
NO_COLOR = env("NO_COLOR", str, None, "set to anything: no colours on a terminal")
LOG_FORMATTER = "crawlers.logs.QuietLogFormatter"  # one event per outcome replaces Scrapy's lines per page and item
LOG_VERSIONS = []
STATS_DUMP = env("STATS_DUMP", bool, False, "whether Scrapy's stats are logged at the end")

# --- Tracing (docs/tracing.md) -------------------------------------------------------------------------------------
# OpenTelemetry's own variables. Its SDK reads others itself: OTEL_TRACES_SAMPLER, OTEL_BSP_*, OTEL_RESOURCE_ATTRIBUTES.
OTEL_EXPORTER_OTLP_ENDPOINT = env(
    "OTEL_EXPORTER_OTLP_ENDPOINT", str, None, "collector that takes traces by OTLP over HTTP; unset: no tracing"
)
OTEL_EXPORTER_OTLP_TRACES_ENDPOINT = env(
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", str, None, "the whole URL that traces go to, instead of the collector's"
)
OTEL_EXPORTER_OTLP_PROTOCOL = env("OTEL_EXPORTER_OTLP_PROTOCOL", str, "http/protobuf", "there is no other one here")
OTEL_EXPORTER_OTLP_HEADERS = env(
    "OTEL_EXPORTER_OTLP_HEADERS", str, None, "what the collector asks for, name=value; never logged", is_secret=True
)
OTEL_SERVICE_NAME = env("OTEL_SERVICE_NAME", str, "seine", "name of the service in traces")
OTEL_TRACES_EXPORTER = env("OTEL_TRACES_EXPORTER", str, "otlp", "otlp, or none: no tracing")
OTEL_SDK_DISABLED = env("OTEL_SDK_DISABLED", bool, False, "whether there is no tracing all the same")
TRACING_DRAIN_TIMEOUT = env("TRACING_DRAIN_TIMEOUT", float, 5.0, "seconds that a closing worker waits for it")

# --- Security ------------------------------------------------------------------------------------------------------
TELNETCONSOLE_ENABLED = False
REMOTE_CONTROL_ENABLED = False

# --- Personal data -------------------------------------------------------------------------------------------------
# Of records, dead letters, stored pages and logs; a site's [masking] goes before them (docs/privacy.md).
# Actions: keep, mask, drop, tokenise.
MASKING_PATTERNS = env("MASKING_PATTERNS", list, [], "what is found in texts: email=tokenise,phone=mask,iban=…,card=…")
MASKING_FIELDS = env("MASKING_FIELDS", list, [], "fields by name: description=drop,mpn=patterns")
MASKING_QUERY = env("MASKING_QUERY", list, [], "parameters of URLs by name: session=drop,email=tokenise")
MASKING_KEYS = env("MASKING_KEYS", list, [], "keys of tokens, id:secret comma separated, newest first; never logged")
MASKING_KEYS_FILE = env("MASKING_KEYS_FILE", str, None, "file of such keys, one a line, instead of MASKING_KEYS")

# --- The event loop ------------------------------------------------------------------------------------------------
keep_monotonic_time()
TWISTED_REACTOR = "twisted.internet.asyncioreactor.AsyncioSelectorReactor"
ASYNCIO_EVENT_LOOP = "uvloop.Loop"
FEED_EXPORT_ENCODING = "utf-8"

# --- The embedded stack (`scrapy stack up`) ------------------------------------------------------------------------
STACK_DIR = env("STACK_DIR", str, str(_ROOT / ".stack"), "folder of the embedded services' data, logs and pids")
STACK_CACHE_DIR = env("STACK_CACHE_DIR", str, None, "folder of what was downloaded; the user's cache when unset")
STACK_REDIS_PORT = env("STACK_REDIS_PORT", int, 16379, "port of Redis")
STACK_KAFKA_PORT = env("STACK_KAFKA_PORT", int, 19092, "port of Kafka")
STACK_KAFKA_CONTROLLER_PORT = env("STACK_KAFKA_CONTROLLER_PORT", int, 19093, "port of Kafka's controller")
STACK_REGISTRY_PORT = env("STACK_REGISTRY_PORT", int, 18081, "port of the schema registry")
STACK_REGISTRY_MANAGEMENT_PORT = env("STACK_REGISTRY_MANAGEMENT_PORT", int, 18082, "port of the registry's health")
STACK_HDFS_PORT = env("STACK_HDFS_PORT", int, 19870, "port of WebHDFS")
STACK_HDFS_NAMENODE_PORT = env("STACK_HDFS_NAMENODE_PORT", int, 18020, "port of the NameNode's RPC")
STACK_HDFS_DATANODE_PORT = env("STACK_HDFS_DATANODE_PORT", int, 19866, "port of the DataNode's data")
STACK_HDFS_DATANODE_HTTP_PORT = env("STACK_HDFS_DATANODE_HTTP_PORT", int, 19864, "port of the DataNode's WebHDFS")
STACK_HDFS_DATANODE_IPC_PORT = env("STACK_HDFS_DATANODE_IPC_PORT", int, 19867, "port of the DataNode's RPC")
