"""Both clients against servers with certificates made here."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from serving.client import (
    AsyncRankingClient,
    Connection,
    RankingClient,
    RestRankingClient,
    ServerUnavailable,
    Tls,
)
from tests.serving.client.answering import USER, Answering, answering, answering_over_rest
from tests.serving.server.certificates import server_credentials, write_certificates
from tests.waiting import LONGEST_SECONDS, wait_until


@contextlib.contextmanager
def two_servers(connection: Connection) -> Iterator[tuple[RankingClient, Callable[[], list[int]]]]:
    """A client of two servers, and how many requests each of them has answered."""
    services = [Answering({"score": np.float32([0.5])}) for _ in range(2)]
    with answering(services[0]) as first, answering(services[1]) as second:
        target = f"ipv4:127.0.0.1:{first},127.0.0.1:{second}"
        with RankingClient(target, "m", LONGEST_SECONDS, connection=connection) as client:
            yield client, lambda: [len(service.requests) for service in services]


def test_a_client_stays_with_one_address_unless_it_takes_turns() -> None:
    with two_servers(Connection()) as (client, counts):
        for _ in range(20):
            client.rank(USER, ["x"])
        assert sorted(counts()) == [0, 20]
    with two_servers(Connection(round_robin=True)) as (client, counts):

        def both_are_asked() -> bool:
            client.rank(USER, ["x"])
            return min(counts()) > 0

        wait_until(both_are_asked)  # until then one of them may not be connected yet
        before = counts()
        for _ in range(20):
            client.rank(USER, ["x"])
        assert counts() == [before[0] + 10, before[1] + 10]


def test_keepalive_is_in_milliseconds() -> None:
    without = dict(Connection().options())
    options = dict(Connection(keepalive_seconds=2.5).options())
    assert options["grpc.keepalive_time_ms"] == 2500
    assert options["grpc.keepalive_permit_without_calls"] == 1
    assert not any("keepalive" in name for name in without)


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with certificates and keys, see `write_certificates`."""
    folder = tmp_path_factory.mktemp("pem")
    write_certificates(folder)
    return folder


@pytest.fixture
def port(pem: Path) -> Iterator[int]:
    """A gRPC server that asks for the client's certificate."""
    service = Answering({"score": np.float32([0.5])})
    with answering(service, credentials=server_credentials(pem)) as port:
        yield port


def test_both_sides_show_their_certificates(pem: Path, port: int) -> None:
    tls = Tls(pem / "authority.pem", pem / "client.pem", pem / "client.key")
    target = f"localhost:{port}"
    with RankingClient(target, "m", LONGEST_SECONDS, connection=Connection(tls=tls)) as client:
        assert client.rank(USER, ["x"]).tolist() == [0.5]

    async def ask() -> list[float]:
        async with AsyncRankingClient(
            target, "m", LONGEST_SECONDS, connection=Connection(tls=tls)
        ) as client:
            return (await client.rank(USER, ["x"])).tolist()

    assert asyncio.run(ask()) == [0.5]


@pytest.mark.parametrize("connection", [Connection(), Connection(tls=Tls())])
def test_without_the_right_certificates_nothing_is_answered(
    port: int, connection: Connection
) -> None:
    with RankingClient(
        f"localhost:{port}", "m", LONGEST_SECONDS, 1, connection=connection
    ) as client:
        with pytest.raises(ServerUnavailable):
            client.rank(USER, ["x"])


def test_a_server_without_the_clients_trust_is_refused_over_rest_too(pem: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem / "server.pem", pem / "server.key")
    with answering_over_rest(tls=context) as server:
        target = f"https://localhost:{server.server_port}"
        with RestRankingClient(
            target, "m", LONGEST_SECONDS, tls=Tls(pem / "authority.pem")
        ) as client:
            assert client.rank(USER, ["x"]).tolist() == [0.5]
        with RestRankingClient(
            target, "m", LONGEST_SECONDS, 1, tls=Tls(pem / "client.pem")
        ) as client:
            with pytest.raises(ServerUnavailable, match="no trusted certificate"):
                client.rank(USER, ["x"])


def test_certificate_and_key_come_together(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="client_certificate and client_key"):
        Tls(client_key=tmp_path / "client.key")
    with pytest.raises(FileNotFoundError, match="missing.pem"):
        Connection(tls=Tls(tmp_path / "missing.pem")).channel("localhost:1")
