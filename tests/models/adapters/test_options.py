from __future__ import annotations

import re
from typing import get_args

import pytest

from configs.model import AdapterName
from models.adapters import ADAPTERS
from tests.models.adapters.cases import options, rows_of, tables


@pytest.mark.parametrize("name", ADAPTERS)
def test_all_take_the_common_options(name: str) -> None:
    given = options(knowledge_dropout_rate=0.25, standardized_knowledge=True)
    layer = ADAPTERS[name](given, tables())
    assert (layer.knowledge_dropout_rate, layer.standardized) == (0.25, True)


@pytest.mark.parametrize(
    ("name", "key"),
    [("hein", "hein.expert_units"), ("moe", "moe.expert_units"), ("mlp", "mlp.units")],
)
def test_augmented_vectors_are_as_wide_as_embeddings(name: str, key: str) -> None:
    message = rf"last of model.{key} \(3\) must equal model.embedding_dimension \(5\)"
    with pytest.raises(ValueError, match=message):
        ADAPTERS[name](options(embedding_dimension=5), tables())


@pytest.mark.parametrize(
    ("name", "network"), [("hein", "HEIN"), ("moe", "mixture of experts"), ("mlp", "shared MLP")]
)
def test_shared_networks_need_vectors_of_one_width(name: str, network: str) -> None:
    message = re.escape(
        f"the sources of one {network} need vectors of one width, but there are item: 5, user: 9; "
        "encode them with one encoder"
    )
    with pytest.raises(ValueError, match=message):
        ADAPTERS[name](options(), tables(user=9))


@pytest.mark.parametrize("name", ["linear", "pca", "pq"])
def test_other_adapters_take_sources_of_different_widths(name: str) -> None:
    layer = ADAPTERS[name](options(embedding_dimension=6), tables(user=9))
    outputs = layer(rows_of([1, 2], [3]))
    assert [vectors.shape for vectors in outputs.values()] == [(2, 6), (1, 6)]


def test_the_registry_has_every_adapter_that_makes_fields() -> None:
    assert set(ADAPTERS) == set(get_args(AdapterName)) - {"none", "replace_id"}
