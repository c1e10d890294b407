"""The way to the pages: time, statuses, walls, proxies, identities, domains, politeness."""

from deploy.grafana.panels import Board, lines, number, quantiles, row

_DOMAINS = "sum by (domain) (rate(seine_domain_requests_total[$__rate_interval]))"
_CIRCUITS = 'sum by (state) (max by (spider, state) (seine_frontier_circuits{spider=~"$spider"}))'


def _fleet(metric: str) -> str:
    return f'max by (spider) ({metric}{{spider=~"$spider"}})'


BOARD = Board(
    "Seine / Fetching",
    "Where a request's time goes, and what the web answers.",
    (
        row(
            "Latency by phase",
            quantiles(
                "On the network",
                'phase_le:seine_phase_seconds_bucket:rate5m{phase=~"connect|first_byte|download"}',
                "Connecting, waiting for the first byte, and the rest of the answer.",
                by="phase",
            ),
            quantiles(
                "In the worker",
                'phase_le:seine_phase_seconds_bucket:rate5m{phase=~"queue|callback|delivery"}',
                "Waiting for politeness and a place, reading the page, awaiting Kafka.",
                by="phase",
            ),
            quantiles(
                "In the frontier",
                'phase_le:seine_phase_seconds_bucket:rate5m{phase="frontier"}',
                "From found until leased: as long as the queue is.",
            ),
        ),
        row(
            "Answers",
            lines(
                "Statuses",
                {"{{status}}": "topk(10, sum by (status) (rate(seine_responses_total[$__rate_interval])))"},
                "The ten most frequent.",
                unit="reqps",
                stacked=True,
            ),
            lines(
                "Bytes",
                {"bodies": "sum(rate(seine_response_bytes_total[$__rate_interval]))"},
                "Decompressed.",
                unit="Bps",
            ),
            lines(
                "Requests by domain",
                {"{{domain}}": f"topk(10, {_DOMAINS})"},
                "The ten busiest; `other` is the sum of those that no worker tells apart.",
                unit="reqps",
                stacked=True,
            ),
            lines(
                "Slowest domains",
                {
                    "{{domain}}": "topk(10, sum by (domain) (rate(seine_domain_latency_seconds_total"
                    f"[$__rate_interval])) / ({_DOMAINS} > 0))"
                },
                "Mean time to the first byte, of the busiest.",
                unit="s",
            ),
        ),
        row(
            "Walls",
            lines(
                "By kind and vendor",
                {"{{kind}} {{vendor}}": "sum by (kind, vendor) (rate(seine_bans_total[$__rate_interval]))"},
                "Attempts that met a wall instead of a page.",
                unit="reqps",
                stacked=True,
            ),
            lines(
                "Share by site",
                {
                    "{{site}}": "topk(10, sum by (site) (rate(seine_site_bans_total[15m]))"
                    " / sum by (site) (rate(seine_site_requests_total[15m])))"
                },
                "Of the attempts of a quarter of an hour.",
                unit="percentunit",
                bad=0.1,
            ),
            lines(
                "robots.txt",
                {"{{result}}": "sum by (result) (increase(seine_robots_total[$__rate_interval]))"},
                "Files that were asked for.",
            ),
        ),
        row(
            "Politeness",
            number(
                "Slowed domains",
                f"sum({_fleet('seine_frontier_domains_slowed')})",
                "Asked more slowly, after a 429, a 503 or slow answers.",
            ),
            lines("Circuits", {"{{state}}": _CIRCUITS}, "Domains by the state of their circuit.", stacked=True),
            lines(
                "Due, and not asked",
                {"{{spider}}": _fleet("seine_frontier_longest_due_seconds")},
                "How long some domain could have been asked: above a minute there are too few workers.",
                unit="s",
            ),
            lines(
                "Domains",
                {
                    "that wait": f"sum({_fleet('seine_frontier_domains_waiting')})",
                    "requests on their way": f"sum({_fleet('seine_frontier_in_flight')})",
                },
                "Domains with pending requests, and downloads of the fleet.",
            ),
            lines(
                "Leases",
                {
                    "held": "sum(seine_leases_held)",
                    "not started": "sum(seine_leases_waiting)",
                    "downloading": "sum(seine_requests_active)",
                },
                "Of all workers.",
            ),
        ),
        row(
            "Leases that went astray",
            lines(
                "Lost and refused",
                {
                    "lost to another worker": "sum(rate(seine_leases_lost_total[$__rate_interval]))",
                    "settlements refused": "sum(rate(seine_leases_stale_total[$__rate_interval]))",
                },
                "After a worker stopped and woke, or Redis went back.",
                unit="cps",
            ),
            lines(
                "Links, as Redis took them",
                {"{{taken}}": "sum by (taken) (rate(seine_frontier_enqueued_total[$__rate_interval]))"},
                "New, known, or over a page limit.",
                unit="cps",
                stacked=True,
            ),
        ),
        row(
            "Proxies and identities",
            lines(
                "Proxies: share that came through",
                {
                    "{{tier}}": 'sum by (tier) (rate(seine_proxy_requests_total{result="ok"}[$__rate_interval]))'
                    " / sum by (tier) (rate(seine_proxy_requests_total[$__rate_interval]))"
                },
                "Neither failed nor banned.",
                unit="percentunit",
            ),
            lines(
                "Through proxies",
                {"{{tier}}": "sum by (tier) (rate(seine_proxy_bytes_total[$__rate_interval]))"},
                "Received, by tier: what a provider bills.",
                unit="Bps",
                stacked=True,
            ),
            lines(
                "Proxies by state",
                {"{{state}}": "avg by (state) (seine_proxies)"},
                "As a worker sees them: cooling at some domain, or usable everywhere.",
                stacked=True,
            ),
            lines(
                "Identities",
                {
                    "live": "sum(seine_identities_live)",
                    "{{what}} an hour": "sum by (what) (increase(seine_identities_total[1h]))",
                },
                "Browser-like ones, and what became of them.",
            ),
        ),
    ),
    {"spider": "seine_redis_up"},
)
