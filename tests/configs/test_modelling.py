from __future__ import annotations

import pytest
from pydantic import BaseModel, ValidationError

from configs.model import RERANKERS, RETRIEVERS, HybridExpert, Model
from models.rerankers import RERANKERS as REGISTERED_RERANKERS
from models.retrieval import RETRIEVERS as REGISTERED_RETRIEVERS
from tests.configs.refusals import assert_refused


@pytest.mark.parametrize(
    ("section", "values"),
    [
        (Model, {"dropout_rate": 1.0}),
        (Model, {"dropout_rate": -0.1}),
        (Model, {"knowledge_dropout_rate": 1.0}),
        (Model, {"adapter": "attention"}),
        (Model, {"match": "cosine"}),
        (Model, {"attention_history_length": 0}),
        (HybridExpert, {"num_shared_experts": -1}),
    ],
)
def test_values_out_of_range_are_refused(
    section: type[BaseModel], values: dict[str, object]
) -> None:
    assert_refused(section, values)


@pytest.mark.parametrize("weight", [0, -1.0, float("inf"), float("nan"), "much"])
def test_weights_of_tasks_are_positive_numbers(weight: object) -> None:
    with pytest.raises(ValidationError) as raised:
        Model.model_validate({"tasks": {"loved": weight, "bought": 0.5}})
    assert {problem["loc"] for problem in raised.value.errors()} == {("tasks", "loved")}
    assert Model.model_validate({"tasks": {"bought": 0.5}}).tasks == {"bought": 0.5}


def test_names_of_rerankers_and_retrievers_are_those_of_the_registries() -> None:
    assert sorted(RERANKERS) == sorted(REGISTERED_RERANKERS)
    assert sorted(RETRIEVERS) == sorted(REGISTERED_RETRIEVERS)
