from __future__ import annotations

import numpy as np

from preprocessing.encoders.text_encoder import average_of_windows


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
