from __future__ import annotations

from pathlib import Path

import pytest

from serving.server.model_settings import (
    ModelSettings,
    VersionPolicy,
    check_base_paths,
    settings_by_name,
    settings_of_base_paths,
)


def test_base_paths_ask_for_the_latest_version_without_labels() -> None:
    assert settings_of_base_paths({"a": "x/y", "b": Path("z")}) == [
        ModelSettings("a", Path("x/y"), VersionPolicy(latest=1), {}),
        ModelSettings("b", Path("z"), VersionPolicy(latest=1), {}),
    ]


def test_a_name_given_twice_is_refused() -> None:
    a, b = ModelSettings("a", Path("x")), ModelSettings("b", Path("x"))
    assert settings_by_name([a, b]) == {"a": a, "b": b}
    with pytest.raises(ValueError, match="model b multiple times"):
        settings_by_name([a, b, ModelSettings("b", Path("y"))])


def test_a_base_path_may_not_change_but_models_may_come_and_go() -> None:
    a, b = ModelSettings("a", Path("x")), ModelSettings("b", Path("y"))
    check_base_paths([a], {"b": b})
    check_base_paths([a], {"a": a, "b": b})
    with pytest.raises(ValueError, match="model b it was y and z is requested"):
        check_base_paths([a, b], {"b": ModelSettings("b", Path("z"))})
