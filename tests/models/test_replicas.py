"""Replicas of `tf.distribute` train what one device trains."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import pytest

from tests.killing import Command
from tests.models import replicas

FAST = ("optimizers apart",)
SLOW = tuple(name for name in replicas.CASES if name not in FAST)


@functools.cache
def compared(names: tuple[str, ...], root: Path) -> dict[str, Any]:
    """What one device and two trained, by case."""
    return json.loads(Command(root, root).run([replicas.__name__, *names]))


def assert_equal_training(result: dict[str, Any]) -> None:
    one, two = result["one"], result["two"]
    assert set(one) == set(two) == {"loss", "regularization_loss", "total_loss"}
    for name in one:
        assert two[name] == pytest.approx(one[name], abs=1e-5)
    assert one["loss"][-1] < one["loss"][0]
    assert result["weights"] < 1e-5


@pytest.mark.parametrize("name", FAST)
def test_two_devices_train_what_one_does(name: str, repository_root: Path) -> None:
    assert_equal_training(compared(FAST, repository_root)[name])


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in SLOW if name != "retrieval"])
def test_two_devices_train_what_one_does_with_other_models(
    name: str, repository_root: Path
) -> None:
    assert_equal_training(compared(SLOW, repository_root)[name])


@pytest.mark.slow
def test_negatives_of_retrieval_are_those_of_a_replicas_part(repository_root: Path) -> None:
    result = compared(SLOW, repository_root)["retrieval"]
    reported = result["two"]["loss"]
    assert reported[0] == pytest.approx(sum(result["halves"]) / 2, rel=1e-5)
    assert reported[0] < result["one"]["loss"][0]
    assert reported[-1] < reported[0]
