from __future__ import annotations

from typing import Any

import pytest

from models.match.kinds import MatchMethod


def test_a_kind_names_its_features() -> None:
    assert MatchMethod("ridge").features == ("mean", "deviation")
    assert len(MatchMethod("means").features) == 6


@pytest.mark.parametrize(
    ("options", "landmarks", "computed"),
    [
        ({"kind": "ridge"}, True, False),
        ({"kind": "ridge", "learned": True}, True, True),
        ({"kind": "ridge", "learned": True, "form": "exact"}, False, False),
        ({"kind": "means", "learned": True}, False, False),
    ],
)
def test_only_low_rank_ridge_has_landmarks(
    options: dict[str, Any], landmarks: bool, computed: bool
) -> None:
    method = MatchMethod(**options)
    assert (method.has_landmarks, method.computes_features) == (landmarks, computed)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "attention"}, "one of .*Received: kind='attention'"),
        ({"kind": "ridge", "form": "dense"}, "one of .*Received: form='dense'"),
        ({"kind": "ridge", "noise": 0.0}, "greater than 0. Received: noise=0.0"),
    ],
)
def test_wrong_methods_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MatchMethod(**options)
