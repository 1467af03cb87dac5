from __future__ import annotations

from typing import Any

import pytest

from configs.command_line import CommandError
from serving.deploy.rollout import next_steps, require_safe_labels
from serving.deploy.settings import Deployment


def versions(stable: int, canary: int | None = None, *also_loaded: int) -> Deployment:
    return Deployment(model_name="movies", stable=stable, canary=canary, also_loaded=also_loaded)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (versions(3), versions(3)),
        # A label that nobody uses yet may name a version that loads with the same file.
        (versions(3), versions(3, 4)),
        (versions(3, 4), versions(4, 4, 3)),
        (versions(4, 4, 3), versions(3, 4)),
        (versions(4, 4, 3), versions(4)),
        (versions(3, None, 4), versions(4)),
        (versions(3, 4, 5), versions(3, 5)),
        (versions(3, 4), versions(3)),
    ],
)
def test_moves_that_the_server_takes(before: Deployment, after: Deployment) -> None:
    require_safe_labels(before, after)


@pytest.mark.parametrize(
    ("before", "after", "label"),
    [
        (versions(3), versions(4), "stable"),
        (versions(3), versions(4, None, 3), "stable"),
        (versions(3, 4), versions(3, 5), "canary"),
        (versions(3, 4), versions(5, 4), "stable"),
    ],
)
def test_moves_that_the_server_refuses(before: Deployment, after: Deployment, label: str) -> None:
    with pytest.raises(CommandError, match=f"label '{label}' cannot move"):
        require_safe_labels(before, after)


def test_the_message_names_a_way_that_works() -> None:
    with pytest.raises(CommandError) as raised:
        require_safe_labels(versions(3), versions(4))
    assert "stable=3 also_loaded=[4]" in str(raised.value)
    loading = versions(3, None, 4)
    require_safe_labels(versions(3), loading)
    require_safe_labels(loading, versions(4))


def test_another_model_has_no_labels_in_use() -> None:
    require_safe_labels(versions(3), Deployment(model_name="books", stable=9))


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (None, versions(3), []),
        (versions(3), versions(3, 4), ["wait until version 4 is AVAILABLE"]),
        (versions(3), versions(3, 4, 5), ["wait until version 4, 5 is AVAILABLE"]),
        (versions(4, 4, 3), versions(4), ["version 3 is unloaded"]),
        (versions(3), versions(3), []),
    ],
)
def test_next_steps(before: Deployment | None, after: Deployment, expected: list[str]) -> None:
    steps = next_steps(before, after)
    assert len(steps) == len(expected)
    for step, beginning in zip(steps, expected, strict=True):
        assert step.startswith(beginning)


def test_batching_is_warned_of() -> None:
    values: dict[str, Any] = {"model_name": "movies", "stable": 1, "batching": {"enabled": True}}
    (step,) = next_steps(None, Deployment.model_validate(values))
    assert "'rank' will be refused" in step
