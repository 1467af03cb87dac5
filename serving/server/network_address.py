"""Addresses to listen on, as they are written."""

from __future__ import annotations


def address_of(host: str, port: int) -> str:
    """HOST:PORT; an IPv6 address stands in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
