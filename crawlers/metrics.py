"""The metrics of a process: one registry, every name in one place; the fleet's are in status/fleet_metrics.py."""

from __future__ import annotations

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    Info,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
)

disable_created_metrics()  # a series more for each one, which nothing reads
REGISTRY = CollectorRegistry()
ProcessCollector(registry=REGISTRY)
PlatformCollector(registry=REGISTRY)
GCCollector(registry=REGISTRY)

BUILD = Info("seine_build", "What this process is made of.", registry=REGISTRY)
LOOP_LAG = Gauge(
    "seine_loop_lag_seconds",
    "How late the event loop was at most, of the last half to whole minute.",
    registry=REGISTRY,
)

_SECONDS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)

REQUESTS = Counter("seine_requests", "Requests by outcome.", ("outcome", "reason"), registry=REGISTRY)
RESPONSES = Counter("seine_responses", "Answers by their status.", ("status",), registry=REGISTRY)
RESPONSE_BYTES = Counter("seine_response_bytes", "Of bodies, decompressed.", registry=REGISTRY)
PHASE_SECONDS = Histogram(
    "seine_phase_seconds",
    "Of a request: frontier, queue, connect, first_byte, download, callback, delivery.",
    ("phase",),
    buckets=_SECONDS,
    registry=REGISTRY,
)
SITE_REQUESTS = Counter(
    "seine_site_requests", "Requests of a site, by outcome.", ("site", "outcome"), registry=REGISTRY
)
SITE_ITEMS = Counter("seine_site_items", "Items of a site, by fate.", ("site", "fate"), registry=REGISTRY)
SITE_CHANGES = Counter(
    "seine_site_changes",
    "With EMIT=changes: products new, changed, unchanged, gone.",
    ("site", "change"),
    registry=REGISTRY,
)
SITE_BANS = Counter("seine_site_bans", "Walls met instead of a site's pages.", ("site",), registry=REGISTRY)
SITE_LAST_PRODUCT = Gauge(
    "seine_site_last_product_timestamp_seconds",
    "When Kafka had the last product of a site.",
    ("site",),
    registry=REGISTRY,
)
ITEMS = Counter("seine_items", "Items by fate.", ("fate", "reason"), registry=REGISTRY)
RECORDS_IN_FLIGHT = Gauge("seine_records_in_flight", "Records that await Kafka's report.", registry=REGISTRY)
SINK_RECORDS = Gauge("seine_sink_records", "What SINK_HIGH_WATER_RECORDS limits.", registry=REGISTRY)
SINK_BYTES = Gauge("seine_sink_bytes", "What SINK_HIGH_WATER_BYTES limits.", registry=REGISTRY)
SINK_FULL = Gauge("seine_sink_full", "1 while leasing pauses, as too much is in flight.", registry=REGISTRY)
KAFKA_AWAY = Gauge("seine_kafka_away", "1 while Kafka takes nothing for a topic.", ("topic",), registry=REGISTRY)
DELIVERY_SECONDS = Histogram("seine_delivery_seconds", "From produce to delivery report.", registry=REGISTRY)
DELIVERY_RETRIES = Counter("seine_delivery_retries", "Records sent again, by error.", ("error",), registry=REGISTRY)
TRANSACTIONS = Counter("seine_transactions", "Of exactly once, by what became of them.", ("what",), registry=REGISTRY)
TRANSACTION_SECONDS = Histogram("seine_transaction_seconds", "From begin to commit.", registry=REGISTRY)
TRANSACTION_OPEN_SECONDS = Histogram("seine_transaction_open_seconds", "Of init_transactions.", registry=REGISTRY)
KAFKA_QUEUE = Gauge("seine_kafka_queue_records", "In librdkafka's queues, sent or not.", registry=REGISTRY)
KAFKA_QUEUE_BYTES = Gauge("seine_kafka_queue_bytes", "In librdkafka's queues.", registry=REGISTRY)
KAFKA_SENT = Counter("seine_kafka_sent_bytes", "By librdkafka to brokers.", registry=REGISTRY)
KAFKA_RECORDS = Counter("seine_kafka_sent_records", "By librdkafka to brokers, repeats too.", registry=REGISTRY)
KAFKA_ERRORS = Counter(
    "seine_kafka_errors", "Of requests to a broker: failed, repeated, timed out.", ("kind",), registry=REGISTRY
)
KAFKA_BROKERS = Gauge("seine_kafka_brokers_up", "Brokers with a connection that is up.", registry=REGISTRY)
KAFKA_ROUND_TRIP = Gauge(
    "seine_kafka_round_trip_seconds",
    "Of requests to brokers, lately, the slowest broker's.",
    ("quantile",),
    registry=REGISTRY,
)
PRODUCER_REBUILDS = Counter(
    "seine_producer_rebuilds",
    "Producers replaced: a fatal error, a clock set back, silence while Kafka answers.",
    registry=REGISTRY,
)
AUDIT_REJECTED = Counter("seine_audit_rejected", "Audit events that Kafka or their schema refused.", registry=REGISTRY)

SPANS = Counter("seine_spans", "Of traces: made, exported, lost.", ("what",), registry=REGISTRY)

DEAD_LETTERS = Counter("seine_dead_letters", "Dead letters written, by stage.", ("stage",), registry=REGISTRY)
DEAD_LETTERS_BLOCKED = Gauge(
    "seine_dead_letters_blocked", "Dead letters that cannot be written; leasing pauses.", registry=REGISTRY
)

