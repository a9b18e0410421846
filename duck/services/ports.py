"""Who holds a port, for the sentence on an address that cannot be bound."""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass

import psutil


@dataclass(frozen=True)
class Holder:
    """A listening socket of somebody; `pid` is None where the system does not tell it to this user."""

    address: str
    pid: int | None = None
    name: str = ""
    command: str = ""


def holder_of(host: str, port: int) -> Holder | None:
    """Who listens on TCP `port` so that binding `host` fails, as far as this user may know."""
    try:
        connections = psutil.net_connections(kind="tcp")
    except (psutil.Error, OSError):
        return None
    found: Holder | None = None
    for connection in connections:
        if connection.status != psutil.CONN_LISTEN or not connection.laddr or connection.laddr.port != port:
            continue
        if not _overlap(host, connection.laddr.ip):
            continue
        holder = _describe(connection.laddr.ip, connection.pid)
        if holder.pid is not None:
            return holder
        found = found or holder
    return found


def who_holds(host: str, port: int) -> str:
    """The end of a sentence on a busy port, for `net.listener.open_listeners`: ` by NAME (process id PID)`, or ``."""
    holder = holder_of(host, port)
    if holder is None or holder.pid is None:
        return ""
    return f" by {holder.name} (process id {holder.pid})"


def _describe(address: str, pid: int | None) -> Holder:
    if pid is None:
        return Holder(address)
    try:
        process = psutil.Process(pid)
        return Holder(address, pid, process.name(), " ".join(process.cmdline()))
    except psutil.Error:
        return Holder(address, pid, "a process")


def _overlap(host: str, held: str) -> bool:
    """Whether a bind of `host` meets a listener on `held`; a wildcard meets all."""
    try:
        held_address = ipaddress.ip_address(held)
    except ValueError:
        return True
    if held_address.is_unspecified:
        return True
    for address in _addresses(host):
        if address.is_unspecified or address == held_address:
            return True
    return False


def _addresses(host: str) -> list[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    if not host:
        return [ipaddress.ip_address("0.0.0.0")]
    try:
        return [ipaddress.ip_address(host)]
    except ValueError:
        pass
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError:
        return []
    return [ipaddress.ip_address(str(entry[4][0]).partition("%")[0]) for entry in found]
