"""Ports of this machine that nothing listens to."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator


@contextlib.contextmanager
def free_ports(count: int) -> Iterator[list[int]]:
    """Several ports; they are held until the block ends."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("localhost", 0))
        yield [each.getsockname()[1] for each in sockets]


def is_open(port: int) -> bool:
    """True when something listens to the port."""
    with socket.socket() as client:
        return client.connect_ex(("localhost", port)) == 0


def free_port() -> int:
    """One port."""
    with free_ports(1) as (port,):
        return port
