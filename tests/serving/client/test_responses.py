from __future__ import annotations

import numpy as np
import pytest

from serving.client.errors import ModelAddress, ProfileError, RankingError, ServerUnavailable
from serving.client.responses import Reply, highest_available, read_ranking, read_retrieved_items


def test_a_ranking_has_tasks_and_the_version() -> None:
    outputs = {
        "score": np.float32([0.5, 0.25]),
        "score_loved": np.float32([0.1, 0.2]),
        "other": np.float32([1]),
    }
    answer = read_ranking(Reply(outputs, 4), 2)
    assert answer.scores.tolist() == [0.5, 0.25]
    assert list(answer.tasks) == ["loved"]
    assert answer.tasks["loved"].tolist() == pytest.approx([0.1, 0.2])
    assert answer.version == 4


def test_the_highest_version_answers() -> None:
    address = ModelAddress("h:1", "movies")
    assert highest_available([2, 11, 9], address) == 11
    with pytest.raises(RankingError, match="'movies' has no available version") as caught:
        highest_available([], address)
    assert caught.value.code == "NOT_FOUND"


def test_a_tasks_scores_are_checked_too() -> None:
    outputs = {"score": np.float32([0.5]), "score_loved": np.float32([np.inf])}
    with pytest.raises(RankingError, match="'score_loved' has values that are not finite"):
        read_ranking(Reply(outputs, None), 1)


@pytest.mark.parametrize(
    "ids",
    [
        np.array([[318, 50, -1, -1]], dtype=np.int64),
        np.array([[b"318", b"50", b"", b""]], dtype=object),
    ],
)
def test_retrieved_items_are_texts_and_end_where_there_are_no_more(ids: np.ndarray) -> None:
    scores = np.float32([[0.5, 0.25, 0, 0]])
    actual = read_retrieved_items(Reply({"item_id": ids, "score": scores}, 2))
    assert actual.item_ids == ["318", "50"]
    assert actual.scores.tolist() == [0.5, 0.25]
    assert actual.version == 2


def test_every_failure_has_the_code_of_a_grpc_status() -> None:
    error = RankingError("NOT_FOUND", "no such model")
    assert (error.code, str(error)) == ("NOT_FOUND", "no such model")
    unavailable = ServerUnavailable("nobody is there")
    assert isinstance(unavailable, RankingError)
    assert (unavailable.code, str(unavailable)) == ("UNAVAILABLE", "nobody is there")


def test_a_wrong_profile_names_its_attribute() -> None:
    error = ProfileError("age", "must be a number")
    assert isinstance(error, RankingError) and error.code == "INVALID_ARGUMENT"
    assert (error.attribute, error.reason) == ("age", "must be a number")
    assert str(error) == "profile attribute 'age' must be a number"


def test_a_version_is_named_in_one_way() -> None:
    assert ModelAddress("h:1", "m", 3).version_label is None
    assert ModelAddress("h:1", "m", None, "stable").model_version is None
    with pytest.raises(ValueError, match="not both. Received: 3 and 'stable'"):
        ModelAddress("h:1", "m", 3, "stable")
