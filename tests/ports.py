"""Ports of this machine that nothing listens to."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator

import pytest


@contextlib.contextmanager
def free_ports(count: int) -> Iterator[list[int]]:
    """Several ports of 127.0.0.1; nobody else gets one of them until the block ends.

    Connections to them are refused, until a server of the block listens there, which it can.
    """
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
            # From now on: to find a port with it could give one that somebody else holds so.
            for option in (socket.SO_REUSEADDR, socket.SO_REUSEPORT):
                each.setsockopt(socket.SOL_SOCKET, option, 1)
        yield [each.getsockname()[1] for each in sockets]


def is_open(port: int) -> bool:
    """True when something listens to the port."""
    with socket.socket() as client:
        return client.connect_ex(("localhost", port)) == 0


def has_ipv6() -> bool:
    """Whether this machine has an address of IPv6 to listen on, which containers may lack."""
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="this machine has no ::1")
