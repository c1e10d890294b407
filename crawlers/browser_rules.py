"""What a browser does with a site's pages: `[browser]` of its TOML, or `meta["browser"]` of a request."""

from __future__ import annotations

import re
from typing import Any, Literal, get_args

import msgspec

When = Literal["never", "always", "auto"]
Blocked = Literal["images", "fonts", "media", "trackers"]
WaitUntil = Literal["commit", "domcontentloaded", "load", "networkidle"]
WHEN, BLOCKED, WAIT_UNTIL = get_args(When), get_args(Blocked), get_args(WaitUntil)
RENDERED = "rendered"
"""The flag of a response that a browser made."""
ROUTE = "browser_route"
"""The meta key of how a page of a site with `when = "auto"` is had: middlewares/routing.py has the words."""
PATTERN = "browser_pattern"
"""The meta key of the pattern of such a page's URL."""
AGAIN = "browser_again"
"""The meta key of a request that renders what HTTP has brought already: the request that was answered by HTTP."""
KINDS = ("wait_for", "click", "fill", "scroll", "consent")


class Action(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """One step; exactly one of its kinds is set."""

    wait_for: str = ""
    """CSS selector of what must be visible before the next step."""
    click: str = ""
    fill: str = ""
    """CSS selector of a field that gets `value`."""
    value: str = ""
    scroll: int = 0
    """Scroll to the end until the page no longer grows, so many times at most."""
    consent: str = ""
    """CSS selector of a button that is clicked where it is there."""

    @property
    def kind(self) -> str:
        """Which of its kinds is set; '' where it is not exactly one."""
        kinds = [kind for kind in KINDS if getattr(self, kind)]
        return kinds[0] if len(kinds) == 1 else ""


class BrowserRules(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """How a page is loaded, and what of it is kept."""

    when: When = "never"
    patterns: tuple[str, ...] = ()
    """Of URLs whose pages are alike, for `auto`: regular expressions, of which the first that is found counts."""
    wait_until: WaitUntil = "load"
    wait_for: str = ""
    """CSS selector of what must be visible until the page counts as loaded."""
    actions: tuple[Action, ...] = ()
    block: tuple[Blocked, ...] = ("images", "fonts", "media", "trackers")
    capture: tuple[str, ...] = ()
    """Regular expressions, searched in the URLs of what scripts fetch; JSON that matches is kept."""
    screenshot: bool = False


def asked_of(meta: dict[str, Any], site_rules: BrowserRules | None) -> Any:
    """What a request asks of a browser, or its site for it: True or a dict of rules; False is plain HTTP."""
    asked = meta.get("browser", meta.get("playwright"))
    if asked is not None or site_rules is None:
        return False if asked is None else asked
    return site_rules.when == "always" or (site_rules.when == "auto" and meta.get(ROUTE) == "browser")


def rules_of(request_rules: Any, site_rules: BrowserRules | None) -> BrowserRules:
    """The site's rules with what `meta["browser"]` says beside them, where that is a dict.

    Raises ValueError that names what is wrong in it.
    """
    rules = site_rules or BrowserRules()
    if not isinstance(request_rules, dict):
        return rules
    try:
        changed = msgspec.convert({**msgspec.to_builtins(rules), **request_rules}, BrowserRules)
    except msgspec.ValidationError as error:
        raise ValueError(f'meta["browser"]: {error}') from None
    if mistakes := list(mistakes_of(changed)):
        raise ValueError(f'meta["browser"]: {mistakes[0][1]}')
    return changed


def mistakes_of(rules: BrowserRules) -> Any:
    """(key, what is wrong) of each thing that types alone do not tell."""
    for action in rules.actions:
        if not action.kind:
            yield "actions", f"an action has {_said(action)}, expected exactly one of {', '.join(KINDS)}"
        if action.value and not action.fill:
            yield "actions", "an action has value without fill"
        if action.scroll < 0:
            yield "actions", f"scroll = {action.scroll}: expected a number of at least 1"
    for key in ("patterns", "capture"):
        for pattern in getattr(rules, key):
            try:
                re.compile(pattern)
            except re.error as error:
                yield key, f"{key}: {pattern!r}: expected a regular expression: {error}"


def _said(action: Action) -> str:
    return " and ".join(kind for kind in KINDS if getattr(action, kind)) or "nothing to do"
