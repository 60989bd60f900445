"""The client's network address."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from urllib.parse import urlsplit

from flask import has_request_context, request


def client_network() -> str:
    """Return what the limits count as one client: an IPv4 address, or an IPv6 /64.

    An IPv6 host usually has a whole /64 (RFC 4291), so a single address identifies nothing. Clients
    without a known address count as one client, `unknown`.
    """
    address = client_address()
    if isinstance(address, IPv6Address):
        return str(IPv6Network((int(address), 64), strict=False))
    return "unknown" if address is None else str(address)


def client_block() -> str | None:
    """Return the IPv6 /48 of the client, or None for any other client.

    A network is often given a whole /48 (RFC 6177), which has 65,536 times a /64.
    """
    address = client_address()
    if isinstance(address, IPv6Address):
        return str(IPv6Network((int(address), 48), strict=False))
    return None


def client_address() -> IPv4Address | IPv6Address | None:
    """Return the client's address, or None if it is not known, as for an operator's command."""
    return _parse_address((request.remote_addr if has_request_context() else None) or "")


@lru_cache(maxsize=1024)  # behind a proxy the same few addresses come again and again
def _parse_address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(_without_port(text))
    except ValueError:
        return None
    # A socket that accepts both families shows an IPv4 client as ::ffff:192.0.2.1.
    return (isinstance(address, IPv6Address) and address.ipv4_mapped) or address


def _without_port(address: str) -> str:
    """Drop the port that some proxies add in X-Forwarded-For."""
    if address.startswith("[") or address.count(":") == 1:
        return urlsplit(f"//{address}").hostname or ""
    return address
