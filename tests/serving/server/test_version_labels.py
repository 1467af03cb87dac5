from __future__ import annotations

from pathlib import Path

import grpc
import pytest

from serving.server.errors import RequestError
from serving.server.model_settings import ModelSettings
from serving.server.model_versions import checked_labels

AVAILABLE = {"movies": {1, 2}}
CURRENT = {"movies": {"stable": 1}}


def movies(**labels: int) -> list[ModelSettings]:
    return [ModelSettings("movies", Path("m"), labels=labels)]


@pytest.mark.parametrize("allow", [False, True])
def test_labels_of_available_versions_are_given_and_others_forgotten(allow: bool) -> None:
    labels = checked_labels(movies(canary=2, stable=2), AVAILABLE, CURRENT, allow)
    assert labels == {"movies": {"canary": 2, "stable": 2}}
    assert checked_labels(movies(), AVAILABLE, CURRENT, allow) == {"movies": {}}


def test_a_label_of_a_version_that_is_not_available_is_refused() -> None:
    with pytest.raises(RequestError, match="version 3 of model movies, which is not") as caught:
        checked_labels(movies(canary=3), AVAILABLE, CURRENT, False)
    assert caught.value.code is grpc.StatusCode.FAILED_PRECONDITION


def test_a_new_label_may_come_early_where_that_is_allowed_but_none_in_use_moves() -> None:
    labels = checked_labels(movies(canary=3), AVAILABLE, CURRENT, True)
    assert labels == {"movies": {"canary": 3}}
    with pytest.raises(RequestError, match="version 3"):
        checked_labels(movies(stable=3), AVAILABLE, CURRENT, True)
    # A label may stay where it is when its version has gone.
    assert checked_labels(movies(stable=1), {}, CURRENT, True) == {"movies": {"stable": 1}}
