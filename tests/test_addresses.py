"""Which addresses may be dialled, in every spelling."""

from __future__ import annotations

import pytest

from crawlers.exceptions import UserError
from crawlers.fetching.addresses import AddressRules, literal_address

RULES = AddressRules()


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0",
        "10.1.2.3",
        "100.64.0.1",
        "100.100.100.200",
        "127.0.0.1",
        "127.255.255.254",
        "168.63.129.16",
        "169.254.169.254",
        "172.16.0.1",
        "172.31.255.255",
        "192.0.0.192",
        "192.168.1.1",
        "198.18.0.1",
        "224.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::7f00:1",
        "::ffff:127.0.0.1",
        "::ffff:a9fe:a9fe",
        "::ffff:0:127.0.0.1",
        "64:ff9b::10.0.0.1",
        "64:ff9b:1::1",
        "2001::1",
        "2001:db8::1",
        "2002:7f00:1::1",
        "2002:c0a8:101::",
        "fc00::1",
        "fd00:ec2::254",
        "fe80::1",
        "fe80::1%eth0",
        "fec0::1",
        "ff02::1",
        "100::1",
        "4000::1",
        "no address",
    ],
)
def test_what_is_not_public_is_refused(address: str) -> None:
    assert RULES.refusal(address)


@pytest.mark.parametrize(
    "address",
    [
        "1.1.1.1",
        "93.184.216.34",
        "172.15.255.255",
        "172.32.0.1",
        "100.128.0.1",
        "2606:4700::1111",
        "2a00:1450::1",
        "::ffff:1.1.1.1",
        "64:ff9b::1.1.1.1",
        "2002:101:101::1",
    ],
)
def test_what_is_public_may_be_dialled(address: str) -> None:
    assert RULES.refusal(address) is None


def test_an_allowed_network_is_let_through_in_all_spellings_and_nothing_beside_it() -> None:
    rules = AddressRules(["127.0.0.0/30", "fd12::/16"])
    for address in ("127.0.0.1", "::ffff:127.0.0.2", "2002:7f00:1::1", "fd12::9"):
        assert rules.refusal(address) is None, address
    for address in ("127.0.0.4", "::1", "fd13::9", "10.0.0.1"):
        assert rules.refusal(address), address


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.1",
        "127.0.1",
        "2130706433",
        "017700000001",
        "0177.0.0.1",
        "0x7f.0.0.1",
        "0x7f000001",
        "0X7F.1",
        "127.0.0.1.",
        "１２７.0.0.1",
        "127。0。0。1",
        "%31%32%37.0.0.1",
        "::ffff:127.0.0.1",
        "[::1]",
        "::1%25lo",
        "0",
        "[2002:7f00:1::]",
    ],
)
def test_a_host_that_spells_a_private_address_is_seen_through(host: str) -> None:
    assert RULES.refusal_of_host(host)


@pytest.mark.parametrize(
    "host", ["shop.example", "1and1.example", "0xcafe.example", "123.example", "4294967296.x", "a", ""]
)
def test_a_name_is_no_address(host: str) -> None:
    assert literal_address(host) is None


def test_local_names_are_refused_where_a_proxy_would_resolve_them() -> None:
    for name in ("localhost", "a.localhost.", "metadata.google.internal", "printer.local", "127.1"):
        assert RULES.refusal_of_name(name), name
    assert RULES.refusal_of_name("shop.example") is None
    with_a_network = AddressRules(["10.0.0.0/8"])
    assert with_a_network.refusal_of_name("shop.internal") is None
    for name in ("localhost", "LOCALHOST.", "a.localhost", "metadata.google.internal", "Metadata.", "127.0.0.1"):
        assert with_a_network.refusal_of_name(name), name
    for network in ("127.0.0.0/8", "::1/128"):
        with_loopback = AddressRules([network])
        assert with_loopback.refusal_of_name("localhost") is None
        assert with_loopback.refusal_of_name("metadata.google.internal")


@pytest.mark.parametrize("text", ["10.0.0.1/8", "lan", "10.0.0.0/40"])
def test_a_network_that_is_none_is_one_clear_line(text: str) -> None:
    with pytest.raises(UserError, match=f"ALLOWED_PRIVATE_NETWORKS: {text}: expected a network"):
        AddressRules([text])
