"""Both clients against the local server: they must agree with NumPy and with each other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from serving.client import RankingClient, RankingError, RestRankingClient, UserRequest
from serving.client.ranking import RankingClientBase
from serving.server import LocalServer
from tests.serving.toy_ranker import toy_base_path, toy_row_scores, toy_rows, toy_score

SECONDS = 20.0
USER = {name: values[0] for name, values in toy_rows().items() if name != "item_id"}


@pytest.fixture(scope="module")
def server() -> Iterator[LocalServer]:
    with LocalServer({"toy": toy_base_path()}) as server:
        yield server


@pytest.fixture(scope="module", params=["grpc", "rest"])
def connect(
    request: pytest.FixtureRequest, server: LocalServer
) -> Callable[..., RankingClientBase]:
    def connect(model_name: str = "toy", **options: int) -> RankingClientBase:
        if request.param == "grpc":
            target = f"127.0.0.1:{server.grpc_port}"
            return RankingClient(target, model_name, SECONDS, **options)
        target = f"http://127.0.0.1:{server.rest_port}"
        return RestRankingClient(target, model_name, SECONDS, **options)

    return connect


def test_rank_agrees_with_numpy(connect: Callable[..., RankingClientBase]) -> None:
    candidates = ["a", "über", "ccc"]
    with connect() as client:
        scores = client.rank(UserRequest(**USER), candidates)
        single = client.rank(UserRequest(**USER), candidates[:1])
    assert scores.dtype == np.float32
    expected = [toy_score(item_id=item, **USER) for item in candidates]
    np.testing.assert_allclose(scores, expected, rtol=1e-6)
    np.testing.assert_array_equal(single, scores[:1])


def test_rows_agree_with_numpy(connect: Callable[..., RankingClientBase]) -> None:
    rows = toy_rows()
    users = [
        UserRequest(**{name: values[row] for name, values in rows.items() if name != "item_id"})
        for row in range(3)
    ]
    with connect() as client:
        scores = client.score_rows(users, rows["item_id"])
    np.testing.assert_allclose(scores, toy_row_scores(), rtol=1e-6)


def test_nothing_to_rank_needs_no_server(connect: Callable[..., RankingClientBase]) -> None:
    with connect("other") as client:
        assert client.rank(UserRequest(**USER), []).shape == (0,)
        assert client.score_rows([], []).shape == (0,)


def test_versions_are_told_and_asked_for(connect: Callable[..., RankingClientBase]) -> None:
    with connect(model_version=3) as client:
        assert client.served_version() == 3
        assert client.rank(UserRequest(**USER), ["a"]).shape == (1,)
    with connect(model_version=2) as client:
        for ask in (client.served_version, lambda: client.rank(UserRequest(**USER), ["a"])):
            with pytest.raises(RankingError, match="version 2") as caught:
                ask()
            assert caught.value.code == "NOT_FOUND"


def test_an_unknown_model_is_not_found(connect: Callable[..., RankingClientBase]) -> None:
    with connect("other") as client, pytest.raises(RankingError, match='"other"') as caught:
        client.rank(UserRequest(**USER), ["a"])
    assert caught.value.code == "NOT_FOUND"


def test_one_client_serves_many_threads(connect: Callable[..., RankingClientBase]) -> None:
    with connect() as client, ThreadPoolExecutor(8) as pool:
        items = ["x" * length for length in range(1, 41)]
        scores = list(pool.map(lambda item: client.rank(UserRequest(**USER), [item])[0], items))
    expected = [toy_score(item_id=item, **USER) for item in items]
    np.testing.assert_allclose(scores, expected, rtol=1e-6)
