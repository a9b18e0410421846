"""The addresses that other devices are told."""

from __future__ import annotations

import ipaddress

import pytest

from duck.services.network import network_addresses, reachable


@pytest.mark.parametrize(
    ("told", "found"),
    [
        ({}, []),
        ({"lo": ["127.0.0.1"]}, []),
        ({"lo": ["127.0.0.1"], "wlan0": ["192.168.1.7"]}, ["192.168.1.7"]),
        (
            {"ppp0": ["5.9.1.1"], "eth0": ["10.0.0.2"], "wlan0": ["192.168.1.7"]},
            ["10.0.0.2", "192.168.1.7", "5.9.1.1"],
        ),
        ({"eth0": ["169.254.3.4", "10.0.0.2"], "eth1": ["10.0.0.2"]}, ["10.0.0.2"]),
        ({"docker0": ["172.17.0.1"], "br-12ab": ["172.18.0.1"], "vethx": ["10.1.1.1"]}, []),
        ({"Wi-Fi": ["192.168.0.4"], "eth9": []}, ["192.168.0.4"]),
    ],
)
def test_what_others_can_reach_is_named_private_ones_first(told: dict[str, list[str]], found: list[str]) -> None:
    assert reachable(told) == found


def test_those_of_this_machine_are_addresses_of_a_network() -> None:
    assert all(not ipaddress.ip_address(one).is_loopback for one in network_addresses())
