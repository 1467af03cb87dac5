from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import grpc
import pytest
import tensorflow as tf

from serving.protocol.messages import STATUS_CODES

LIGHT = """
import sys
from serving.protocol.messages import predict_pb2, prediction_service_pb2_grpc
from serving.client import RankingClient
assert "tensorflow" not in sys.modules
assert not [name for name in sys.modules if name.startswith("tensorflow.python")]
"""

REAL = """
import tensorflow as tf
assert tf.constant([1.5, 2.5]).numpy().tolist() == [1.5, 2.5]
"""

TOGETHER = """
request = predict_pb2.PredictRequest()
request.inputs["a"].CopyFrom(tf.make_tensor_proto([1.5, 2.5]))
assert tf.make_ndarray(request.inputs["a"]).tolist() == [1.5, 2.5]
from tensorflow.core.framework import tensor_pb2
from serving.protocol import messages
assert type(request.inputs["a"]) is tensor_pb2.TensorProto is messages.tensor_pb2.TensorProto
assert tf.train.Example is messages.example_pb2.Example
assert not hasattr(tf, "core")
import tensorflow_recommenders
print("fine")
"""


@pytest.mark.parametrize("order", [(LIGHT, REAL), (REAL, LIGHT.split("assert")[0])])
def test_messages_and_tensorflow_get_along_in_both_orders(
    order: tuple[str, str], repository_root: Path
) -> None:
    program = "".join([*order, TOGETHER])
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=repository_root, capture_output=True, text=True
    )
    assert done.stdout == "fine\n", done.stderr


def test_numbers_are_those_of_tensorflow() -> None:
    assert STATUS_CODES[tf.errors.INVALID_ARGUMENT] is grpc.StatusCode.INVALID_ARGUMENT
    assert STATUS_CODES[tf.errors.DATA_LOSS] is grpc.StatusCode.DATA_LOSS
    assert STATUS_CODES[0] is grpc.StatusCode.OK
    assert set(STATUS_CODES) == set(range(17))
