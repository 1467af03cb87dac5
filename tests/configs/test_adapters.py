from __future__ import annotations

import typing

import pytest
from pydantic import BaseModel

from configs.model import (
    AdapterName,
    HybridExpert,
    MixtureOfExperts,
    Model,
    ProductQuantization,
    SharedNetwork,
)
from tests.configs.refusals import assert_refused


@pytest.mark.parametrize(
    ("section", "values"),
    [
        (HybridExpert, {"num_dedicated_experts": -1}),
        (HybridExpert, {"dropout_rate": 1.0}),
        (MixtureOfExperts, {"num_experts": 0}),
        (MixtureOfExperts, {"dropout_rate": -0.1}),
        (SharedNetwork, {"units": ["wide"]}),
        (SharedNetwork, {"dropout_rate": 1.0}),
        (ProductQuantization, {"num_codebooks": 0}),
        (ProductQuantization, {"codebook_size": 1}),
        (ProductQuantization, {"codebook_size": 65537}),
    ],
)
def test_values_out_of_range_are_refused(
    section: type[BaseModel], values: dict[str, object]
) -> None:
    assert_refused(section, values)


def test_every_adapter_may_be_named() -> None:
    names = typing.get_args(AdapterName)
    assert len(names) == 8
    assert [Model.model_validate({"adapter": name}).adapter for name in names] == list(names)
