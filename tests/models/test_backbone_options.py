from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
import tensorflow as tf

from models.backbones import BACKBONES
from models.building import checked_options, own_options
from models.rerankers import RERANKERS
from models.retrieval import RETRIEVERS

MODELS: dict[str, type[tf.keras.layers.Layer]] = {**BACKBONES, **RERANKERS, **RETRIEVERS}

# Values of the right kind that make no sense: at least one of every option that could have one.
SENSELESS: list[tuple[str, dict[str, Any]]] = [
    ("autoint", {"num_layers": -1}),
    ("autoint", {"num_heads": 0}),
    ("autoint", {"head_units": 0}),
    ("bst", {"units": 0}),
    ("bst", {"num_blocks": 0}),
    ("bst", {"num_heads": 5}),
    ("bst", {"feed_forward_units": 0}),
    ("bst", {"num_positions": -3}),
    ("bst", {"outputs": "last"}),
    ("dcn", {"num_crosses": -1}),
    ("dcnv2", {"num_crosses": -1}),
    ("dien", {"evolution": "foo"}),
    ("dien", {"auxiliary_weight": -1.0}),
    ("din", {"dice_statistics": "layer"}),
    ("dlrm", {"bottom_units": (0,)}),
    ("fibinet", {"bilinear_kind": "all"}),
    ("fibinet", {"excitation_factor": -2.0}),
    ("fibinet", {"excitation_activation": "foo"}),
    ("fignn", {"num_steps": -1}),
    ("fignn", {"attention_heads": -1}),
    ("finalmlp", {"second_top_units": (4, 0)}),
    ("finalmlp", {"second_top_units": ()}),
    ("finalmlp", {"gating": "user"}),
    ("finalmlp", {"gate_units": (-1,)}),
    ("finalmlp", {"num_heads": 7}),
    ("finalmlp", {"num_heads": 2, "second_top_units": (4, 3)}),
    ("masknet", {"arrangement": "both"}),
    ("masknet", {"num_blocks": 0}),
    ("masknet", {"block_units": 0}),
    ("masknet", {"reduction_ratio": 0.0}),
    ("pnn", {"product": "cross"}),
    ("xdeepfm", {"interaction_units": (0,)}),
    ("xdeepfm", {"interaction_units": ()}),
    ("dlcm", {"units": 0}),
    ("dlcm", {"context_units": 0}),
    ("mir", {"units": 0}),
    ("mir", {"num_heads": 0}),
    ("mir", {"num_heads": 5}),
    ("prm", {"units": 0}),
    ("prm", {"num_blocks": 0}),
    ("prm", {"num_heads": 0}),
    ("prm", {"num_heads": 5}),
    ("prm", {"feed_forward_units": 0}),
    ("prm", {"num_positions": -3}),
    ("setrank", {"attention": "sparse"}),
    ("setrank", {"units": 0}),
    ("setrank", {"num_blocks": 0}),
    ("setrank", {"num_heads": 0}),
    ("setrank", {"num_heads": 5, "attention": "full"}),
    ("setrank", {"feed_forward_units": 0}),
    ("setrank", {"num_points": 0}),
    ("two_tower", {"output_units": 0}),
    ("two_tower", {"temperature": 0.0}),
    ("two_tower", {"pooling": "last"}),
    ("two_tower", {"interest_units": 0}),
]


@pytest.mark.parametrize("name", MODELS)
def test_every_option_has_a_default_that_its_model_takes(name: str) -> None:
    options = own_options(MODELS[name])
    assert not {"top_units", "dropout_rate", "self", "kwargs"} & options.keys()
    checked = checked_options(name, MODELS[name], options)
    layer = MODELS[name](**checked)
    config = layer.get_config()
    assert {key: config[key] for key in options} == {
        key: list(value) if isinstance(value, tuple) else value for key, value in options.items()
    }


