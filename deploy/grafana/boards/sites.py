"""What each site brings: requests, products, freshness, changes, and what monitors say of its last crawl."""

from deploy.grafana.panels import Board, bars, lines, number, row

_SITE = '{site=~"$site"}'


def _judged(metric: str, labels: str = "site") -> str:
    """Of what every process tells of a site's last crawl."""
    return f"max by ({labels}) ({metric}{_SITE})"


BOARD = Board(
    "Seine / Sites",
    "What each site brings, how fresh it is, and what its monitors say.",
    (
        row(
            "In trouble",
            number(
                "Monitors that failed",
                f"count({_judged('seine_monitor_failed', 'site, monitor')} == 2) or vector(0)",
                "Of the sites' last crawls.",
                bad=1,
            ),
            number(
                "Warnings",
                f"count({_judged('seine_monitor_failed', 'site, monitor')} == 1) or vector(0)",
                "Of the sites' last crawls.",
            ),
            number(
                "Stale sites",
                f"count(time() - site:seine_last_product_timestamp_seconds:max{_SITE} > 129600) or vector(0)",
                "Without a product for a day and a half.",
                bad=1,
            ),
            bars(
                "Longest without a product",
                {"{{site}}": f"topk(10, time() - site:seine_last_product_timestamp_seconds:max{_SITE})"},
                "Age of the last one.",
                unit="s",
                bad=129600,
                width=2,
            ),
            bars(
                "Monitors by site",
                {"{{site}}: {{monitor}}": f"{_judged('seine_monitor_failed', 'site, monitor')} > 0"},
                "1 is a warning, 2 an error; `scrapy frontier monitors SITE` says why.",
                bad=2,
                width=2,
            ),
        ),
        row(
            "This crawl",
            lines(
                "Requests",
                {"{{site}}": f"topk(10, sum by (site) (rate(seine_site_requests_total{_SITE}[$__rate_interval])))"},
                "The ten busiest.",
                unit="reqps",
                stacked=True,
            ),
            lines(
                "By outcome",
                {"{{outcome}}": f"sum by (outcome) (rate(seine_site_requests_total{_SITE}[$__rate_interval]))"},
                "Of the chosen sites.",
                unit="reqps",
                stacked=True,
            ),
            lines(
                "Products",
                {
                    "{{site}}": "topk(10, sum by (site) (rate(seine_site_items_total"
                    '{site=~"$site", fate=~"acknowledged|passed|buffered|unchanged"}[$__rate_interval])))'
                },
                "Acknowledged or unchanged.",
                unit="cps",
                stacked=True,
            ),
            lines(
                "Items lost",
                {
                    "{{site}} {{fate}}": "topk(10, sum by (site, fate) (rate(seine_site_items_total"
                    '{site=~"$site", fate=~"dropped|dead"}[$__rate_interval])))'
                },
                "Dropped or dead.",
                unit="cps",
            ),
        ),
        row(
            "Changes",
            lines(
                "With EMIT=changes",
                {"{{change}}": f"sum by (change) (increase(seine_site_changes_total{_SITE}[1h]))"},
                "Products of an hour: new, changed, unchanged, gone.",
                stacked=True,
            ),
            lines(
                "Walls",
                {"{{site}}": f"topk(10, sum by (site) (rate(seine_site_bans_total{_SITE}[$__rate_interval])))"},
                "Instead of the site's pages.",
                unit="reqps",
            ),
        ),
        row(
            "Last crawls, as monitors judged them",
            lines("Products", {"{{site}}": f"topk(10, {_judged('seine_site_products')})"}, "That the last crawl saw."),
            bars(
                "Least covered fields",
                {"{{site}} {{field}}": f"bottomk(10, {_judged('seine_site_field_coverage', 'site, field')})"},
                "Share of a site's products that have the field.",
                unit="percentunit",
            ),
            lines(
                "Error rate",
                {"{{site}}": f"topk(10, {_judged('seine_site_error_rate')})"},
                "Share of requests that died or met a wall.",
                unit="percentunit",
            ),
            lines(
                "Alarms",
                {
                    "{{monitor}} {{level}}": "sum by (monitor, level) "
                    f"(increase(seine_monitor_failures_total{_SITE}[1h]))",
                    "webhooks {{result}}": "sum by (result) (increase(seine_monitor_webhooks_total[1h]))",
                },
                "Of an hour: monitors that failed, and posts of them.",
            ),
            bars(
                "Judged",
                {"{{site}}": f"topk(10, time() - {_judged('seine_site_judged_timestamp_seconds')})"},
                "How long ago a crawl of the site was complete.",
                unit="s",
            ),
        ),
    ),
    {"site": "seine_site_requests_total"},
)
