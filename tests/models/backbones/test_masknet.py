from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from models.backbones.base import BackboneInputs
from models.backbones.masknet import MaskNet
from tests.models.backbones.inputs import assert_logits_follow
from tests.models.numpy_layers import numpy_fields, numpy_linear, numpy_mask_block, numpy_top


def numpy_logit(layer: MaskNet, inputs: BackboneInputs, row: int, user: int) -> float:
    fields = numpy_fields(layer._fields, inputs, row, user)
    numbers = inputs.numeric[row].numpy().astype(np.float64)
    instance = np.concatenate([fields.reshape(-1), numbers])
    normalised = [
        gain * (field - field.mean()) / np.sqrt(field.var() + 1e-5) + bias
        for field, gain, bias in zip(
            fields, layer._normalise._gain.numpy(), layer._normalise._bias.numpy(), strict=True
        )
    ]
    hidden = np.concatenate([*normalised, numbers])
    if layer.arrangement == "serial":
        for block in layer._blocks:
            hidden = numpy_mask_block(block, instance, hidden)
    else:
        merged = [numpy_mask_block(block, instance, hidden) for block in layer._blocks]
        hidden = numpy_top(layer._top, np.concatenate(merged))
    return numpy_linear(layer._logit, hidden) + numpy_linear(layer._linear, numbers)


@pytest.mark.parametrize("sources", [0, 2])
@pytest.mark.parametrize(
    "options",
    [
        {"num_blocks": 2, "block_units": 5},
        {"num_blocks": 1, "block_units": 6, "reduction_ratio": 2.0},
        {"arrangement": "serial"},
    ],
    ids=str,
)
def test_logits_follow_the_formula(sources: int, options: dict[str, Any]) -> None:
    layer = MaskNet((7, 4), **options)
    assert_logits_follow(numpy_logit, layer, sources, atol=2e-5, rtol=1e-5)


def test_serial_blocks_have_the_widths_of_the_top() -> None:
    serial = MaskNet((7, 5, 4), arrangement="serial", reduction_ratio=2.0)
    assert [block.units for block in serial._blocks] == [7, 5, 4]
    parallel = MaskNet((7, 5, 4), num_blocks=2, block_units=9, reduction_ratio=2.0)
    assert [block.units for block in parallel._blocks] == [9, 9]
    assert {block.reduction_ratio for block in serial._blocks + parallel._blocks} == {2.0}


def test_options_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\('parallel', 'serial'\).*arrangement='both'"):
        MaskNet(arrangement="both")
    with pytest.raises(ValueError, match="must be a positive whole number.*num_blocks=0"):
        MaskNet(num_blocks=0)
