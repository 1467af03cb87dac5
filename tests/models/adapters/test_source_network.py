from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from models.adapters.linear import LinearProjection
from models.adapters.mlp import SharedMLP
from models.adapters.moe import MixtureOfExperts
from models.adapters.source_network import SourceNetwork
from tests.models.adapters.cases import source_vectors

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
