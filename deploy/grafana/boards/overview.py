"""The fleet at a glance. Its first row is the conservation of requests."""

from deploy.grafana.panels import Board, bars, lines, number, row

_TERMS = 'sum by (term) (max by (spider, term) (seine_frontier_requests{spider=~"$spider", term=~"%s"}))'
_LEAK = 'sum(max by (spider) (abs(seine_frontier_leak{spider=~"$spider"})))'


def _fleet(metric: str, over: str = "sum") -> str:
    """Of what every process tells of a spider: the maximum, once for each spider."""
    return f'{over}(max by (spider) ({metric}{{spider=~"$spider"}}))'


BOARD = Board(
    "Seine / Overview",
    "Whether everything adds up, how fast it goes, and what is in trouble.",
    (
        row(
            "Conservation of requests: known = accounted, always",
            number("Known", _fleet("seine_frontier_known"), "Seeded and discovered.", unit="locale"),
            number(
                "Accounted",
                _fleet("seine_frontier_accounted"),
                "With an outcome, pending, delayed or leased.",
                unit="locale",
            ),
            number(
                "Leak", _LEAK, "Requests that are known and nowhere. Anything but 0 is an alert.", bad=1, unit="locale"
            ),
            bars(
                "Where they are",
                {"{{term}}": _TERMS % "delivered|expanded|redirected|empty|filtered|dead|pending|delayed|leased"},
                "The terms of the equation's right side; their sum is what is known.",
                unit="locale",
                width=3,
            ),
            bars(
                "Beside it",
                {"{{term}}": _TERMS % "seeded|discovered|duplicates|retried|lost|stale"},
                "Where requests came from, and what is counted beside the equation.",
                unit="locale",
                width=2,
            ),
            height=9,
        ),
        row(
            "Is it healthy?",
            number(
                "Alerts",
                'count(ALERTS{alertname=~"Seine.+", alertstate="firing"}) or vector(0)',
                "That are firing, of any severity.",
                bad=1,
            ),
            number("Crawls running", _fleet("seine_frontier_crawls_running"), "Open, and neither paused nor draining."),
            number("Workers", _fleet("seine_frontier_workers"), "With a heartbeat, in open crawls."),
            number(
                "Oldest request",
                _fleet("seine_frontier_oldest_request_seconds", "max"),
                "Since it was found; it has no outcome.",
                unit="s",
                bad=86400,
            ),
            number(
                "Sink",
                "avg(avg_over_time(seine_sink_full[10m])) or vector(0)",
                "Share of the last ten minutes in which leasing paused, as too much waited for Kafka.",
                unit="percentunit",
                bad=0.5,
            ),
            number(
                "Away",
                "(max(seine_kafka_away) or vector(0)) + (max(seine_frontier_away) or vector(0))"
                " + (max(seine_claims_away) or vector(0))",
                "How many of Kafka, Redis and the claim store take nothing.",
                bad=1,
            ),
            bars(
                "Alerts by name",
                {"{{alertname}}": 'count by (alertname) (ALERTS{alertname=~"Seine.+", alertstate="firing"})'},
                "Their runbooks are in docs/runbooks.",
                bad=1,
                width=2,
            ),
            height=5,
        ),
        row(
            "Throughput",
            lines(
                "Requests by outcome",
                {"{{outcome}}": "sum by (outcome) (rate(seine_requests_total[$__rate_interval]))"},
                "Attempts that ended, of all workers.",
                unit="reqps",
                stacked=True,
            ),
            lines(
                "Items by fate",
                {"{{fate}}": "sum by (fate) (rate(seine_items_total[$__rate_interval]))"},
                "Acknowledged: Kafka has the record.",
                unit="cps",
                stacked=True,
            ),
            lines(
                "What is open",
                {"{{term}}": _TERMS % "pending|delayed|leased"},
                "Requests that wait for their turn, for their moment, or are being worked on.",
                stacked=True,
            ),
        ),
        row(
            "Why requests end otherwise",
            lines(
                "Dead and filtered, by reason",
                {
                    "{{outcome}}: {{reason}}": "topk(10, sum by (outcome, reason) "
                    '(rate(seine_requests_total{outcome=~"dead|filtered"}[$__rate_interval])))'
                },
                "The ten most frequent.",
                unit="reqps",
            ),
            lines(
                "Retried, by reason",
                {
                    "{{reason}}": 'topk(10, sum by (reason) (rate(seine_requests_total{outcome="retried"}'
                    "[$__rate_interval])))"
                },
                "Attempts that will be made again.",
                unit="reqps",
            ),
            lines(
                "Dead letters",
                {"{{stage}}": "sum by (stage) (rate(seine_dead_letters_total[$__rate_interval]))"},
                "As they are written, by stage.",
                unit="cps",
                stacked=True,
            ),
        ),
        row(
            "Processes",
            lines(
                "Event loop lag",
                {"worst": "max(seine_loop_lag_seconds)", "mean": "avg(seine_loop_lag_seconds)"},
                "How late the event loops were at most.",
                unit="s",
                bad=1,
            ),
            lines(
                "CPU",
                {"workers": 'sum(rate(process_cpu_seconds_total{job=~".*worker.*"}[$__rate_interval]))'},
                "Cores that the workers use together.",
            ),
            lines(
                "Memory",
                {
                    "largest worker": 'max(process_resident_memory_bytes{job=~".*worker.*"})',
                    "all workers": 'sum(process_resident_memory_bytes{job=~".*worker.*"})',
                },
                "Resident, without browsers.",
                unit="bytes",
            ),
            lines(
                "Redis",
                {
                    "used, shard {{shard}}": "max by (shard) (seine_redis_memory_bytes)",
                    "maxmemory, shard {{shard}}": "max by (shard) (seine_redis_memory_limit_bytes) > 0",
                },
                "What its servers use, and may.",
                unit="bytes",
            ),
            lines(
                "Versions",
                {"{{version}}": "count by (version) (seine_build_info)"},
                "Processes by version: two of them during a rolling restart.",
                stacked=True,
            ),
        ),
        row(
            "Schedules",
            bars(
                "Since the last success",
                {"{{schedule}}": "time() - max by (schedule) (seine_schedule_last_success_timestamp_seconds)"},
                "Of each schedule.",
                unit="s",
            ),
            bars(
                "Until the next run",
                {"{{schedule}}": "min by (schedule) (seine_schedule_next_run_timestamp_seconds) - time()"},
                "Below 0 it was missed.",
                unit="s",
            ),
            bars(
                "Last exit code",
                {"{{schedule}}": "max by (schedule) (seine_schedule_last_exit_code)"},
                "0 is success, 124 out of time.",
                bad=1,
            ),
            bars(
                "Duration",
                {"{{schedule}}": "max by (schedule) (seine_schedule_duration_seconds)"},
                "Of the last run.",
                unit="s",
            ),
            height=6,
        ),
    ),
    {"spider": "seine_redis_up"},
)
