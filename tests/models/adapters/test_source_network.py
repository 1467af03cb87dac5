from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from models.adapters.linear import LinearProjection
from models.adapters.mlp import SharedMLP
from models.adapters.moe import MixtureOfExperts
from models.adapters.source_network import GatedAdapter, NetworkAdapter, SourceNetwork
from models.hein import HybridExpertNetwork
from tests.models.adapters.cases import (
    DIMENSION,
    adapter,
    rows_of,
    source_vectors,
    stored_vectors,
    tables,
)

NETWORKS = [LinearProjection, SharedMLP, MixtureOfExperts]


@pytest.mark.parametrize("make", NETWORKS)
@pytest.mark.parametrize("sources", [(), ("item", "item")])
def test_sources_must_be_distinct(
    make: Callable[..., SourceNetwork], sources: tuple[str, ...]
) -> None:
    with pytest.raises(ValueError, match="sources must be distinct names, at least one"):
        make(sources)


@pytest.mark.parametrize("make", NETWORKS)
def test_inputs_must_have_the_sources(make: Callable[..., SourceNetwork]) -> None:
    layer = make(("item", "user"))
    with pytest.raises(ValueError, match=r"sources \['item', 'user'\]. Received: \['item'\]"):
        layer(source_vectors(item=(2, 5)))
    layer(source_vectors(item=(2, 5), user=(1, 5)))
    with pytest.raises(ValueError, match=r"Received: \['brand', 'item', 'user'\]"):
        layer(source_vectors(item=(2, 5), user=(1, 5), brand=(1, 5)))


@pytest.mark.parametrize("make", [SharedMLP, MixtureOfExperts])
def test_shared_weights_need_one_width(make: Callable[..., SourceNetwork]) -> None:
    with pytest.raises(ValueError, match="must have one width. Received: {'item': 5, 'user': 4}"):
        make(("item", "user"))(source_vectors(item=(2, 5), user=(1, 4)))


@pytest.mark.parametrize("make", NETWORKS)
def test_widths_must_be_known(make: Callable[..., SourceNetwork]) -> None:
    with pytest.raises(ValueError, match="widths of all sources must be known"):
        make(("item",)).build({"item": [None, None]})


@pytest.mark.parametrize(
    ("make", "arguments", "message"),
    [
        (LinearProjection, {"width": 0}, "width of the outputs must be positive. Received: 0"),
        (SharedMLP, {"units": ()}, "units must be positive widths"),
        (SharedMLP, {"units": (4, 0)}, "units must be positive widths"),
        (SharedMLP, {"dropout_rate": 1.0}, "dropout_rate must be in"),
        (MixtureOfExperts, {"num_experts": 0}, "there must be an expert. Received: num_experts=0"),
        (MixtureOfExperts, {"expert_units": ()}, "expert_units must be positive widths"),
        (MixtureOfExperts, {"expert_units": (0, 4)}, "expert_units must be positive widths"),
        (MixtureOfExperts, {"dropout_rate": -0.1}, "dropout_rate must be in"),
    ],
)
def test_arguments_out_of_range_are_refused(
    make: Callable[..., SourceNetwork], arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        make(("item",), **arguments)


@pytest.mark.parametrize("make", NETWORKS)
def test_shapes_are_known_before_the_call_and_batches_may_differ(
    make: Callable[..., SourceNetwork],
) -> None:
    layer = make(("item", "user"))
    shapes = layer.compute_output_shape({"item": [None, 5], "user": [8, 5]})
    assert [shape.as_list() for shape in shapes.values()] == [[None, 32], [8, 32]]
    outputs = layer(source_vectors(item=(0, 5), user=(3, 5)))
    assert [vectors.shape for vectors in outputs.values()] == [(0, 32), (3, 32)]
    alone = layer(source_vectors(item=(1, 5), user=(1, 5)))
    assert np.isfinite(alone["item"]).all()


class TestNetworkAdapter:
    @pytest.mark.parametrize("name", ["linear", "mlp", "moe", "hein"])
    @pytest.mark.parametrize("standardized", [False, True])
    def test_augmented_vectors_are_those_of_the_network(
        self, name: str, standardized: bool
    ) -> None:
        layer = adapter(name, standardized_knowledge=standardized)
        assert isinstance(layer, NetworkAdapter)
        rows = rows_of([3, 1, 3, 6, 3, 1], [2, 2, 1, 3, 3, 2])
        vectors = {}
        for source, source_rows in rows.items():
            known = stored_vectors(layer.tables[source])
            if standardized:
                known = (known - known.mean(axis=0)) / known.std(axis=0)
            vectors[source] = known[source_rows.numpy() - 1].astype(np.float32)
        expected = layer.network(vectors)
        for source, source_rows in layer(rows).items():
            np.testing.assert_allclose(source_rows, expected[source], atol=1e-5)

    def test_the_network_gives_order_and_width(self) -> None:
        layer = NetworkAdapter(tables(), LinearProjection(("user", "item"), 7))
        assert (layer.sources, layer.width) == (("user", "item"), 7)
        assert tuple(layer(rows_of([1], [1]))) == ("user", "item")

    def test_a_network_that_is_in_use_keeps_its_weights(self) -> None:
        network = LinearProjection(("item", "user"), 4)
        network({"item": np.ones([1, DIMENSION]), "user": np.ones([1, DIMENSION])})
        before = [weight.numpy() for weight in network.weights]
        layer = NetworkAdapter(tables(), network)
        layer(rows_of([1], [1]))
        assert len(network.weights) == len(before) == 4
        for weight, value in zip(network.weights, before, strict=True):
            np.testing.assert_array_equal(weight, value)

    def test_tables_of_other_sources_are_refused(self) -> None:
        network = HybridExpertNetwork(("item", "user"), 1, 2, (6, 3))
        with pytest.raises(
            ValueError, match=r"tables \['item'\] must be those of sources \['item', 'user'\]"
        ):
            GatedAdapter({"item": tables()["item"]}, network)

    @pytest.mark.parametrize(("name", "experts"), [("hein", 3), ("moe", 4)])
    def test_gates_are_those_of_the_network(self, name: str, experts: int) -> None:
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
    def test_networks_without_experts_have_no_gates(self, name: str) -> None:
        assert not isinstance(adapter(name), GatedAdapter)
