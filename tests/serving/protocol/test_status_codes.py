from __future__ import annotations

import grpc
import tensorflow as tf

from serving.protocol.messages import STATUS_CODES


def test_numbers_are_those_of_tensorflow() -> None:
    assert STATUS_CODES[tf.errors.INVALID_ARGUMENT] is grpc.StatusCode.INVALID_ARGUMENT
    assert STATUS_CODES[tf.errors.DATA_LOSS] is grpc.StatusCode.DATA_LOSS
    assert STATUS_CODES[0] is grpc.StatusCode.OK
    assert set(STATUS_CODES) == set(range(17))
