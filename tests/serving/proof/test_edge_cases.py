from __future__ import annotations

import numpy as np
import pytest

from serving.proof.samples import UNKNOWN_ID, UNKNOWN_VALUE, edge_rows, joined
from tests.scenarios import ITEMS, USERS
from tests.serving.exports import list_rows, profile_rows, request_rows


def test_every_edge_differs_from_the_first_row_in_what_it_says() -> None:
    rows = request_rows()
    edges = edge_rows(rows, "ctr")
    changed = {
        name: {
            feature
            for feature, values in edge.items()
            if not np.array_equal(values, rows[feature][:1])
        }
        for name, edge in edges.items()
    }
    statistics = {"user_share_liked", "user_mean_rating", "user_log_count"}
    empty = {"history_item_id", "history_rating", *statistics}
    assert changed == {
        "unknown user": {"user_id"},
        "unknown item": {"item_id"},
        "unknown item in the history": {"history_item_id"},
        "empty history": empty,
        "unknown user with empty history": {*empty, "user_id"},
        "no user id": {"user_id"},
    }
    assert not edges["empty history"]["history_rating"].any()
    assert set(edges["empty history"]["history_item_id"].ravel()) == {b""}
    assert UNKNOWN_ID.decode() not in {*USERS, *ITEMS}
    assert 0 < int(UNKNOWN_ID) < 2**63


def test_lists_of_a_reranker_and_profiles_have_edges_of_their_own() -> None:
    edges = edge_rows(list_rows(), "rerank")
    first = list_rows()["item_id"][0].tolist()
    assert "unknown item" not in edges
    assert edges["unknown item in the list"]["item_id"].tolist() == [[UNKNOWN_ID, *first[1:]]]
    assert edges["list of one item"]["item_id"].tolist() == [[first[0], *[b""] * 5]]
    assert set(edges["empty list"]["item_id"].ravel()) == {b""}
    unknown = edges["unknown profile values"]
    assert unknown["profile_city"].ravel().tolist() == [UNKNOWN_VALUE, b""]
    assert np.isnan(unknown["profile_age"]).all()
    assert set(edges["no profile"]["profile_city"].ravel()) == {b""}


def test_a_search_has_no_candidate_to_be_unknown() -> None:
    assert "unknown item" not in edge_rows(profile_rows(), "retrieval")


@pytest.mark.parametrize("width", [0, 2])
def test_joined_lists_are_padded_at_the_end(width: int) -> None:
    short = {
        "history_item_id": np.full([1, width], b"a", dtype=object),
        "history_rating": np.ones([1, width], np.float32),
        "profile_age": np.full([1, width], 3, np.float32),
        "user_id": np.array([b"u"], object),
    }
    long = {
        "history_item_id": np.full([1, 3], b"b", dtype=object),
        "history_rating": np.full([1, 3], 2, np.float32),
        "profile_age": np.full([1, 3], 5, np.float32),
        "user_id": np.array([b"v"], object),
    }
    found = joined([short, long])
    missing = 3 - width
    assert found["history_item_id"].tolist() == [[b"a"] * width + [b""] * missing, [b"b"] * 3]
    assert found["history_rating"].tolist() == [[1.0] * width + [0.0] * missing, [2.0] * 3]
    assert np.isnan(found["profile_age"][0]).tolist() == [False] * width + [True] * missing
    assert found["user_id"].tolist() == [b"u", b"v"]
