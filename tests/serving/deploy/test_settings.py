from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydantic import ValidationError

from configs.loading import described_keys
from serving.deploy.settings import Deployment
from tests.serving.deploy.deployments import FULL, PLAIN


def test_every_key_is_described() -> None:
    descriptions = described_keys(Deployment)
    assert len(descriptions) > 50
    assert [key for key, description in descriptions.items() if not description] == []


def test_the_page_names_keys_that_exist(repository_root: Path) -> None:
    keys = set(described_keys(Deployment))
    sections = {key.partition(".")[0] for key in keys if "." in key}
    page = (repository_root / "docs/deployment.md").read_text(encoding="utf-8")
    named = re.findall(r"\b([a-z_]+)\.([a-z_]+)\b", " ".join(re.findall(r"`([^`]+)`", page)))
    found = {
        f"{section}.{key}"
        for section, key in named
        if section in sections and key not in {"yaml", "config"}
    }
    assert len(found) > 15
    assert found <= keys


def test_labels_and_loaded_versions() -> None:
    assert PLAIN.labels == {"stable": 1}
    assert PLAIN.loaded_versions == (1,)
    assert FULL.labels == {"stable": 3, "canary": 4}
    assert FULL.loaded_versions == (2, 3, 4)
    promoted = Deployment(model_name="movies", stable=4, canary=4, also_loaded=(3, 4))
    assert promoted.loaded_versions == (3, 4)


@pytest.mark.parametrize(
    ("model_name", "object_name"),
    [("movies", "movies-serving"), ("Movies_v2", "movies-v2-serving"), ("_", "model-serving")],
)
def test_objects_are_named_after_the_model(model_name: str, object_name: str) -> None:
    assert Deployment(model_name=model_name, stable=1).object_name == object_name


def test_a_given_name_wins() -> None:
    assert FULL.object_name == "rank-movies"
    assert FULL.full_image == "registry.example.com/tensorflow/serving:2.21.0-gpu"


@pytest.mark.parametrize(
    "values",
    [
        {"stable": 0},
        {"canary": -1},
        {"also_loaded": [0]},
        {"tag": "latest"},
        {"model_name": "a/b"},
        {"model_name": "a b"},
        {"image": "tensorflow/serving latest"},
        {"name": "Movies"},
        {"replicas": 3},
    ],
)
def test_wrong_values_are_refused(values: dict[str, object]) -> None:
    needed = {"model_name": "movies", "stable": 1}
    with pytest.raises(ValidationError) as raised:
        Deployment.model_validate(needed | values)
    (key,) = values
    assert [problem["loc"][0] for problem in raised.value.errors()] == [key]


def test_what_has_no_default_must_be_given() -> None:
    with pytest.raises(ValidationError) as raised:
        Deployment.model_validate({})
    assert {problem["loc"][0] for problem in raised.value.errors()} == {"model_name", "stable"}


def test_autoscaling_must_leave_the_replicas() -> None:
    values = {"model_name": "movies", "stable": 1, "kubernetes": {"replicas": 7}}
    with pytest.raises(ValidationError, match=r"max_replicas \(6\) is below .*replicas \(7\)"):
        Deployment.model_validate(values)
    Deployment.model_validate(values | {"autoscaling": {"enabled": False}})
