from __future__ import annotations

import pytest
import tensorflow as tf

from trainer.model_errors import reason_of


class Halving(tf.keras.layers.Layer):
    """Refuses odd widths when it is called."""

    def call(self, values: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        if values.shape[-1] % 2:
            raise ValueError("the width must be even.\nReceived: `width=3`\n\nA long lecture.")
        return values[:, ::2]


def test_the_text_of_keras_is_cut_off() -> None:
    outer = tf.keras.Sequential([Halving(name="halving")])
    with pytest.raises(ValueError, match="Call arguments received by layer") as caught:
        outer(tf.ones([2, 3]))
    assert str(caught.value).startswith("Exception encountered when calling")
    assert reason_of(caught.value) == "the width must be even. Received: `width=3`"


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (
            ValueError("no such backbone. Did you mean 'din'?"),
            "no such backbone. Did you mean 'din'?",
        ),
        (TypeError("first\n\nsecond"), "first"),
        (ValueError(), "ValueError"),
    ],
)
def test_other_errors_keep_their_first_paragraph(error: Exception, reason: str) -> None:
    assert reason_of(error) == reason


def test_the_places_of_a_kernel_in_the_runtime_are_left_out() -> None:
    with pytest.raises(tf.errors.NotFoundError, match=r"\[Op:ReadFile\]") as caught:
        tf.io.read_file("absent/file")
    assert reason_of(caught.value) == "absent/file; No such file or directory"
