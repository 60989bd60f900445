"""Whose request it is, before anybody has logged in."""

from __future__ import annotations

from ipaddress import IPv6Address, IPv6Network, ip_address
from urllib.parse import urlsplit

from flask import request


def client_network() -> str:
    """Return what counts as one client: an IPv4 address, or an IPv6 network of 64 bits.

    An IPv6 host has a whole /64 at its disposal (RFC 4291), so that a single address says nothing.
    Clients without an address, or whose proxy doesn't tell it, are one: `unknown`.
    """
    try:
        address = ip_address(_without_port(request.remote_addr or ""))
    except ValueError:
        return "unknown"
    if isinstance(address, IPv6Address):
        # A socket that takes both shows an IPv4 client as ::ffff:192.0.2.1.
        return str(address.ipv4_mapped or IPv6Network((int(address), 64), strict=False))
    return str(address)


def _without_port(address: str) -> str:
    """Drop the port that some proxies put into X-Forwarded-For."""
    if address.startswith("[") or address.count(":") == 1:
        return urlsplit(f"//{address}").hostname or ""
    return address
