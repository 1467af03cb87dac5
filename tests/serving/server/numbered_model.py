"""A SavedModel that adds its own number, so an answer tells which version gave it."""

from __future__ import annotations

import atexit
import functools
import shutil
import tempfile
from pathlib import Path

import numpy as np
import tensorflow as tf

from serving.protocol.messages import predict_pb2, prediction_log_pb2
from serving.protocol.tensors import pack, unpack


class NumberedModel(tf.Module):
    def __init__(self, number: float):
        super().__init__()
        self.number = tf.Variable(number)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32)])
    def add(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"y": x + self.number}


@functools.cache
def _saved(number: int) -> Path:
    folder = Path(tempfile.mkdtemp(prefix="numbered_model_"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    model = NumberedModel(float(number))
    tf.saved_model.save(model, str(folder / "model"), signatures=model.add)
    return folder / "model"


def put_numbered_model(base: Path, version: int, warmup: bytes | None = None) -> Path:
    """Puts a version whose number is the version into a base path, as one move.

    Args:
      base: made if it does not exist.
      version: the folder's name and the model's number.
      warmup: one record of a warm-up file.
    """
    base.mkdir(parents=True, exist_ok=True)
    unfinished = base / f"unfinished-{version}"
    shutil.copytree(_saved(version), unfinished)
    if warmup is not None:
        file = unfinished / "assets.extra" / "tf_serving_warmup_requests"
        file.parent.mkdir()
        with tf.io.TFRecordWriter(str(file)) as writer:
            writer.write(warmup)
    return unfinished.rename(base / str(version))


def add_request(
    x: list[float], model: str = "numbered", **choice: object
) -> predict_pb2.PredictRequest:
    """A request; the answer is x + version."""
    request = predict_pb2.PredictRequest(model_spec={"name": model, **choice})
    request.inputs["x"].CopyFrom(pack(np.asarray(x, np.float32)))
    return request


def answer_of(response: predict_pb2.PredictResponse) -> list[float]:
    """The values of a response."""
    return unpack(response.outputs["y"]).tolist()


def warmup_record(request: predict_pb2.PredictRequest) -> bytes:
    """A Predict request as a record of a warm-up file."""
    log = prediction_log_pb2.PredictLog(request=request)
    return prediction_log_pb2.PredictionLog(predict_log=log).SerializeToString()
