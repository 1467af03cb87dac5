from __future__ import annotations

import numpy as np

from serving.client import Connection, RankingClient
from tests.serving.client.answering import USER, Answering, answering


def ask_two_servers(connection: Connection, count: int) -> list[int]:
    """How many requests of one client each of two servers answered."""
    services = [Answering({"score": np.float32([0.5])}) for _ in range(2)]
    with answering(services[0]) as first, answering(services[1]) as second:
        target = f"ipv4:127.0.0.1:{first},127.0.0.1:{second}"
        with RankingClient(target, "m", 30, connection=connection) as client:
            for _ in range(count):
                client.rank(USER, ["x"])
    return [len(service.requests) for service in services]


def test_a_client_stays_with_one_address_unless_it_takes_turns() -> None:
    assert sorted(ask_two_servers(Connection(), 20)) == [0, 20]
    # The second connection may be made a few requests later than the first.
    assert min(ask_two_servers(Connection(round_robin=True), 200)) > 50


def test_keepalive_is_in_milliseconds() -> None:
    without = dict(Connection().options())
    options = dict(Connection(keepalive_seconds=2.5).options())
    assert options["grpc.keepalive_time_ms"] == 2500
    assert options["grpc.keepalive_permit_without_calls"] == 1
    assert not any("keepalive" in name for name in without)
