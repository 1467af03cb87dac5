"""One score, however an export is loaded and asked: checkpoint, loaders and the local server."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from serving.c_api import CApiSession
from serving.client import RankingClient, RestRankingClient
from serving.server import LocalServer
from tests.scenarios import ITEMS
from tests.serving.exports import (
    Arrays,
    assert_close,
    every_model,
    exported,
    one_user_request,
    request_rows,
    serialized_examples,
    user_of,
)
from tests.waiting import LONGEST_SECONDS


def session_scores(path: Path, raw: Arrays) -> np.ndarray:
    """Scores through the loader of TensorFlow 1, which runs the graph and its initialisation."""
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        graph = tf.compat.v1.saved_model.load(session, [tf.saved_model.SERVING], str(path))
        definition = graph.signature_def["serving_default"]
        feeds = {definition.inputs[name].name: values for name, values in raw.items()}
        return session.run(definition.outputs["score"].name, feeds)


@every_model
def test_every_loader_gives_the_checkpoints_scores(backbone: str, arm: str) -> None:
    export, raw = exported(backbone, arm), request_rows()
    expected = export.expected(raw)
    assert_close(export.scores(raw), expected)
    assert_close(session_scores(export.path, raw), expected)
    with CApiSession(export.path) as session:
        assert_close(session.run("serving_default", raw)["score"], expected)
        ranked, repeated = one_user_request(0)
        assert_close(session.run("rank", ranked)["score"], export.expected(repeated))


@every_model
def test_the_local_server_gives_the_checkpoints_scores(backbone: str, arm: str) -> None:
    export, raw = exported(backbone, arm), request_rows()
    users = [user_of(raw, row) for row in range(len(raw["item_id"]))]
    items = [item.decode() for item in raw["item_id"]]
    ranked, repeated = one_user_request(1)
    candidates = [str(item) for item in ranked["item_id"]]
    name = f"{backbone}_{arm}"
    with (
        LocalServer({name: export.base}) as server,
        RankingClient(f"127.0.0.1:{server.grpc_port}", name, LONGEST_SECONDS) as over_grpc,
        RestRankingClient(
            f"http://127.0.0.1:{server.rest_port}", name, LONGEST_SECONDS
        ) as over_rest,
    ):
        for client in (over_grpc, over_rest):
            assert_close(client.score_rows(users, items), export.expected(raw))
            assert_close(client.rank(users[1], candidates), export.expected(repeated))


@every_model
def test_the_user_of_rank_is_computed_once_with_the_same_result(backbone: str, arm: str) -> None:
    export = exported(backbone, arm)
    for row in (0, 1, 11):
        ranked, repeated = one_user_request(row)
        assert_close(export.scores(ranked, "rank"), export.scores(repeated))


@pytest.mark.parametrize("candidates", [1, 2])
def test_few_candidates_are_ranked(candidates: int) -> None:
    for export in (exported("din", "ridge"), exported("dcnv2", "hein")):
        ranked, repeated = one_user_request(0, candidates)
        assert_close(export.scores(ranked, "rank"), export.expected(repeated))


def moved_padding(raw: Arrays, where: str) -> Arrays:
    """The same histories, padded elsewhere."""
    items, ratings = raw["history_item_id"], raw["history_rating"]
    rows, length = items.shape
    width = length + 4
    moved_items = np.full([rows, width], b"", dtype=object)
    moved_ratings = np.zeros([rows, width], np.float32)
    for row in range(rows):
        (known,) = np.nonzero(items[row] != b"")
        places = {
            "in front": np.arange(width - len(known), width),
            "at the end": np.arange(len(known)),
            "between": np.sort(np.random.default_rng(row).permutation(width)[: len(known)]),
        }[where]
        moved_items[row, places] = items[row, known]
        moved_ratings[row, places] = ratings[row, known]
    return {**raw, "history_item_id": moved_items, "history_rating": moved_ratings}


@pytest.mark.parametrize("where", ["in front", "at the end", "between"])
@pytest.mark.parametrize("model", [("din", "ridge"), ("dcnv2", "hein")])
def test_padding_may_be_anywhere(model: tuple[str, str], where: str) -> None:
    export, raw = exported(*model), request_rows()
    assert_close(export.scores(moved_padding(raw, where)), export.scores(raw))


@every_model
def test_a_batch_of_one_scores_as_in_a_larger_batch(backbone: str, arm: str) -> None:
    export, raw = exported(backbone, arm), request_rows()
    expected = export.scores(raw)
    for row in (0, 4, 11):
        single = {name: values[row : row + 1] for name, values in raw.items()}
        assert_close(export.scores(single), expected[row : row + 1])


def test_ids_never_seen_have_one_score_and_known_ones_have_their_own() -> None:
    export, raw = exported("din", "hein"), request_rows()
    row = {name: np.repeat(values[:1], 4, axis=0) for name, values in raw.items()}
    unseen = {**row, "item_id": np.array([b"x", b"y", b"1", b"2"], dtype=object)}
    scores = export.scores(unseen)
    assert scores[0] == scores[1] and len(set(scores)) == 3
    strangers = {**row, "user_id": np.array([b"x", b"y", b"u1", b"u2"], dtype=object)}
    scores = export.scores(strangers)
    assert scores[0] == scores[1] and len(set(scores)) == 3


@every_model
def test_serialized_examples_score_alike(backbone: str, arm: str) -> None:
    export, raw = exported(backbone, arm), request_rows()
    expected, examples = export.scores(raw), tf.constant(serialized_examples(raw))
    signatures = export.loaded.signatures
    assert_close(signatures["predict_examples"](examples=examples)["score"].numpy(), expected)
    assert_close(signatures["regress"](inputs=examples)["outputs"].numpy(), expected)
    classified = signatures["classify"](inputs=examples)["scores"].numpy()
    assert_close(classified, expected[:, np.newaxis])


def test_every_item_of_the_catalogue_is_served_as_trained() -> None:
    export = exported("din", "ridge")
    raw = {name: np.repeat(values[:1], len(ITEMS), 0) for name, values in request_rows().items()}
    raw["item_id"] = np.array(ITEMS, dtype=object)
    scores = export.scores(raw)
    assert_close(scores, export.expected(raw))
    assert len(set(scores)) == len(ITEMS)
