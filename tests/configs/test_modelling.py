from __future__ import annotations

import pytest
from pydantic import BaseModel, ValidationError

from configs.modelling import HybridExpert, Model, Training


@pytest.mark.parametrize(
    ("section", "values"),
    [
        (Training, {"epochs": 0}),
        (Training, {"batch_size": 0}),
        (Training, {"learning_rate": 0.0}),
        (Training, {"patience": -1}),
        (Training, {"epochs": "many"}),
        (Model, {"dropout_rate": 1.0}),
        (Model, {"dropout_rate": -0.1}),
        (Model, {"knowledge_dropout_rate": 1.0}),
        (Model, {"adapter": "mlp"}),
        (Model, {"match": "cosine"}),
        (Model, {"attention_history_length": 0}),
        (HybridExpert, {"num_shared_experts": -1}),
    ],
)
def test_values_out_of_range_are_refused(
    section: type[BaseModel], values: dict[str, object]
) -> None:
    with pytest.raises(ValidationError) as raised:
        section.model_validate(values)
    (key,) = values
    assert {problem["loc"][0] for problem in raised.value.errors()} == {key}