ROBOTS = Counter("seine_robots", "robots.txt files asked for: fetched, unreachable.", ("result",), registry=REGISTRY)
BANS = Counter("seine_bans", "Walls met instead of pages.", ("kind", "vendor"), registry=REGISTRY)
IDENTITIES = Counter(
    "seine_identities", "Browser-like ones: begun, banned, aged, proxy lost, crowded out.", ("what",), registry=REGISTRY
)
IDENTITIES_LIVE = Gauge("seine_identities_live", "Browser-like ones in use.", registry=REGISTRY)
PROXIES = Gauge(
    "seine_proxies", "Proxies: usable everywhere, or cooling down at some domain.", ("state",), registry=REGISTRY
)
PROXY_REQUESTS = Counter("seine_proxy_requests", "By tier: ok, failed, banned.", ("tier", "result"), registry=REGISTRY)
PROXY_BYTES = Counter("seine_proxy_bytes", "Received, by tier.", ("tier",), registry=REGISTRY)

LEASES_HELD = Gauge("seine_leases_held", "Of this worker: leases that are not settled.", registry=REGISTRY)
LEASES_WAITING = Gauge(
    "seine_leases_waiting", "Of those: not started, by politeness or for want of places.", registry=REGISTRY
)
REQUESTS_ACTIVE = Gauge("seine_requests_active", "Requests that the downloader works on.", registry=REGISTRY)
FRONTIER_ENQUEUED = Counter(
    "seine_frontier_enqueued", "New requests, as Redis took them.", ("taken",), registry=REGISTRY
)
FRONTIER_AWAY = Gauge("seine_frontier_away", "1 while a shard's Redis takes nothing.", ("shard",), registry=REGISTRY)
LEASES_STALE = Counter("seine_leases_stale", "Settlements refused: the lease had gone.", registry=REGISTRY)
LEASES_LOST = Counter("seine_leases_lost", "Leases that went to another worker.", registry=REGISTRY)

MONITOR_FAILURES = Counter(
    "seine_monitor_failures",
    "Monitors that failed, of the crawls that this worker judged.",
    ("site", "monitor", "level"),
    registry=REGISTRY,
)
MONITOR_WEBHOOKS = Counter("seine_monitor_webhooks", "Alarms: posted, failed.", ("result",), registry=REGISTRY)
# These are of each site's last complete crawl, from Redis: who exports the fleet's state sets them.
MONITOR_FAILED = Gauge(
    "seine_monitor_failed", "Of a site's last crawl: 1 a warning, 2 an error.", ("site", "monitor"), registry=REGISTRY
)
SITE_PRODUCTS = Gauge("seine_site_products", "That its last crawl saw.", ("site",), registry=REGISTRY)
SITE_FIELD_COVERAGE = Gauge(
    "seine_site_field_coverage", "The share of its products that have a field.", ("site", "field"), registry=REGISTRY
)
SITE_ERROR_RATE = Gauge(
    "seine_site_error_rate", "The share of its requests that died or met a wall.", ("site",), registry=REGISTRY
)
SITE_JUDGED = Gauge(
    "seine_site_judged_timestamp_seconds", "When its last crawl was complete.", ("site",), registry=REGISTRY
)
SITE_LAST_PRODUCTS = Gauge(
    "seine_site_last_products_timestamp_seconds", "When a crawl last saw any product.", ("site",), registry=REGISTRY
)

CONTENT_DROPPED = Counter("seine_content_dropped", "Pages not stored: they could not be masked.", registry=REGISTRY)
CLAIMS = Counter("seine_claims", "Large fields: stored, or known from before.", ("result",), registry=REGISTRY)
CLAIM_BYTES = Counter("seine_claim_bytes", "Bytes stored outside of records.", registry=REGISTRY)
CLAIM_SECONDS = Histogram("seine_claim_seconds", "Until a large field is durable.", registry=REGISTRY)
CLAIM_RETRIES = Counter("seine_claim_retries", "Tries that failed, by reason.", ("reason",), registry=REGISTRY)
CLAIMS_IN_FLIGHT = Gauge("seine_claims_in_flight", "Large fields on their way to the store.", registry=REGISTRY)
CLAIMS_AWAY = Gauge("seine_claims_away", "1 while the claim store takes nothing.", registry=REGISTRY)

INVALID_FIELDS = Counter("seine_invalid_fields", "Rules of fields that items broke.", ("field",), registry=REGISTRY)

ROUTES = Counter(
    "seine_routes", "Pages that routing decided: http, browser, same, more, failed.", ("route",), registry=REGISTRY
)
BROWSER_PAGES = Counter(
    "seine_browser_pages",
    "Pages rendered, or drawn for letters, by backend and end.",
    ("backend", "end"),
    registry=REGISTRY,
)
BROWSER_SECONDS = Histogram("seine_browser_seconds", "Of a page, from its lease to its end.", registry=REGISTRY)
BROWSER_LAUNCHES = Counter("seine_browser_launches", "Browsers started.", ("backend",), registry=REGISTRY)
BROWSER_ENDS = Counter("seine_browser_ends", "Browsers ended, by reason.", ("reason",), registry=REGISTRY)
BROWSER_BUSY = Gauge("seine_browser_pages_busy", "Pages that are being rendered.", registry=REGISTRY)
BROWSER_MEMORY = Gauge("seine_browser_memory_bytes", "Resident memory of all browser processes.", registry=REGISTRY)
BROWSER_BYTES = Counter("seine_browser_bytes", "Through the egress proxy.", ("direction",), registry=REGISTRY)
BROWSER_REFUSED = Counter("seine_browser_refused", "Connections of browsers that were refused.", registry=REGISTRY)
