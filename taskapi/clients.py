"""Whose request it is, before anybody has logged in."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from urllib.parse import urlsplit

from flask import request


def client_network() -> str:
    """Return what counts as one client: an IPv4 address, or an IPv6 network of 64 bits.

    An IPv6 host has a whole /64 at its disposal (RFC 4291), so that a single address says nothing.
    Clients without an address, or whose proxy doesn't tell it, are one: `unknown`.
    """
    address = client_address()
    if isinstance(address, IPv6Address):
        return str(IPv6Network((int(address), 64), strict=False))
    return "unknown" if address is None else str(address)


def client_address() -> IPv4Address | IPv6Address | None:
    """Return the client's address, or None if nothing tells it."""
    try:
        address = ip_address(_without_port(request.remote_addr or ""))
    except ValueError:
        return None
    # A socket that takes both shows an IPv4 client as ::ffff:192.0.2.1.
    return (isinstance(address, IPv6Address) and address.ipv4_mapped) or address


def _without_port(address: str) -> str:
    """Drop the port that some proxies put into X-Forwarded-For."""
    if address.startswith("[") or address.count(":") == 1:
        return urlsplit(f"//{address}").hostname or ""
    return address
