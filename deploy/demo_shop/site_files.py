"""robots.txt, sitemaps, and the site's TOML for Seine."""

from __future__ import annotations

import gzip
from collections.abc import Iterable

from deploy.demo_shop.catalog import DomainCatalog
from deploy.demo_shop.shop import Shop

_HEAD = '<?xml version="1.0" encoding="UTF-8"?>\n'
_NAMESPACE = 'xmlns="http://www.sitemaps.org/schemas/sitemap/0.9"'


def robots_txt(shop: Shop, domain: DomainCatalog) -> str:
    delay = f"Crawl-delay: {domain.locale.crawl_delay:g}\n" if domain.locale.crawl_delay else ""
    return (
        f"User-agent: *\n{delay}Disallow: /private/\nDisallow: /cart\n\n"
        f"User-agent: GreedyBot\nDisallow: /\n\nSitemap: {shop.bases[domain.locale.number]}/sitemap.xml\n"
    )


def sitemap_index(shop: Shop, domain: DomainCatalog) -> bytes:
    base = shop.bases[domain.locale.number]
    entries = "".join(f"<sitemap><loc>{base}{path}</loc></sitemap>\n" for path in SITEMAPS)
    return f"{_HEAD}<sitemapindex {_NAMESPACE}>\n{entries}</sitemapindex>\n".encode()


def _categories(shop: Shop, domain: DomainCatalog) -> bytes:
    base = shop.bases[domain.locale.number]
    return _url_set(f"{base}{category.path}" for category in domain.locale.categories if category.section == "catalog")


def _first_half(shop: Shop, domain: DomainCatalog) -> bytes:
    urls = _product_urls(shop, domain)
    return gzip.compress(_url_set(urls[: len(urls) // 2]), mtime=0)


def _second_half(shop: Shop, domain: DomainCatalog) -> bytes:
    urls = _product_urls(shop, domain)
    return _url_set(urls[len(urls) // 2 :])


SITEMAPS = {
    "/sitemap-categories.xml": _categories,
    "/sitemap-products-1.xml.gz": _first_half,
    "/sitemap-products-2.xml": _second_half,
}


def _product_urls(shop: Shop, domain: DomainCatalog) -> list[str]:
    return [shop.url(product) for product in domain.sold(domain.products) if product.category.section == "catalog"]


def _url_set(urls: Iterable[str]) -> bytes:
    entries = "".join(f"<url><loc>{url}</loc></url>\n" for url in urls)
    return f"{_HEAD}<urlset {_NAMESPACE}>\n{entries}</urlset>\n".encode()


def site_toml(bases: list[str]) -> str:
    """The text of crawlers/sites/demo.toml for these addresses."""
    domains = ", ".join(f'"{base.removeprefix("http://")}"' for base in bases)
    seeds = ", ".join(f'"{base}/"' for base in bases)
    return f"""\
# The demo shop: python -m deploy.demo_shop up
name = "demo"
enabled = true
domains = [{domains}]
private_networks = ["127.0.0.0/8"]
seeds = [{seeds}]
sitemaps = ["{bases[1]}/sitemap.xml"]
identity = "sku"
locale = "en-US"

[product]
allow = ["/p/"]
deny = []

[follow]
allow = ["/c/", "[?&]page="]
deny = ["/trouble/", "/_shop/"]

[limits]
delay = 0.0
concurrency = 16
pages = 5000
depth = 20
"""
