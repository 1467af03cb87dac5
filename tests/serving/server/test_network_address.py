from __future__ import annotations

import pytest

from serving.server.rest_port import address_of


@pytest.mark.parametrize(
    ("host", "written"),
    [
        ("127.0.0.1", "127.0.0.1:85"),
        ("localhost", "localhost:85"),
        ("::1", "[::1]:85"),
        ("::", "[::]:85"),
    ],
)
def test_ipv6_addresses_stand_in_brackets(host: str, written: str) -> None:
    assert address_of(host, 85) == written
