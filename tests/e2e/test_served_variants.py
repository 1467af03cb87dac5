"""One score, however it is asked for, of everything that can be trained: adapters, match, profiles,
tasks, re-rankers and retrieval."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import requests
import tensorflow as tf

from serving.c_api import CApiSession
from serving.client import RankingClient, RestRankingClient, UserRequest
from serving.client.ranking import RankingClientBase
from serving.server import LocalServer
from tests.scenarios import ITEMS
from tests.serving.exports import (
    OTHER_VARIANTS,
    RANKING_VARIANTS,
    Arrays,
    assert_close,
    exported_variant,
    list_rows,
    one_user_request,
    profile_rows,
    serialized_examples,
    tensors,
    user_of,
    user_rows,
    variant_rows,
)
from tests.waiting import LONGEST_SECONDS

SERVED = ("linear", "hein", *OTHER_VARIANTS)
"""Those that every loader and transport is asked for."""


@pytest.fixture(scope="module")
def server() -> Iterator[LocalServer]:
    with LocalServer({name: exported_variant(name).base for name in SERVED}) as running:
        yield running


@pytest.fixture(params=["grpc", "rest"])
def transport(request: pytest.FixtureRequest) -> str:
    return request.param


def connect(server: LocalServer, transport: str, name: str) -> RankingClientBase:
    if transport == "grpc":
        return RankingClient(f"127.0.0.1:{server.grpc_port}", name, timeout_seconds=LONGEST_SECONDS)
    return RestRankingClient(
        f"http://127.0.0.1:{server.rest_port}", name, timeout_seconds=LONGEST_SECONDS
    )


# Adapters differ before the export, which stores what they compute; the slow tests try them all.
ALL_VARIANTS = [
    pytest.param(name, marks=pytest.mark.slow) if name in ("pca", "mlp", "moe", "pq") else name
    for name in RANKING_VARIANTS
]


@pytest.mark.parametrize("name", ALL_VARIANTS)
def test_every_ranking_model_is_exported_as_trained(name: str) -> None:
    export, raw = exported_variant(name), variant_rows(name)
    expected = export.expected(raw)
    outputs = export.outputs(raw)
    assert_close(outputs["score"], expected)
    requests = [one_user_request(row, rows=raw) for row in (0, 1, 2, 10)]
    assert_close(
        np.concatenate([export.scores(ranked, "rank") for ranked, _ in requests]),
        np.concatenate([export.expected(repeated) for _, repeated in requests]),
    )
    examples = {"examples": serialized_examples(raw)}
    example_outputs = export.outputs(examples, "predict_examples")
    assert outputs.keys() == example_outputs.keys()
    for output, scores in example_outputs.items():
        assert_close(scores, outputs[output])


def test_further_tasks_are_outputs_of_their_own() -> None:
    export, raw = exported_variant("linear"), profile_rows()
    outputs = export.outputs(raw)
    assert outputs.keys() == {"score", "score_loved"}
    loved = export.run.model.task_probabilities(tensors(raw))["loved"].numpy()
    assert_close(outputs["score_loved"], loved)
    assert np.abs(outputs["score"] - outputs["score_loved"]).max() > 0.01
    for signature, output in (("classify", "scores"), ("regress", "outputs")):
        actual = export.outputs({"inputs": serialized_examples(raw)}, signature)
        assert actual.keys() == {output}
        assert_close(actual[output].reshape(-1), outputs["score"])


def test_lists_are_exported_as_trained() -> None:
    export, raw = exported_variant("prm"), list_rows()
    expected = export.expected(raw)
    assert_close(export.scores(raw), expected)
    assert ((expected > 0) == (raw["item_id"] != b"")).all()
    examples = {"examples": serialized_examples(raw)}
    assert_close(export.scores(examples, "predict_examples"), expected)
    for row in (0, 2):
        one = {name: values[row : row + 1] for name, values in raw.items()}
        ranked = {**one, "item_id": raw["item_id"][row]}
        assert_close(export.scores(ranked, "rank"), expected[row])


def expected_items(raw: Arrays) -> tuple[list[list[str]], np.ndarray]:
    """Every user's items by falling score, without the history, from vectors of the checkpoint."""
    model = exported_variant("two_tower").run.model
    ids = np.array(["", *model.inputs_preparation.catalogue.item_ids])
    users = model.user_vectors(tensors(raw)).numpy()
    scores = users @ model.item_vectors(tf.range(len(ids))).numpy().T
    best = []
    for row, user_scores in enumerate(scores):
        history = {item.decode() for item in raw["history_item_id"][row]}
        order = [index for index in np.argsort(-user_scores) if index and ids[index] not in history]
        best.append([str(ids[index]) for index in order])
        scores[row, : len(order)], scores[row, len(order) :] = user_scores[order], 0
    return best, scores[:, :-1]


