"""What shops show to those they take for robots, and pages that are hard on browsers."""

from __future__ import annotations

from aiohttp import web

from deploy.demo_shop.trouble import Ask, Handler, Trouble
from deploy.demo_shop.trouble.product import trouble_product

_HTML = {"Content-Type": "text/html; charset=utf-8"}

_CAPTCHA = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Are you a robot?</title></head><body>
<h1>Please confirm that you are human</h1><p>We noticed unusual traffic from your network.</p>
<form id="challenge-form" action="/trouble/captcha" method="post"><div class="g-recaptcha" data-sitekey="demo"></div>
<p>Type the letters: <img src="/trouble/png" alt="captcha"> <input name="captcha"></p><button>Continue</button></form>
</body></html>
"""

_BLOCKED = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Access denied</title></head><body><h1>Access denied</h1>
<p>Our systems have detected automated requests from your address. Your access has been temporarily blocked.</p>
<p>Reference: 0.5f3c1a2b.demo</p></body></html>
"""


async def captcha(ask: Ask) -> web.StreamResponse:
    return web.Response(body=_CAPTCHA.encode(), status=ask.whole("status", 403), headers=_HTML)


async def soft_ban(ask: Ask) -> web.StreamResponse:
    return web.Response(body=_BLOCKED.encode(), headers=_HTML)


async def script_redirect(ask: Ask) -> web.StreamResponse:
    return _script(f"location.replace({trouble_product(ask).path!r});")


def _scripted(script: str) -> Handler:
    async def handler(ask: Ask) -> web.StreamResponse:
        return _script(script)

    return handler


def _script(script: str) -> web.Response:
    html = f'<!doctype html><meta charset="utf-8"><title>Script</title><p>Hello</p><script>{script}</script>'
    return web.Response(body=html.encode(), headers=_HTML)


_MEMORY = "const kept = []; setInterval(() => kept.push(new Uint8Array(64 * 1024 * 1024).fill(1)), 20);"
_POPUPS = "for (let i = 0; i < 100; i++) window.open('/about?popup=' + i);"
_DIALOG = "alert('Stay a while'); confirm('Really?'); document.body.append('after the dialogs');"
_LATER = "addEventListener('load', () => setTimeout(() => { while (true); }, 50));"

WALLS = {
    "captcha": Trouble(captcha, "a CAPTCHA page with status=403"),
    "soft-ban": Trouble(soft_ban, "200 with a block page"),
    "js-redirect": Trouble(script_redirect, "a script that goes to a product"),
    "js-loop": Trouble(_scripted("while (true);"), "a script that never ends"),
    "js-late-loop": Trouble(_scripted(_LATER), "a script that never ends, after the page has loaded"),
    "js-memory": Trouble(_scripted(_MEMORY), "a script that eats 64 MiB at a time"),
    "js-popups": Trouble(_scripted(_POPUPS), "a script that opens 100 windows"),
    "js-dialog": Trouble(_scripted(_DIALOG), "a script that opens dialogs"),
}
