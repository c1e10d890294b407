"""Which addresses may be dialled: the public ones, and those of networks that the operator allows.

What is checked is the address that is going to be dialled, after resolution; a host's name says nothing. The networks
are those of IANA's registries of special-purpose addresses that are not globally reachable.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from unicodedata import normalize
from urllib.parse import unquote

from crawlers.exceptions import UserError

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_SPECIAL_4 = {
    "this host": ("0.0.0.0/8",),
    "private": ("10.0.0.0/8", "100.64.0.0/10", "172.16.0.0/12", "192.168.0.0/16", "198.18.0.0/15"),
    "loopback": ("127.0.0.0/8",),
    "link-local": ("169.254.0.0/16",),
    "reserved": ("192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "198.51.100.0/24", "203.0.113.0/24", "240.0.0.0/4"),
    "multicast": ("224.0.0.0/4",),
    "metadata": ("168.63.129.16/32",),  # a cloud's, though public
}
_SPECIAL_6 = {
    "this host": ("::/128",),
    "loopback": ("::1/128",),
    "private": ("fc00::/7", "fec0::/10"),
    "link-local": ("fe80::/10",),
    "multicast": ("ff00::/8",),
    "reserved": ("2001::/23", "2001:db8::/32", "3fff::/20"),
}
_METADATA = {"169.254.169.254", "169.254.170.2", "100.100.100.200", "192.0.0.192", "fd00:ec2::254"}


def _networks(special: dict[str, tuple[str, ...]]) -> list[tuple[str, Network]]:
    return [(kind, ip_network(text)) for kind, texts in special.items() for text in texts]


_REFUSED = {4: _networks(_SPECIAL_4), 6: _networks(_SPECIAL_6)}
_PUBLIC_6 = IPv6Network("2000::/3")
_MAPPED, _COMPATIBLE = IPv6Network("::ffff:0:0/96"), IPv6Network("::/96")
_TRANSLATED, _SIX_TO_FOUR = IPv6Network("64:ff9b::/96"), IPv6Network("2002::/16")
_LOOPBACK_NAMES = (".localhost", ".localhost.localdomain")
_METADATA_NAMES = (
    ".metadata",
    ".metadata.google.internal",
    ".metadata.goog",
    ".instance-data",
    ".instance-data.ec2.internal",
)
"""Of the clouds' servers of credentials."""
_LOCAL_NAMES = (".local", ".internal", ".home.arpa")


class AddressRules:
    """`allowed`: networks as 10.0.0.0/8 or fd00::/8. UserError where one is not."""

    def __init__(self, allowed: Iterable[str] = (), source: str = "ALLOWED_PRIVATE_NETWORKS"):
        self.allowed = tuple(_read_network(text, source) for text in allowed)

    def refusal(self, address: str) -> str | None:
        """Why `address`, as a resolver gives it, must not be dialled; None where it may be."""
        return _refusal(address, self.allowed)

    def refusal_of_host(self, host: str) -> str | None:
        """The same for a URL's host that spells an address in whatever way; None also for a name."""
        literal = literal_address(host)
        return None if literal is None else self.refusal(str(literal))

    def refusal_of_name(self, host: str) -> str | None:
        """The same for a name that somebody else, as a proxy, is to resolve.

        Loopback's names go by its addresses. Which network another local name leads to cannot be told: they may be
        asked for where any is allowed.
        """
        name = "." + host.rstrip(".").lower()
        if name in _METADATA_NAMES:
            return f"{host} is a metadata name"
        if name.endswith(_LOOPBACK_NAMES) and self.refusal("127.0.0.1") and self.refusal("::1"):
            return f"{host} is a loopback name"
        if name.endswith(_LOCAL_NAMES) and not self.allowed:
            return f"{host} is a local name"
        return self.refusal_of_host(host)


@lru_cache(4096)
def _refusal(text: str, allowed: tuple[Network, ...]) -> str | None:
    try:
        address = embedded(ip_address(text.partition("%")[0]))
    except ValueError:
        return f"{text} is not an address"
    if any(address.version == network.version and address in network for network in allowed):
        return None
    if str(address) in _METADATA:
        return f"{text} is a metadata address"
    for kind, network in _REFUSED[address.version]:
        if address in network:
            return f"{text} is a {kind} address"
    if isinstance(address, IPv6Address) and address not in _PUBLIC_6:
        return f"{text} is not a public address"
    return None


def embedded(address: Address) -> Address:
    """The IPv4 address that an IPv6 one leads to: mapped, compatible, 6to4 or NAT64; else the address itself."""
    if isinstance(address, IPv4Address):
        return address
    number = int(address)
    if address in _MAPPED or address in _TRANSLATED or (address in _COMPATIBLE and number > 1):
        return IPv4Address(number & 0xFFFFFFFF)
    if address in _SIX_TO_FOUR:
        return IPv4Address(number >> 80 & 0xFFFFFFFF)
    return address


@lru_cache(4096)
def literal_address(host: str) -> Address | None:
    """The address that a URL's host spells: dotted, decimal, octal, hexadecimal, shortened, bracketed, with a zone."""
    text = normalize("NFKC", unquote(host)).replace("。", ".").strip("[]").partition("%")[0]
    try:
        return ip_address(text)
    except ValueError:
        pass
    text = text.removesuffix(".")
    if not text[:1].isdigit() or not text.isascii() or not text.replace(".", "").isalnum():
        return None
    try:
        return IPv4Address(socket.inet_aton(text))
    except OSError:
        return None


def _read_network(text: str, source: str) -> Network:
    try:
        return ip_network(text)
    except ValueError as error:
        raise UserError(f"{source}: {text}: expected a network, as 10.0.0.0/8 or fd00::/8: {error}") from None
