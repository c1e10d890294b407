"""Sections that need a browser: /js/ pages are shells that a script fills, /scroll/ pages load more as one scrolls."""

from __future__ import annotations

import json
from html import escape

from deploy.demo_shop.catalog import SCROLL_FIRST, DomainCatalog, ShopProduct
from deploy.demo_shop.locales import Category
from deploy.demo_shop.markup.json_ld import json_ld_scripts
from deploy.demo_shop.pages.cards import cards
from deploy.demo_shop.pages.layout import page
from deploy.demo_shop.pages.product import product_body
from deploy.demo_shop.shop import Shop

SCROLL_STEP = 8

# Scripts set by innerHTML do not run, but data blocks are found in the document all the same.
_FILL = """<script>
fetch("%s").then(r => r.json()).then(data => {
  document.title = data.title;
  document.getElementById("app").innerHTML = data.html;
  document.head.insertAdjacentHTML("beforeend", data.head);
  document.body.dataset.ready = "1";
});
</script>"""

_MORE = """<script>
let offset = %d, busy = false, done = false;
const end = document.getElementById("end");
async function more() {
  if (busy || done) return;
  busy = true;
  const data = await (await fetch("%s?offset=" + offset)).json();
  document.getElementById("list").insertAdjacentHTML("beforeend", data.html);
  offset = data.next;
  busy = false;
  if (offset === null) { done = true; end.remove(); document.body.dataset.ready = "1"; }
}
new IntersectionObserver(seen => { if (seen[0].isIntersecting) more(); }).observe(end);
addEventListener("scroll", () => { if (innerHeight + scrollY > document.body.scrollHeight - 300) more(); });
</script>"""


def js_shell(domain: DomainCatalog, data_path: str) -> str:
    """What plain HTTP gets of any /js/ page: no name, no price, no links to products."""
    ui = domain.locale.ui
    content = f'<div id="app"><p class="note">{escape(ui["loading"])}</p></div>\n{_FILL % data_path}'
    return page(domain.locale, title=ui["loading"], content=content)


def js_product_data(shop: Shop, product: ShopProduct) -> str:
    head = f'<link rel="canonical" href="{shop.url(product)}">{json_ld_scripts(shop, product)}'
    return json.dumps({"title": product.name, "html": product_body(shop, product), "head": head})


def js_category_data(shop: Shop, domain: DomainCatalog, category: Category) -> str:
    listed = cards(shop, domain.sold(domain.by_category[category.slug]))
    html = f'<h1>{escape(category.name)}</h1><div class="grid">{listed}</div>'
    return json.dumps({"title": category.name, "html": html, "head": ""})


def scroll_page(shop: Shop, domain: DomainCatalog, category: Category) -> str:
    first = cards(shop, domain.sold(domain.by_category[category.slug])[:SCROLL_FIRST])
    script = _MORE % (SCROLL_FIRST, scroll_data_path(category))
    content = (
        f'<h1>{escape(category.name)}</h1>\n<div class="grid" id="list">{first}</div>\n'
        f'<p id="end" class="note">{escape(domain.locale.ui["loading"])}</p>\n{script}'
    )
    return page(domain.locale, title=category.name, content=content)


def scroll_data(shop: Shop, domain: DomainCatalog, category: Category, offset: int) -> str:
    products = domain.sold(domain.by_category[category.slug])
    following = offset + SCROLL_STEP
    shown = cards(shop, products[offset:following])
    return json.dumps({"html": shown, "next": following if following < len(products) else None})


def scroll_data_path(category: Category) -> str:
    return f"/scroll/api/{category.slug}"


def js_data_path(category: Category) -> str:
    return f"/js/api/{category.slug}"


def js_product_data_path(product: ShopProduct) -> str:
    return f"/js/api/{product.category.slug}/{product.sku}"
