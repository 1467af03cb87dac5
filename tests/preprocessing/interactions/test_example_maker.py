from __future__ import annotations

import pytest

from configs.data import Data
from preprocessing.interactions.samples import needs_universe


def data(**settings: object) -> Data:
    tree = {"interactions": {"path": "i.csv"}, "catalogue": {"path": "c.csv"}}
    return Data.model_validate({**tree, **settings})


@pytest.mark.parametrize(
    ("settings", "needed"),
    [
        ({}, False),
        ({"negatives": {"per_positive": 1}}, True),
        ({"negatives": {"per_positive": 1}, "examples": ["retrieval"]}, False),
        ({"examples": ["ctr", "rerank"]}, True),
    ],
)
def test_only_sampled_items_need_a_universe(settings, needed):
    assert needs_universe(data(**settings)) == needed
