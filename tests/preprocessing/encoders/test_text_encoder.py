from __future__ import annotations

import typing

import numpy as np

from configs.knowledge import Encoder
from preprocessing.encoders.text_encoder import average_of_windows, encoder_class


def test_every_kind_of_the_configuration_has_an_encoder():
    kinds = typing.get_args(Encoder.model_fields["kind"].annotation)
    assert {kind: encoder_class(kind).__name__ for kind in kinds} == {
        "minilm": "MiniLmEncoder",
        "tfidf": "TfidfEncoder",
        "sentence-transformers": "SentenceTransformersEncoder",
        "endpoint": "EndpointEncoder",
    }


def test_windows_count_by_their_tokens():
    windows = np.array([[1.0, 0.0], [4.0, 8.0], [5.0, 5.0]], np.float32)
    averaged = average_of_windows(windows, [30, 10, 7], [1, 1, 0], 2)
    np.testing.assert_allclose(averaged, [[5, 5], [(30 + 40) / 40, 80 / 40]])
    assert averaged.dtype == np.float32


def test_one_window_keeps_its_vector_to_the_last_bit():
    rng = np.random.default_rng(1)
    windows = rng.normal(scale=0.3, size=(2000, 5)).astype(np.float32)
    averaged = average_of_windows(windows, rng.integers(1, 513, 2000), range(2000), 2000)
    np.testing.assert_array_equal(averaged, windows)
