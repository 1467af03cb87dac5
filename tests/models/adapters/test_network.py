from __future__ import annotations

import numpy as np
import pytest

from models.adapters.linear import LinearProjection
from models.adapters.source_network import GatedAdapter, NetworkAdapter
from models.hein import HybridExpertNetwork
from tests.models.adapters.cases import DIMENSION, adapter, rows_of, stored_vectors, tables


@pytest.mark.parametrize("name", ["linear", "mlp", "moe", "hein"])
@pytest.mark.parametrize("standardized", [False, True])
def test_augmented_vectors_are_those_of_the_network(name: str, standardized: bool) -> None:
    layer = adapter(name, standardized_knowledge=standardized)
    assert isinstance(layer, NetworkAdapter)
    rows = rows_of([3, 1, 3, 6, 3, 1], [2, 2, 1, 3, 3, 2])
    vectors = {}
    for source, of_source in rows.items():
        known = stored_vectors(layer.tables[source])
        if standardized:
            known = (known - known.mean(axis=0)) / known.std(axis=0)
        vectors[source] = known[of_source.numpy() - 1].astype(np.float32)
    expected = layer.network(vectors)
    for source, of_source in layer(rows).items():
        np.testing.assert_allclose(of_source, expected[source], atol=1e-5)


def test_the_network_gives_order_and_width() -> None:
    layer = NetworkAdapter(tables(), LinearProjection(("user", "item"), 7))
    assert (layer.sources, layer.width) == (("user", "item"), 7)
    assert tuple(layer(rows_of([1], [1]))) == ("user", "item")


def test_a_network_that_is_in_use_keeps_its_weights() -> None:
    network = LinearProjection(("item", "user"), 4)
    network({"item": np.ones([1, DIMENSION]), "user": np.ones([1, DIMENSION])})
    before = [weight.numpy() for weight in network.weights]
    layer = NetworkAdapter(tables(), network)
    layer(rows_of([1], [1]))
    assert len(network.weights) == len(before) == 4
    for weight, value in zip(network.weights, before, strict=True):
        np.testing.assert_array_equal(weight, value)


def test_tables_of_other_sources_are_refused() -> None:
    network = HybridExpertNetwork(("item", "user"), 1, 2, (6, 3))
    with pytest.raises(
        ValueError, match=r"tables \['item'\] must be those of sources \['item', 'user'\]"
    ):
        GatedAdapter({"item": tables()["item"]}, network)


@pytest.mark.parametrize(("name", "experts"), [("hein", 3), ("moe", 4)])
def test_gates_are_those_of_the_network(name: str, experts: int) -> None:
    layer, rows = adapter(name), rows_of([1, 0], [2])
    assert isinstance(layer, GatedAdapter)
    gates = layer.gates(rows)
    assert {source: values.shape for source, values in gates.items()} == {
        "item": (2, experts),
        "user": (1, experts),
    }
    np.testing.assert_allclose(np.sum(gates["item"], axis=1), 1, atol=1e-6)
    vectors = {source: layer.tables[source].vectors(rows[source]) for source in rows}
    np.testing.assert_array_equal(gates["item"], layer.network.gates(vectors)["item"])
    alone = layer.gates({"user": rows["user"]})
    assert tuple(alone) == ("user",)
    np.testing.assert_allclose(alone["user"], gates["user"], atol=1e-6)


@pytest.mark.parametrize("name", ["linear", "mlp"])
def test_networks_without_experts_have_no_gates(name: str) -> None:
    assert not isinstance(adapter(name), GatedAdapter)
