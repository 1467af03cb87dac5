"""What every layer must do alike, and that its configuration makes it again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import tensorflow as tf

from models.layers.attention import FieldSelfAttention, MaskedMultiHeadAttention, TargetAttention
from models.layers.gates import FactorGate, FeatureGate, MaskBlock, SqueezeExcitation, ZeroStart
from models.layers.interaction import (
    BILINEAR_KINDS,
    BilinearFusion,
    BilinearInteraction,
    CompressedInteractionNetwork,
    FactorizationMachine,
    FieldGraph,
    InnerProducts,
    OuterProduct,
    VectorCross,
)
from models.layers.normalization import Dice, FieldNormalization
from models.layers.sequence import GRU_KINDS, AttentionGRU, HistoryTransformer, TransformerBlock
from models.layers.set_attention import (
    FeatureAffinity,
    InducedSetAttention,
    SetAttentionBlock,
    SetToListAttention,
)
from tests.models.layers.contract import (
    Arrays,
    assert_every_weight_learns,
    assert_rows_do_not_mix,
    assert_runs_in_mixed_precision,
    assert_survives_saving,
    built,
    in_both_formats,
    normal,
    set_mask,
)
from tests.models.network_contract import assert_configuration_keeps, names_with_slow_variants


class Case(NamedTuple):
    """A layer with inputs.

    Attributes:
      make: a new layer.
      inputs: arrays [batch, ...].
      weights: shapes of its trainable weights, or how many there are.
      tolerance: of its outputs in bfloat16.
    """

    make: Callable[[], tf.keras.layers.Layer]
    inputs: Arrays
    weights: int | list[tuple[int, ...]]
    tolerance: float = 0.1


def gru(kind: str, return_sequences: bool = False) -> Case:
    """Histories with padding in front, behind, between and everywhere."""
    mask = np.array([[0, 0, 1, 1, 1], [1, 1, 1, 0, 0], [1, 0, 1, 0, 1], [0, 0, 0, 0, 0]], bool)
    weights = np.random.default_rng(1).uniform(size=[4, 5]).astype(np.float32)
    inputs = (normal(4, 5, 3), mask, *([] if kind == "gru" else [weights]))
    return Case(lambda: AttentionGRU(2, kind, return_sequences=return_sequences), inputs, 3)


def transformer(**options: Any) -> Case:
    given = {"units": 6, "num_heads": 2, "feed_forward_units": 8, "num_positions": 5} | options
    # Projections of the steps and of the candidate, the latter with bias, and positions.
    count = 1 + 2 + 1 + 12 * given.get("num_blocks", 1)
    return Case(lambda: HistoryTransformer(**given), HISTORIES, count)


# Of 5, 3, 1 and 0 real steps, padded in front.
HISTORY_MASK = np.arange(5) >= np.array([[0], [2], [4], [5]])
HISTORIES = (normal(4, 3), normal(4, 5, 7, seed=1), HISTORY_MASK)
STEPS_MASK = np.array([[1, 1, 1, 1], [1, 0, 1, 1], [0, 0, 0, 0], [0, 0, 0, 1]], dtype=bool)
FIELDS = normal(5, 4, 3)
BLOCK_INPUTS = (normal(4, 6), normal(4, 5, 6, seed=1), HISTORY_MASK)
SET_TO_LIST_INPUTS = (
    normal(4, 5, 6),
    set_mask(),
    normal(4, 4, 5, seed=1),
    STEPS_MASK,
    normal(4, 5, 4, seed=2),
    1 + np.random.default_rng(3).uniform(size=[4, 5, 4]).astype(np.float32),
)
# Other forms of a layer follow its name and a hyphen.
CASES: dict[str, Case] = {
    "FieldSelfAttention": Case(lambda: FieldSelfAttention(2, 3), normal(3, 4, 5), 1),
    "FieldSelfAttention-plain": Case(
        lambda: FieldSelfAttention(2, 3, residual=False), normal(3, 4, 5), 1
    ),
    "MaskedMultiHeadAttention": Case(
        lambda: MaskedMultiHeadAttention(8, 2),
        (normal(4, 3, 4), normal(4, 5, 6, seed=1), set_mask()),
        4,
    ),
    "FactorGate": Case(FactorGate, normal(5, 3, 4), 2),
    "FeatureGate": Case(lambda: FeatureGate((6,)), (normal(5, 4), normal(5, 3, seed=1)), 4),
    # Two dense layers with bias, one without, and a normalisation.
    "MaskBlock": Case(lambda: MaskBlock(6), (normal(5, 7), normal(5, 4, seed=1)), 2 * 2 + 1 + 2),
    "SqueezeExcitation": Case(SqueezeExcitation, normal(6, 4, 5), 2),
    "SqueezeExcitation-sigmoid": Case(
        lambda: SqueezeExcitation(activation="sigmoid"), normal(6, 4, 5), 2
    ),
    "ZeroStart": Case(ZeroStart, normal(5, 3, 4), [(3,)]),
    "BilinearFusion": Case(lambda: BilinearFusion(2), (normal(5, 6), normal(5, 4, seed=1)), 3),
    "BilinearInteraction": Case(lambda: BilinearInteraction("field_interaction"), FIELDS, 3),
    "BilinearInteraction-all": Case(lambda: BilinearInteraction("field_all"), FIELDS, 1),
    "BilinearInteraction-each": Case(lambda: BilinearInteraction("field_each"), FIELDS, 3),
    "CompressedInteractionNetwork": Case(
        lambda: CompressedInteractionNetwork((3, 2)),
        normal(3, 4, 5) / 2,
        [(16, 3), (12, 2)],
        tolerance=0.05,
    ),
    "FactorizationMachine": Case(FactorizationMachine, normal(3, 4, 5), 0),
    # Edge scorer, sending and receiving matrices, bias, and three weights of the cell.
    "FieldGraph": Case(FieldGraph, normal(3, 4, 5), 4 + 3),
    "InnerProducts": Case(InnerProducts, FIELDS, 0),
    "OuterProduct": Case(OuterProduct, FIELDS, 0, tolerance=0.2),
    "VectorCross": Case(VectorCross, (normal(4, 5), normal(4, 5, seed=1)), [(5, 1), (5,)]),
    "FieldNormalization": Case(FieldNormalization, 3 * FIELDS + 2, 2),
    "AttentionGRU": gru("augru"),
    **{f"AttentionGRU-{kind}": gru(kind) for kind in GRU_KINDS if kind != "augru"},
    **{f"AttentionGRU-{kind} of all steps": gru(kind, True) for kind in GRU_KINDS},
    "HistoryTransformer": transformer(outputs="all", num_blocks=2, dropout_rate=0.2),
    "HistoryTransformer-candidate": transformer(),
    "HistoryTransformer-all": transformer(outputs="all"),
    "HistoryTransformer-2 blocks": transformer(num_blocks=2),
    "HistoryTransformer-3 positions": transformer(outputs="all", num_blocks=2, num_positions=3),
    "HistoryTransformer-2 positions": transformer(num_positions=2),
    # Four projections, two dense layers with bias, two normalisations.
    "TransformerBlock": Case(
        lambda: TransformerBlock(2, 7, dropout_rate=0.2, candidate_only=True), BLOCK_INPUTS, 12
    ),
    "TransformerBlock-all": Case(lambda: TransformerBlock(2, 7), BLOCK_INPUTS, 12),
    "FeatureAffinity": Case(
        FeatureAffinity, (normal(4, 5, 3, 5), normal(4, 4, 2, 5, seed=1)), 3, tolerance=0.2
    ),
    # The points and two blocks.
    "InducedSetAttention": Case(
        lambda: InducedSetAttention(num_points=3, num_heads=2, feed_forward_units=7),
        (normal(4, 5, 6), set_mask()),
        1 + 2 * 12,
    ),
    "SetAttentionBlock": Case(
        lambda: SetAttentionBlock(2, 7), (normal(4, 3, 6), normal(4, 5, 5, seed=1), set_mask()), 12
    ),
    "SetToListAttention": Case(SetToListAttention, SET_TO_LIST_INPUTS, 3),
}
every_case = pytest.mark.parametrize("name", CASES)


@every_case
def test_every_weight_learns(name: str) -> None:
    case = CASES[name]
    tf.keras.utils.set_random_seed(0)
    layer = built(case.make(), case.inputs)
    shapes = [tuple(weight.shape) for weight in layer.trainable_weights]
    assert case.weights in (shapes, len(shapes))
    if shapes:
        assert_every_weight_learns(layer, case.inputs)


@every_case
def test_rows_do_not_mix(name: str) -> None:
    case = CASES[name]
    assert_rows_do_not_mix(built(case.make(), case.inputs), case.inputs)


@in_both_formats
@names_with_slow_variants(CASES)
def test_survives_saving(name: str, file: str, tmp_path: Path) -> None:
    case = CASES[name]
    assert_survives_saving(built(case.make(), case.inputs), case.inputs, tmp_path / file)


@every_case
def test_runs_in_mixed_precision(name: str) -> None:
    case = CASES[name]
    assert_runs_in_mixed_precision(case.make, case.inputs, case.tolerance)


CONFIGURATIONS: list[tuple[type[tf.keras.layers.Layer], dict[str, Any]]] = [
    (TargetAttention, {"hidden_units": (7, 5), "softmax": True, "dice_statistics": "batch"}),
    (
        FieldSelfAttention,
        {
            "num_heads": 2,
            "head_units": 3,
            "scaled": False,
            "residual": False,
            "dropout_rate": 0.25,
        },
    ),
    (FeatureGate, {"hidden_units": (6, 5)}),
    (MaskBlock, {"units": 6, "reduction_ratio": 1.5}),
    (SqueezeExcitation, {"factor": 0.5, "activation": "sigmoid"}),
    (BilinearFusion, {"num_heads": 4}),
    *((BilinearInteraction, {"kind": kind}) for kind in BILINEAR_KINDS),
    (CompressedInteractionNetwork, {"units": (3, 2)}),
    (FieldGraph, {"num_steps": 3, "residual": False}),
    (Dice, {"momentum": 0.8, "epsilon": 1e-3, "statistics": "batch"}),
    (FieldNormalization, {"epsilon": 1e-3}),
    (AttentionGRU, {"units": 7, "kind": "agru", "return_sequences": True}),
    (
        HistoryTransformer,
        {
            "units": 6,
            "num_heads": 2,
            "num_blocks": 2,
            "outputs": "all",
            "feed_forward_units": 8,
            "num_positions": 5,
            "dropout_rate": 0.25,
        },
    ),
    (
        TransformerBlock,
        {"num_heads": 2, "feed_forward_units": 7, "dropout_rate": 0.25, "candidate_only": True},
    ),
    (
        InducedSetAttention,
        {"num_points": 3, "num_heads": 2, "feed_forward_units": 7, "dropout_rate": 0.25},
    ),
    (SetAttentionBlock, {"num_heads": 2, "feed_forward_units": 7, "dropout_rate": 0.25}),
]


@pytest.mark.parametrize(("kind", "options"), CONFIGURATIONS)
def test_configuration_makes_the_same_layer_again(
    kind: type[tf.keras.layers.Layer], options: dict[str, Any]
) -> None:
    assert_configuration_keeps(kind, options)
