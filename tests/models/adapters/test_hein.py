from __future__ import annotations

from models.adapters.hein import hein_adapter
from models.hein import HybridExpertNetwork
from tests.models.adapters.cases import options, tables


def test_the_network_has_the_configured_shape() -> None:
    shape = {
        "num_shared_experts": 3,
        "num_dedicated_experts": 4,
        "expert_units": (9, 3),
        "dropout_rate": 0.25,
    }
    layer = hein_adapter(options(hein=shape, knowledge_dropout_rate=0.125), tables())
    assert isinstance(layer.network, HybridExpertNetwork)
    assert layer.network.sources == layer.sources == ("item", "user")
    assert {name: getattr(layer.network, name) for name in shape} == shape
    assert (layer.knowledge_dropout_rate, layer.standardized) == (0.125, False)
