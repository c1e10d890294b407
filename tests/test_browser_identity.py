"""What a browser says of itself, and what it lets slip: name, version and hints agree, and no packet goes around the
egress."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from browser_pool import chromium
from browser_pool.backend import Backend
from crawlers.identity import Identity
from tests.browsers import BACKENDS, BOT, pool_of, run, short_folder, task
from tests.servers.web import Page, Visit, WebServer

OWN = Identity("own", is_browser_like=True, accept_language="de-CH,de")
ASKING = """<body><script src=/part.js></script><iframe src=/frame></iframe><script>
const asked = ['fullVersionList', 'platformVersion', 'architecture'];
navigator.userAgentData.getHighEntropyValues(asked).then(async hints => {
    await fetch('/api');
    const {userAgent, languages, webdriver} = navigator, said = {userAgent, languages, webdriver, hints};
    document.body.insertAdjacentHTML('beforeend', '<pre id=said>' + JSON.stringify(said) + '</pre>');
});
</script>"""
GATHERING = """<body><script>
const peer = new RTCPeerConnection({iceServers: [{urls: 'stun:127.0.0.1:%d'}]});
peer.onicecandidate = event => {
    const said = event.candidate ? event.candidate.candidate : '';
    document.body.insertAdjacentHTML('beforeend', '<pre id=said>' + JSON.stringify(said) + '</pre>');
    peer.onicecandidate = null;
};
peer.createDataChannel('any');
peer.createOffer().then(offer => peer.setLocalDescription(offer));
</script>"""
FRAMED = """<body><script>
(async () => {
    const registered = navigator.serviceWorker.register('/service.js').catch(() => {});
    await Promise.race([registered, new Promise(done => setTimeout(done, 300))]);
    try { new SharedWorker('/shared.js'); } catch {}
    new Worker('/worker.js').onmessage = () => fetch('/by-script').then(() => parent.postMessage('done', '*'));
})();
</script>"""
FRAMING = """<body><iframe src=%s></iframe><iframe src=%s sandbox=allow-scripts></iframe><script>
addEventListener('message', () => document.body.insertAdjacentHTML('beforeend', '<pre id=said>0</pre>'));
</script>"""
SPECULATING = """<body><script type=speculationrules>{
    "prefetch": [{"urls": ["/prefetched"], "eagerness": "immediate"}],
    "prerender": [{"urls": ["/prerendered"], "eagerness": "immediate"}]
}</script><script>
const say = () => {
    const sizes = [innerWidth, outerWidth, screen.width, innerHeight, outerHeight, screen.height];
    if (!outerWidth) setTimeout(say, 50);  // Chromium tells a page of its window's frame in its own time
    else document.body.insertAdjacentHTML('beforeend', `<pre id=said>${JSON.stringify(sizes)}</pre>`);
};
setTimeout(say, 500);
</script>"""
Web = Callable[..., WebServer]


@pytest.fixture(params=BACKENDS, ids=lambda backend: backend.name)
def backend(request: pytest.FixtureRequest) -> Backend:
    made: Backend = request.param()
    return made


@pytest.fixture
def stun() -> Iterator[socket.socket]:
    """Where a browser would send UDP packets, if it sent any."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listening:
        listening.bind(("127.0.0.1", 0))
        listening.setblocking(False)
        yield listening


def said(backend: Backend, url: str, identity: Identity) -> Any:
    """What the page at `url` wrote, as `identity`."""

    async def render() -> bytes:
        with short_folder() as folder:
            async with pool_of(backend, folder) as pool:
                return (await pool.render(task(url, wait_for="#said"), identity)).body

    found = re.search(rb"<pre id=\"said\">(.*)</pre>", run(render()))
    assert found is not None
    return json.loads(found[1])


def engine_version() -> str:
    """What the installed Chromium is, in four numbers."""
    found = shutil.which("chromium")
    assert found is not None
    text = subprocess.run([found, "--version"], capture_output=True, text=True, check=True).stdout
    match = re.search(r"\d+\.\d+\.\d+\.\d+", text)
    assert match is not None
    return match[0]


def brands(header: str) -> dict[str, str]:
    """Of a Sec-CH-UA header: versions by brand."""
    return dict(re.findall(r'"([^"]+)";v="([^"]+)"', header))


def headers_of(visit: Visit) -> dict[str, str]:
    """By lower-case name."""
    return {name.lower(): value for name, value in visit.headers}


def site_of(web: Web) -> WebServer:
    return web({"/": Page(ASKING), "/part.js": Page(""), "/frame": Page("frame"), "/api": Page("{}")})


