"""The good page at the end of a trouble: the domain's first product, as its own address would show it."""

from __future__ import annotations

from aiohttp import web

from deploy.demo_shop.answers import html_answer
from deploy.demo_shop.catalog import ShopProduct
from deploy.demo_shop.pages.product import product_page
from deploy.demo_shop.trouble import Ask


def trouble_product(ask: Ask) -> ShopProduct:
    return ask.domain.products[0]


def product_html(ask: Ask) -> str:
    return product_page(ask.shop, trouble_product(ask))


def product_response(ask: Ask) -> web.Response:
    return html_answer(ask.domain.locale, product_html(ask)).response(ask.request)