def test_values_of_a_configuration_become_arguments() -> None:
    checked = checked_options("xdeepfm", BACKBONES["xdeepfm"], {"interaction_units": [30, 20]})
    assert checked == {"interaction_units": (30, 20)}
    checked = checked_options("dien", BACKBONES["dien"], {"auxiliary_weight": 1})
    assert isinstance(checked["auxiliary_weight"], float)
    for value, expected in (([30, 20], (30, 20)), (None, None)):
        options = {"second_top_units": value}
        assert checked_options("finalmlp", BACKBONES["finalmlp"], options) == {
            "second_top_units": expected
        }


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("dcnv2", {"num_cross": 2}, "'dcnv2' has no 'num_cross'.*Did you mean 'num_crosses'"),
        ("deepfm", {"num_crosses": 2}, "'deepfm' has no 'num_crosses'; it has none"),
        ("dcnv2", {"top_units": [3]}, "has no 'top_units'"),
        ("dcnv2", {"num_crosses": "three"}, "num_crosses must be a whole number. Received: 'thr"),
        ("dcnv2", {"num_crosses": True}, "must be a whole number. Received: True"),
        ("dcnv2", {"num_crosses": 2.0}, "must be a whole number. Received: 2.0"),
        ("dcnv2", {"num_crosses": None}, "must be a whole number. Received: None"),
        ("bst", {"outputs": 3}, "outputs must be a word. Received: 3"),
        ("xdeepfm", {"interaction_units": 3}, "units must be a list of whole numbers. Received: 3"),
        ("xdeepfm", {"interaction_units": "ab"}, "must be a list of whole numbers. Received: 'ab'"),
        (
            "xdeepfm",
            {"interaction_units": ["a", "b"]},
            r"options.interaction_units must be a list of whole numbers. Received: \['a', 'b'\]",
        ),
        ("dlrm", {"bottom_units": [8, 2.5]}, r"a list of whole numbers. Received: \[8, 2.5\]"),
        (
            "finalmlp",
            {"second_top_units": "foo"},
            "options.second_top_units must be a list of whole numbers or null. Received: 'foo'",
        ),
        ("finalmlp", {"second_top_units": [True]}, r"whole numbers or null. Received: \[True\]"),
        ("din", {"attention_softmax": "yes"}, "must be true or false. Received: 'yes'"),
        ("din", {"attention_softmax": 1}, "must be true or false. Received: 1"),
        ("dien", {"auxiliary_weight": "much"}, "must be a number. Received: 'much'"),
        ("dien", {"auxiliary_weight": True}, "must be a number. Received: True"),
    ],
)
def test_what_a_backbone_cannot_take_is_refused(
    name: str, options: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        checked_options(name, BACKBONES[name], options)


class OwnKinds(tf.keras.layers.Layer):
    """A backbone with options of kinds that no configuration can be checked for."""

    def __init__(
        self,
        table: Mapping[str, int],
        names: Sequence[Mapping[str, int]] = (),
        anything: object = None,
    ):
        super().__init__()


def test_other_annotations_are_left_to_the_constructor() -> None:
    options = {"table": {"a": 1}, "names": [{"b": 2}], "anything": "x"}
    assert checked_options("own", OwnKinds, options) == options | {"names": ({"b": 2},)}
    with pytest.raises(ValueError, match="names must be a list. Received: 3"):
        checked_options("own", OwnKinds, {"names": 3})


@pytest.mark.parametrize(("name", "options"), SENSELESS, ids=str)
def test_senseless_values_are_refused_by_the_constructor(
    name: str, options: dict[str, Any]
) -> None:
    checked_options(name, MODELS[name], options)
    option, value = next(iter(options.items()))
    message = rf"^\w+ must .*Received: .*\b{option}="
    with pytest.raises(ValueError, match=message) as caught:
        MODELS[name](**options)
    reason = str(caught.value)
    assert f"{option}={value!r}" in reason or "second_width=3" in reason


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize(
    "options", [{"top_units": (0,)}, {"top_units": ("a",)}, {"dropout_rate": 1.0}], ids=str
)
def test_the_top_network_of_every_model_is_checked(name: str, options: dict[str, Any]) -> None:
    ((option, value),) = options.items()
    with pytest.raises(ValueError, match=f"^{option} must ") as caught:
        MODELS[name](**options)
    assert str(caught.value).endswith(f"Received: {option}={value!r}")


def test_no_option_is_left_out() -> None:
    tried = {(name, option) for name, options in SENSELESS for option in options}
    every = {
        (name, option)
        for name, model in MODELS.items()
        for option, default in own_options(model).items()
        if not isinstance(default, bool)
    }
    assert tried == every
