"""Rendered pages: how many, how long, at what price; and whether browsers last."""

from deploy.grafana.panels import Board, lines, number, quantiles, row

_PAGES = "rate(seine_browser_pages_total[$__rate_interval])"
_ENDS = "increase(seine_browser_ends_total[$__rate_interval])"

BOARD = Board(
    "Seine / Browser",
    "Rendered pages: how many, how long, at what price; and whether browsers last.",
    (
        row(
            "Pages",
            number(
                "Failing",
                'sum(rate(seine_browser_pages_total{end!~"rendered|drawn"}[15m]))'
                " / sum(rate(seine_browser_pages_total[15m]))",
                "Share of the last quarter of an hour's pages that did not come.",
                unit="percentunit",
                bad=0.3,
            ),
            lines(
                "By end",
                {"{{end}}": f"sum by (end) ({_PAGES})"},
                "Rendered, drawn for a letter, or why not.",
                unit="cps",
                stacked=True,
                width=2,
            ),
            quantiles(
                "Time of a page",
                "rate(seine_browser_seconds_bucket[$__rate_interval])",
                "From its lease to its end.",
                width=2,
            ),
            lines("At work", {"pages": "sum(seine_browser_pages_busy)"}, "Pages that are being rendered.", width=2),
        ),
        row(
            "Browsers",
            lines(
                "Ended, by reason",
                {"{{reason}}": f"sum by (reason) ({_ENDS})"},
                "pages, age and memory are retirement; crashed and unresponsive are not.",
                stacked=True,
            ),
            lines(
                "Started",
                {"{{backend}}": "sum by (backend) (increase(seine_browser_launches_total[$__rate_interval]))"},
                "By backend.",
            ),
            lines(
                "Pages a browser",
                {
                    "all": "sum(increase(seine_browser_pages_total[1h]))"
                    " / (sum(increase(seine_browser_ends_total[1h])) > 0)"
                },
                "Rendered for each browser that ended within an hour: BROWSER_RETIRE_PAGES at best.",
            ),
            lines(
                "Memory",
                {"all": "sum(seine_browser_memory_bytes)", "largest worker": "max(seine_browser_memory_bytes)"},
                "Resident, of all their processes.",
                unit="bytes",
            ),
        ),
        row(
            "Routing",
            lines(
                "Decisions",
                {"{{route}}": "sum by (route) (rate(seine_routes_total[$__rate_interval]))"},
                "By plain HTTP or in a browser; what a check of the other way came to: same, more, failed.",
                unit="cps",
                stacked=True,
            ),
            lines(
                "Share that is rendered",
                {"all": "sum(rate(seine_browser_seconds_count[15m])) / sum(rate(seine_responses_total[15m]))"},
                "A page in a browser costs some hundred times one without.",
                unit="percentunit",
            ),
            lines(
                "Way out",
                {"{{direction}}": "sum by (direction) (rate(seine_browser_bytes_total[$__rate_interval]))"},
                "Bytes through the egress ports.",
                unit="Bps",
            ),
            lines(
                "Refused connections",
                {"all": "sum(rate(seine_browser_refused_total[$__rate_interval]))"},
                "To addresses that pages may not reach.",
                unit="cps",
            ),
        ),
    ),
)