def test_name_version_and_hints_are_the_engines_own(backend: Backend, web: Web) -> None:
    """In the headers of the page and all its parts, and to its scripts."""
    site, version = site_of(web), engine_version()
    told = said(backend, site.url + "/", OWN)
    major = version.partition(".")[0]
    assert f"Chrome/{major}." in told["userAgent"]
    assert "Headless" not in json.dumps(told)
    assert not told["webdriver"]
    by_script = {brand["brand"]: brand["version"] for brand in told["hints"]["brands"]}
    in_full = {brand["brand"]: brand["version"] for brand in told["hints"]["fullVersionList"]}
    assert by_script["Chromium"] == major
    assert in_full["Chromium"] == version
    assert {visit.path for visit in site.visits} == {"/", "/part.js", "/frame", "/api"}
    for sent in map(headers_of, site.visits):
        assert sent["user-agent"] == told["userAgent"]
        assert brands(sent["sec-ch-ua"]) == by_script
        assert sent["sec-ch-ua-platform"] == f'"{told["hints"]["platform"]}"'
        assert sent["sec-ch-ua-mobile"] == "?0"
        assert sent["accept-language"] == "de-CH,de;q=0.9"


def test_a_bot_that_says_so_shows_no_browsers_hints(backend: Backend, web: Web) -> None:
    site = site_of(web)
    told = said(backend, site.url + "/", BOT)
    assert told["userAgent"] == BOT.user_agent
    assert not told["hints"].get("brands")
    for sent in map(headers_of, site.visits):
        assert sent["user-agent"] == BOT.user_agent
        assert not sent.get("sec-ch-ua")


@pytest.mark.parametrize("identity", [BOT, OWN], ids=lambda identity: identity.label)
def test_frames_of_other_sites_and_workers_say_the_same(backend: Backend, web: Web, identity: Identity) -> None:
    """Service workers and shared ones, which would not, do not run."""
    script = {"Content-Type": "text/javascript"}
    other = web({
        "/frame": Page(FRAMED),
        "/sandboxed": Page("<script>fetch('/by-sandboxed').catch(() => {})</script>"),
        "/worker.js": Page("fetch('/by-worker').then(() => postMessage('done'))", headers=script),
        "/service.js": Page("fetch('/by-service')", headers=script),
        "/shared.js": Page("fetch('/by-shared')", headers=script),
    }, host="127.0.0.2")  # fmt: skip
    site = web({"/": Page(FRAMING % (f"{other.url}/frame", f"{other.url}/sandboxed"))})
    said(backend, site.url + "/", identity)
    by_path = {visit.path: headers_of(visit) for visit in other.visits}
    assert set(by_path) >= {"/frame", "/worker.js", "/by-worker", "/by-script"}
    assert set(by_path) <= {"/frame", "/worker.js", "/by-worker", "/by-script", "/sandboxed", "/by-sandboxed"}
    page = headers_of(site.visits[0])
    assert {sent["user-agent"] for sent in by_path.values()} == {page["user-agent"]}
    assert {sent.get("sec-ch-ua") for sent in by_path.values()} <= {page.get("sec-ch-ua"), None}
    assert by_path["/by-script"].get("sec-ch-ua") == page.get("sec-ch-ua")
    languages = page["accept-language"]
    assert [
        sent["accept-language"] for sent in by_path.values() if not sent["accept-language"].startswith(languages)
    ] == []


def test_no_page_is_fetched_ahead_and_all_sizes_agree(backend: Backend, web: Web) -> None:
    site = web({"/": Page(SPECULATING), "/prefetched": Page("1"), "/prerendered": Page("2")})
    assert said(backend, site.url + "/", OWN) == [1280] * 3 + [800] * 3
    assert {visit.path for visit in site.visits} == {"/"}


def test_webrtc_tells_no_address_and_sends_no_packet(backend: Backend, web: Web, stun: socket.socket) -> None:
    site = web({"/": Page(GATHERING % stun.getsockname()[1])})
    assert said(backend, site.url + "/", OWN) == ""
    with pytest.raises(BlockingIOError):
        stun.recv(100)


def test_without_its_switches_webrtc_would(web: Web, stun: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that the test above can fail."""
    open_to_all = tuple(switch for switch in chromium._SWITCHES if "webrtc" not in switch)
    monkeypatch.setattr(chromium, "_SWITCHES", open_to_all)
    site = web({"/": Page(GATHERING % stun.getsockname()[1])})
    assert " udp " in said(BACKENDS[0](), site.url + "/", OWN)
    stun.settimeout(10)
    assert stun.recv(100)
