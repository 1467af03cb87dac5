"""Replays the warm-up requests that an export carries, so that no caller pays for first runs."""

from __future__ import annotations

from pathlib import Path

import tensorflow as tf

from serving.protocol.messages import model_pb2, prediction_log_pb2
from serving.protocol.tensors import unpack
from serving.server import metrics
from serving.server.errors import invalid
from serving.server.example_inference import classify, regress
from serving.server.servable import DEFAULT_SIGNATURE, Servable

WARMUP_FILE = Path("assets.extra", "tf_serving_warmup_requests")
MAXIMUM_REQUESTS = 1000


def replay_warmup(servable: Servable, folder: Path) -> int:
    """Runs the logged requests of Predict, Classify and Regress.

    Args:
      servable: a version that serves no requests yet.
      folder: its version folder; without a warm-up file nothing runs.

    Returns:
      Requests that ran.

    Raises:
      RequestError: a request fails, there are more than 1000, or one is of another kind; as in
        TensorFlow Serving the version then counts as broken.
      tensorflow.errors.DataLossError: the file is damaged.
      google.protobuf.message.DecodeError: a record is no PredictionLog.
    """
    path = folder / WARMUP_FILE
    if not path.is_file():
        return 0
    count = 0
    with metrics.timed_warmup(str(folder)):
        for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
            if count == MAXIMUM_REQUESTS:
                raise invalid(
                    f"Number of warmup records exceeds the maximum ({MAXIMUM_REQUESTS}): {path}"
                )
            _replay(servable, prediction_log_pb2.PredictionLog.FromString(record))
            count += 1
    return count


def _replay(servable: Servable, log: prediction_log_pb2.PredictionLog) -> None:
    kind = log.WhichOneof("log_type")
    if kind == "predict_log":
        request = log.predict_log.request
        inputs = {name: unpack(tensor) for name, tensor in request.inputs.items()}
        servable.run(_signature(request.model_spec), inputs, request.output_filter)
    elif kind == "classify_log":
        classified = log.classify_log.request
        classify(servable, _signature(classified.model_spec), classified.input)
    elif kind == "regress_log":
        regressed = log.regress_log.request
        regress(servable, _signature(regressed.model_spec), regressed.input)
    else:
        raise invalid(f"Unsupported log_type for warmup: {kind}")


def _signature(specification: model_pb2.ModelSpec) -> str:
    return specification.signature_name or DEFAULT_SIGNATURE
