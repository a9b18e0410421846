"""The addresses that other devices in the network reach this machine by."""

from __future__ import annotations

import ipaddress
from typing import Final

# Networks within this machine: of containers and virtual ones.
_INSIDE: Final = ("docker", "br-", "veth", "virbr", "vmnet", "vboxnet", "cni", "flannel", "podman", "lxc", "lxd")


def network_addresses() -> list[str]:
    """IPv4 addresses, those of private networks first; none where the machine is in no network."""
    import psutil

    up = {name for name, facts in psutil.net_if_stats().items() if facts.isup}
    told = {
        name: [one.address for one in addresses if one.family.name == "AF_INET"]
        for name, addresses in psutil.net_if_addrs().items()
        if name in up
    }
    return reachable(told)


def reachable(addresses: dict[str, list[str]]) -> list[str]:
    """Of all `addresses`, by interface, those that others can mean."""
    found = [
        one
        for name, of_interface in addresses.items()
        if not name.startswith(_INSIDE)
        for one in map(ipaddress.IPv4Address, of_interface)
        if not (one.is_loopback or one.is_link_local or one.is_unspecified)
    ]
    return [str(one) for one in sorted(dict.fromkeys(found), key=lambda one: not one.is_private)]
