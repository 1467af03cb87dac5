from __future__ import annotations

import math
from typing import Any

import pytest

from models import layer_support as checks
from models.backbones import BACKBONES
from models.building import own_options
from models.layer_support import ConfiguredLayer
from models.rerankers import RERANKERS
from models.retrieval import RETRIEVERS


@pytest.mark.parametrize(
    ("check", "right", "wrong"),
    [
        (checks.positive_count, [1, 7], [0, -1, 1.0, "1", True, None]),
        (checks.not_negative_count, [0, 7], [-1, 0.0, "0", False]),
        (checks.positive, [1e-9, 2], [0, -0.5, math.nan, math.inf, "1", True]),
        (checks.not_negative, [0, 0.5], [-1e-9, math.nan, math.inf, "1", False]),
        (checks.positive_widths, [[], (1,), [3, 2]], [[0], (2, -1), ["a", "b"], [1.5], 3, "ab"]),
        (checks.at_least_one_width, [(1,), [3, 2]], [[], (), [0], ["a"], 3]),
    ],
)
def test_what_a_check_takes_and_refuses(check: Any, right: list[Any], wrong: list[Any]) -> None:
    for value in right:
        check(width=value)
    for value in wrong:
        with pytest.raises(ValueError, match=r"^width must .*\. Received: width=") as caught:
            check(width=value)
        assert str(caught.value).endswith(f"width={value!r}")


def test_every_one_of_several_options_is_checked() -> None:
    with pytest.raises(ValueError, match=r"^second must .*Received: second=0$"):
        checks.positive_count(first=1, second=0, third=2)


def test_a_word_must_be_known() -> None:
    checks.one_of(("inner", "outer"), product="outer")
    with pytest.raises(ValueError) as caught:
        checks.one_of(("inner", "outer"), product="cross")
    assert (
        str(caught.value) == "product must be one of ('inner', 'outer'). Received: product='cross'"
    )


@pytest.mark.parametrize("heads", [0, -2, 1.0])
def test_heads_are_a_positive_count(heads: Any) -> None:
    with pytest.raises(ValueError, match=f"^num_heads must .*Received: num_heads={heads}$"):
        checks.dividing_heads(heads, units=4)


def test_heads_must_divide_every_width() -> None:
    checks.dividing_heads(2, first=6, second=4)
    message = "^num_heads must divide first and second. Received: num_heads=3, first=6, second=4$"
    with pytest.raises(ValueError, match=message):
        checks.dividing_heads(3, first=6, second=4)


def test_shares_are_below_one() -> None:
    checks.share_below_one(dropout_rate=0, rate=0.99)
    for rate in (-0.1, 1.0, math.nan, "half"):
        with pytest.raises(ValueError, match=r"^dropout_rate must be in \[0, 1\). Received: drop"):
            checks.share_below_one(dropout_rate=rate)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "backbone"), (BACKBONES | RERANKERS | RETRIEVERS).items(), ids=str
)
def test_every_backbone_checks_and_keeps_its_top_network(name: str, backbone: Any) -> None:
    layer = backbone(top_units=[3, 2], dropout_rate=0.25)
    assert (layer.top_units, layer.dropout_rate) == ((3, 2), 0.25)
    config = layer.get_config()
    assert (config["top_units"], config["dropout_rate"]) == ([3, 2], 0.25)
    assert own_options(backbone).keys() < config.keys()
    with pytest.raises(ValueError, match=r"^dropout_rate must .*Received: dropout_rate=1$"):
        backbone(top_units=[3, 2], dropout_rate=1)
    with pytest.raises(ValueError, match=r"^top_units must .*Received: top_units=\[0\]$"):
        backbone(top_units=[0])


def test_a_configured_layer_is_made_again_from_its_own_and_inherited_arguments() -> None:
    class Parent(ConfiguredLayer):
        def __init__(self, widths: tuple[int, ...], **kwargs: object) -> None:
            super().__init__(**kwargs)
            self.widths = widths

    class Child(Parent):
        pass

    config = Child((3, 2), name="child").get_config()
    assert (config["name"], config["widths"]) == ("child", [3, 2])
    assert Child.from_config(config).get_config() == config
