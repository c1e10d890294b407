"""The way to Kafka, to the claim store and to consumers."""

from deploy.grafana.panels import Board, bars, lines, number, quantiles, row

_QUEUE = {"records": "sum(seine_kafka_queue_records)", "in flight": "sum(seine_records_in_flight)"}

BOARD = Board(
    "Seine / Delivery",
    "From an item to its record on the topic, and to those who read it.",
    (
        row(
            "Delivery",
            number("Kafka away", "max(seine_kafka_away) or vector(0)", "Some topic takes nothing.", bad=1),
            number(
                "Brokers up",
                "min(seine_kafka_brokers_up)",
                "As the worker that reaches the fewest sees it.",
                bad=1,
                good=True,
            ),
            number(
                "Letters blocked",
                "sum(seine_dead_letters_blocked) or vector(0)",
                "Dead letters that cannot be written; leasing pauses.",
                bad=1,
            ),
            quantiles(
                "Produce to report",
                "le:seine_delivery_seconds_bucket:rate5m",
                "Until all in-sync replicas have it.",
                width=2,
            ),
            lines(
                "Records",
                {
                    "sent": "sum(rate(seine_kafka_sent_records_total[$__rate_interval]))",
                    "acknowledged items": 'sum(rate(seine_items_total{fate="acknowledged"}[$__rate_interval]))',
                },
                "Sent ones are of all topics, repeats too.",
                unit="cps",
                width=2,
            ),
        ),
        row(
            "Back-pressure",
            lines("Records that wait", _QUEUE, "In librdkafka's queues, and without a report.", stacked=False),
            lines(
                "Bytes that wait",
                {"in the sink": "sum(seine_sink_bytes)", "in librdkafka": "sum(seine_kafka_queue_bytes)"},
                "What SINK_HIGH_WATER_BYTES limits in each worker.",
                unit="bytes",
            ),
            lines(
                "Sink",
                {
                    "share of workers that pause": "avg(seine_sink_full)",
                    "fullest, in records": "max(seine_sink_records)",
                },
                "1: all pause. Beside it the records of the fullest worker (SINK_HIGH_WATER_RECORDS).",
            ),
            lines(
                "Sent again",
                {
                    "{{error}}": "sum by (error) (rate(seine_delivery_retries_total[$__rate_interval]))",
                    "producers replaced": "sum(rate(seine_producer_rebuilds_total[$__rate_interval]))",
                },
                "By error.",
                unit="cps",
            ),
        ),
        row(
            "Kafka, as workers see it",
            lines(
                "Round trip",
                {"p{{quantile}}": "max by (quantile) (seine_kafka_round_trip_seconds)"},
                "Of the slowest worker's slowest broker.",
                unit="s",
            ),
            lines(
                "Errors",
                {"{{kind}}": "sum by (kind) (rate(seine_kafka_errors_total[$__rate_interval]))"},
                "Of requests to brokers.",
                unit="cps",
            ),
            lines(
                "Bytes",
                {"sent": "sum(rate(seine_kafka_sent_bytes_total[$__rate_interval]))"},
                "To brokers, compressed.",
                unit="Bps",
            ),
        ),
        row(
            "Kafka itself",
            number(
                "Under-replicated",
                "max(seine_kafka_under_replicated_partitions)"
                " or sum(kafka_server_replicamanager_underreplicatedpartitions)",
                "Partitions with fewer replicas in sync than they have.",
                bad=1,
            ),
            number(
                "Without a leader",
                "max(seine_kafka_offline_partitions) or max(kafka_controller_kafkacontroller_offlinepartitionscount)",
                "Partitions that take and give nothing.",
                bad=1,
            ),
            lines(
                "Records in",
                {
                    "{{topic}}": "sum by (topic) (rate(kafka_server_brokertopicmetrics_messagesinpersec_total"
                    '{topic!=""}[$__rate_interval]))'
                },
                "By topic, of all brokers.",
                unit="cps",
                width=2,
            ),
            lines(
                "Slowest requests",
                {"{{request}} p99": "max by (request) (kafka_network_request_total_time_ms_99thpercentile)"},
                "Within the brokers.",
                unit="ms",
                width=2,
            ),
            lines(
                "Idle request handlers",
                {"least": "min(kafka_server_request_handler_idle_ratio)"},
                "Of the busiest broker: below 0.3 it has too much to do.",
                unit="percentunit",
                width=2,
            ),
        ),
        row(
            "Consumers",
            lines(
                "Behind, in seconds",
                {"{{group}} on {{topic}}": "max by (group, topic) (seine_consumer_lag_seconds)"},
                "Age of the oldest record that the group has not read.",
                unit="s",
                bad=900,
            ),
            lines(
                "Behind, in records",
                {"{{group}} on {{topic}}": "max by (group, topic) (seine_consumer_lag_records)"},
                "Records that it has not read.",
            ),
        ),
        row(
            "Dead letters",
            lines(
                "By stage",
                {"{{stage}}": "sum by (stage) (increase(seine_dead_letters_total[$__rate_interval]))"},
                "As they are written.",
                stacked=True,
            ),
            bars(
                "Of a day",
                {"{{stage}}": "sum by (stage) (increase(seine_dead_letters_total[24h]))"},
                "By stage.",
            ),
            bars(
                "Fields that break their rules",
                {"{{field}}": "topk(10, sum by (field) (increase(seine_invalid_fields_total[24h])))"},
                "Of a day's items.",
            ),
            lines(
                "That wait in the outbox",
                {
                    "letters": "sum(max by (spider) (seine_frontier_letters))",
                    "audit": "sum(increase(seine_audit_rejected_total[1h]))",
                },
                "Letters that Redis holds for a worker to write; audit events that were refused in an hour.",
            ),
        ),
        row(
            "Claim checks",
            number("Store away", "max(seine_claims_away) or vector(0)", "It takes nothing.", bad=1),
            quantiles(
                "Until durable",
                "rate(seine_claim_seconds_bucket[$__rate_interval])",
                "Of a stored page.",
            ),
            lines(
                "Stored",
                {
                    "{{result}}": "sum by (result) (rate(seine_claims_total[$__rate_interval]))",
                    "in flight": "sum(seine_claims_in_flight)",
                },
                "New ones, and those that were there.",
                unit="cps",
            ),
            lines(
                "Bytes",
                {"written": "sum(rate(seine_claim_bytes_total[$__rate_interval]))"},
                "To the store.",
                unit="Bps",
            ),
            lines(
                "Tried again",
                {
                    "{{reason}}": "sum by (reason) (rate(seine_claim_retries_total[$__rate_interval]))",
                    "not stored: cannot be masked": "sum(rate(seine_content_dropped_total[$__rate_interval]))",
                },
                "By reason.",
                unit="cps",
            ),
        ),
        row(
            "Exactly once",
            lines(
                "Transactions",
                {"{{what}}": "sum by (what) (rate(seine_transactions_total[$__rate_interval]))"},
                "Committed, and what became of doubtful ones.",
                unit="cps",
            ),
            quantiles(
                "Begin to commit", "rate(seine_transaction_seconds_bucket[$__rate_interval])", "Of a transaction."
            ),
            quantiles(
                "To open a producer",
                "rate(seine_transaction_open_seconds_bucket[$__rate_interval])",
                "Its init_transactions.",
            ),
        ),
    ),
)
