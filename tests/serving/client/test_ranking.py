"""All clients against the local server: they must agree with NumPy and with each other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from serving.client import (
    ProfileError,
    RankingClient,
    RankingError,
    RestRankingClient,
    UserRequest,
    retries,
)
from serving.client.ranking import RankingClientBase
from serving.server import LocalServer
from tests.serving.client.answering import READY_SECONDS, Blocking, HastyClock
from tests.serving.exports import exported_variant, one_user_request, tensors, user_of, variant_rows
from tests.serving.toy_ranker import toy_base_path, toy_row_scores, toy_rows, toy_score
from tests.waiting import LONGEST_SECONDS as SECONDS

USER = {name: values[0] for name, values in toy_rows().items() if name != "item_id"}


@pytest.fixture(scope="module")
def server() -> Iterator[LocalServer]:
    bases = {"toy": toy_base_path(), "tasks": exported_variant("linear").base}
    with LocalServer(bases) as server:
        yield server


@pytest.fixture(scope="module", params=["grpc", "event loop", "rest"])
def connect(
    request: pytest.FixtureRequest, server: LocalServer
) -> Callable[..., RankingClientBase]:
    def connect(model_name: str = "toy", **options: object) -> RankingClientBase:
        if request.param == "rest":
            target = f"http://127.0.0.1:{server.rest_port}"
            return RestRankingClient(target, model_name, SECONDS, **options)
        client_class = RankingClient if request.param == "grpc" else Blocking
        return client_class(f"127.0.0.1:{server.grpc_port}", model_name, SECONDS, **options)

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


def test_further_tasks_have_scores_of_their_own(connect: Callable[..., RankingClientBase]) -> None:
    rows = variant_rows("linear")
    _, repeated = one_user_request(1, rows=rows)
    candidates = [str(item) for item in repeated["item_id"]]
    logits = exported_variant("linear").run.model(tensors(repeated), training=False).numpy()
    expected = 1 / (1 + np.exp(-logits))
    with connect("tasks") as client:
        actual = client.ask(user_of(rows, 1), candidates)
        label_alone = client.rank(user_of(rows, 1), candidates)
    np.testing.assert_allclose(actual.scores, expected[:, 0], atol=1e-5)
    np.testing.assert_array_equal(label_alone, actual.scores)
    assert list(actual.tasks) == ["loved"]
    np.testing.assert_allclose(actual.tasks["loved"], expected[:, 1], atol=1e-5)
    assert np.abs(expected[:, 0] - expected[:, 1]).max() > 0.01


def test_a_model_of_one_label_has_no_further_tasks(
    connect: Callable[..., RankingClientBase],
) -> None:
    with connect() as client:
        answer = client.ask(UserRequest(**USER), ["a", "bb"])
        np.testing.assert_array_equal(answer.scores, client.rank(UserRequest(**USER), ["a", "bb"]))
    assert answer.tasks == {}


def test_a_profile_that_the_model_does_not_read_is_named(
    connect: Callable[..., RankingClientBase],
) -> None:
    with connect() as client, pytest.raises(ProfileError, match="'age' is not one .* no profile"):
        client.rank(UserRequest(**USER, profile={"age": 30}), ["a"])
    with connect("tasks") as client:
        for _ in range(2):
            with pytest.raises(ProfileError, match=r"'agee' .*reads age \(number\), city"):
                client.rank(UserRequest(**USER, profile={"agee": 30}), ["a"])
        with pytest.raises(ProfileError, match="'age' must be a number"):
            client.rank(UserRequest(**USER, profile={"age": ["30"]}), ["a"])
        assert client.rank(UserRequest(**USER, profile={"age": 30}), ["a"]).shape == (1,)


def test_a_signature_that_is_missing_is_not_taken_for_a_wrong_profile(
    connect: Callable[..., RankingClientBase],
) -> None:
    with connect() as client, pytest.raises(RankingError, match="top_k.* not found") as caught:
        client.retrieve(UserRequest(**USER, profile={"age": 30}))
    assert not isinstance(caught.value, ProfileError)


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
        assert client.ask(UserRequest(**USER), []).scores.shape == (0,)
        assert client.score_rows([], []).shape == (0,)


def test_versions_are_told_and_asked_for(connect: Callable[..., RankingClientBase]) -> None:
    with connect(model_version=3) as client:
        assert client.served_version() == 3
        assert client.rank(UserRequest(**USER), ["a"]).shape == (1,)
    with connect(model_version=2) as client:
        for ask in (client.served_version, lambda: client.rank(UserRequest(**USER), ["a"])):
            with pytest.raises(RankingError, match="version 2|toy, 2") as caught:
                ask()
            assert caught.value.code == "NOT_FOUND"


def test_a_label_that_no_version_has_is_an_invalid_argument(
    connect: Callable[..., RankingClientBase],
) -> None:
    with connect(version_label="stable") as client:
        for ask in (client.served_version, lambda: client.rank(UserRequest(**USER), ["a"])):
            with pytest.raises(RankingError, match="stable") as caught:
                ask()
            assert caught.value.code == "INVALID_ARGUMENT"


def test_several_users_are_asked_for_at_once(connect: Callable[..., RankingClientBase]) -> None:
    lists = [["a"], [], ["bb", "ccc"]]
    users = [UserRequest(**USER | {"user_id": "u" * length}) for length in (1, 2, 3)]
    with connect() as client:
        answers = client.ask_many(users, lists, at_once=2)
        with pytest.raises(ValueError):
            client.ask_many(users, lists[:2])
    for user, candidates, answer in zip(users, lists, answers, strict=True):
        user_features = USER | {"user_id": user.user_id}
        expected = [toy_score(item_id=item, **user_features) for item in candidates]
        np.testing.assert_allclose(answer.scores, expected, rtol=1e-6)


def test_a_served_model_is_ready_and_another_never(
    connect: Callable[..., RankingClientBase], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retries, "time", HastyClock())
    with connect() as client:
        assert client.wait_until_ready(READY_SECONDS) == 3
    with connect("other") as client, pytest.raises(RankingError, match="other") as caught:
        client.wait_until_ready(READY_SECONDS)
    assert caught.value.code == "NOT_FOUND"


def test_one_client_serves_many_threads(connect: Callable[..., RankingClientBase]) -> None:
    with connect() as client, ThreadPoolExecutor(8) as pool:
        items = ["x" * length for length in range(1, 41)]
        scores = list(pool.map(lambda item: client.rank(UserRequest(**USER), [item])[0], items))
    expected = [toy_score(item_id=item, **USER) for item in items]
    np.testing.assert_allclose(scores, expected, rtol=1e-6)
