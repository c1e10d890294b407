"""The metrics of a worker: one registry, every name in one place."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

REGISTRY = CollectorRegistry()

REQUESTS = Counter("seine_requests", "Requests by outcome.", ("outcome", "reason"), registry=REGISTRY)
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
PRODUCER_REBUILDS = Counter(
    "seine_producer_rebuilds",
    "Producers replaced: a fatal error, a clock set back, silence while Kafka answers.",
    registry=REGISTRY,
)
AUDIT_REJECTED = Counter("seine_audit_rejected", "Audit events that Kafka or their schema refused.", registry=REGISTRY)

DEAD_LETTERS = Counter("seine_dead_letters", "Dead letters written, by stage.", ("stage",), registry=REGISTRY)
DEAD_LETTERS_BLOCKED = Gauge(
    "seine_dead_letters_blocked", "Dead letters that cannot be written; leasing pauses.", registry=REGISTRY
)

ROBOTS = Counter("seine_robots", "robots.txt files asked for: fetched, unreachable.", ("result",), registry=REGISTRY)
BANS = Counter("seine_bans", "Walls met instead of pages.", ("kind", "vendor"), registry=REGISTRY)
IDENTITIES = Counter(
    "seine_identities", "Browser-like ones: begun, banned, aged, proxy lost, crowded out.", ("what",), registry=REGISTRY
)
PROXY_REQUESTS = Counter("seine_proxy_requests", "By tier: ok, failed, banned.", ("tier", "result"), registry=REGISTRY)
PROXY_BYTES = Counter("seine_proxy_bytes", "Received, by tier.", ("tier",), registry=REGISTRY)

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