def test_retrieval_is_exported_as_trained() -> None:
    export, raw = exported_variant("two_tower"), user_rows()
    model = export.run.model
    best, scores = expected_items(raw)
    for signature in ("serving_default", "top_k"):
        outputs = export.outputs(raw, signature)
        assert_close(outputs["score"], scores)
        for actual, expected in zip(outputs["item_id"], best, strict=True):
            assert [item.decode() for item in actual if item] == expected
    vectors = export.outputs(raw, "user_vectors")["vector"]
    assert_close(vectors, model.user_vectors(tensors(raw)).numpy())
    items = np.array([ITEMS[3].encode(), b"never seen", ITEMS[0].encode()], dtype=object)
    rows = model.inputs_preparation.catalogue.rows(tf.constant(items))
    vectors = export.outputs({"item_id": items}, "item_vectors")["vector"]
    assert_close(vectors, model.item_vectors(rows).numpy())


@pytest.mark.parametrize("name", SERVED)
def test_the_c_api_gives_the_same(name: str) -> None:
    export = exported_variant(name)
    raw = {"prm": list_rows, "two_tower": user_rows}.get(name, profile_rows)()
    with CApiSession(export.path) as session:
        actual = session.run("serving_default", raw)
    expected = export.outputs(raw)
    assert actual.keys() == expected.keys()
    for output, values in expected.items():
        if values.dtype == object:
            np.testing.assert_array_equal(actual[output], values)
        else:
            assert_close(actual[output], values)


@pytest.mark.parametrize("name", ["linear", "hein"])
def test_the_server_gives_the_checkpoints_scores(
    server: LocalServer, transport: str, name: str
) -> None:
    export, raw = exported_variant(name), profile_rows()
    users = [user_of(raw, row) for row in range(len(raw["user_id"]))]
    requests = [one_user_request(row, rows=raw) for row in (0, 1, 10)]
    candidates = [str(item) for item in requests[0][0]["item_id"]]
    with connect(server, transport, name) as client:
        assert_close(
            np.concatenate([client.rank(users[row], candidates) for row in (0, 1, 10)]),
            np.concatenate([export.expected(repeated) for _, repeated in requests]),
        )
        items = [item.decode() for item in raw["item_id"]]
        assert_close(client.score_rows(users, items), export.expected(raw))


def test_the_server_ranks_lists(server: LocalServer, transport: str) -> None:
    raw = list_rows()
    expected = exported_variant("prm").expected(raw)
    with connect(server, transport, "prm") as client:
        for row in (0, 1, 2):
            candidates = [item.decode() for item in raw["item_id"][row] if item]
            scores = client.rank(user_of(raw, row), candidates)
            assert_close(scores, expected[row, : len(candidates)])


def test_the_server_retrieves(server: LocalServer, transport: str) -> None:
    raw = user_rows()
    best, scores = expected_items(raw)
    with connect(server, transport, "two_tower") as client:
        for row in (0, 5, 11):
            actual = client.retrieve(user_of(raw, row))
            assert actual.item_ids == best[row]
            assert_close(actual.scores, scores[row, : len(best[row])])


def test_rest_examples_may_have_profiles(server: LocalServer) -> None:
    raw = profile_rows()
    single = {name: values.tolist() for name, values in raw.items() if values.ndim == 1}
    examples = []
    for row in (0, 2, 3):
        user = user_of(raw, row)
        values = {name: column[row] for name, column in single.items()}
        examples.append(
            {
                **values,
                "user_id": user.user_id,
                "item_id": values["item_id"].decode(),
                "history_item_id": list(user.history_item_id),
                "history_rating": list(user.history_rating),
                **{f"profile_{name}": value for name, value in user.profile.items()},
            }
        )
    assert "profile_age" in examples[0] and examples[2]["profile_city"] == []
    response = requests.post(
        f"http://127.0.0.1:{server.rest_port}/v1/models/linear:regress",
        json={"signature_name": "regress", "examples": examples},
        timeout=LONGEST_SECONDS,
    )
    scores = np.array(response.json()["results"], np.float32)
    assert_close(scores, exported_variant("linear").expected(raw)[[0, 2, 3]])


def test_a_profile_may_be_left_out(server: LocalServer, transport: str) -> None:
    raw = profile_rows()
    row = 7
    assert raw["profile_city"][row].tolist() == [b"", b""]
    unknown = {**raw, "profile_age": np.full_like(raw["profile_age"], np.nan)}
    user = user_of(request := {name: values[row : row + 1] for name, values in unknown.items()}, 0)
    nobody = UserRequest.from_history("u1", [], [])
    with connect(server, transport, "hein") as client:
        (score,) = client.rank(user, [raw["item_id"][row].decode()])
        assert_close(np.array([score]), exported_variant("hein").expected(request))
        assert client.rank(nobody, ITEMS[:3]).shape == (3,)
        assert client.score_rows([user, nobody], ITEMS[:2]).shape == (2,)
