"""What a page says of its browser: the engine's own name, version and hints, but for its having no window."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from crawlers.identity import Identity

HINTS = """navigator.userAgentData.getHighEntropyValues(
    ["architecture", "bitness", "fullVersionList", "model", "platformVersion", "wow64"])"""
"""Asks an engine for its client hints, as a script of a page of a secure context."""
WIDTH, HEIGHT = 1280, 800
"""Of every page, in CSS pixels."""
_KEPT = ("architecture", "bitness", "mobile", "model", "platform", "platformVersion", "wow64")


@dataclass(frozen=True, slots=True)
class Engine:
    """A running browser's name, and its client hints as CDP takes them."""

    user_agent: str
    hints: dict[str, Any]

    @classmethod
    def of(cls, user_agent: str, hints: dict[str, Any]) -> Engine:
        """From what `navigator.userAgent` and HINTS say."""
        brands = {name: [_shown(brand) for brand in hints[name]] for name in ("brands", "fullVersionList")}
        return cls(user_agent.replace("Headless", ""), {**brands, **{key: hints[key] for key in _KEPT}})

    def override(self, identity: Identity) -> dict[str, Any]:
        """Parameters of Emulation.setUserAgentOverride: an identity's own name goes without an engine's hints."""
        parameters: dict[str, Any] = {"userAgent": identity.user_agent or self.user_agent}
        if identity.accept_language:
            parameters["acceptLanguage"] = identity.accept_language
        if parameters["userAgent"] == self.user_agent:
            parameters["userAgentMetadata"] = self.hints
        return parameters


def _shown(brand: dict[str, str]) -> dict[str, str]:
    return {**brand, "brand": brand["brand"].replace("HeadlessChrome", "Chromium")}
