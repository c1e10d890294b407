"""Microdata and RDFa Lite: both decorate the body's own elements, so one template serves them and the bare page."""

from __future__ import annotations

from html import escape


class Bare:
    """No markup: every decoration is empty."""

    def scope(self, kind: str, prop: str = "") -> str:
        """Attributes of an element that holds a thing of this kind (as the property of the one around it)."""
        return ""

    def prop(self, name: str) -> str:
        """Attributes of an element whose text (or src, href) is the property's value."""
        return ""

    def value(self, name: str, machine: str) -> str:
        """Attributes of an element that shows the value in another form than machines read."""
        return ""

    def meta(self, name: str, content: str) -> str:
        """An element that nobody sees."""
        return ""

    def link(self, name: str, href: str) -> str:
        return ""


class Microdata(Bare):
    def scope(self, kind: str, prop: str = "") -> str:
        return f'{self.prop(prop) if prop else ""} itemscope itemtype="https://schema.org/{kind}"'

    def prop(self, name: str) -> str:
        return f' itemprop="{name}"'

    def value(self, name: str, machine: str) -> str:
        return f' itemprop="{name}" content="{escape(machine)}"'

    def meta(self, name: str, content: str) -> str:
        return f'<meta itemprop="{name}" content="{escape(content)}">'

    def link(self, name: str, href: str) -> str:
        return f'<link itemprop="{name}" href="{escape(href)}">'


class RdfaLite(Bare):
    def scope(self, kind: str, prop: str = "") -> str:
        return f'{self.prop(prop)} typeof="{kind}"' if prop else f' vocab="https://schema.org/" typeof="{kind}"'

    def prop(self, name: str) -> str:
        return f' property="{name}"'

    def value(self, name: str, machine: str) -> str:
        return f' property="{name}" content="{escape(machine)}"'

    def meta(self, name: str, content: str) -> str:
        return f'<meta property="{name}" content="{escape(content)}">'

    def link(self, name: str, href: str) -> str:
        return f'<link property="{name}" href="{escape(href)}">'


def attributes_for(markup: str) -> Bare:
    return {"microdata": Microdata, "rdfa": RdfaLite}.get(markup, Bare)()
