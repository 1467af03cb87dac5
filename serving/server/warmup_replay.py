"""Replays the warm-up requests that an export carries, so that no caller pays for first runs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import tensorflow as tf

from configs.serving import MOST_WARMUP_REQUESTS
from preprocessing.records.tfrecord_file import BrokenRecord, records_in
from serving.protocol.messages import prediction_log_pb2
from serving.protocol.tensors import unpack
from serving.server import metrics
from serving.server.errors import invalid
from serving.server.example_inference import classify, regress
from serving.server.servable import Servable, signature_name_of
from serving.warmup import WARMUP_FILE


def replay_warmup(servable: Servable, folder: Path) -> None:
    """Runs the logged requests of Predict, Classify and Regress.

    Args:
      servable: a version that serves no requests yet.
      folder: its version folder; without a warm-up file nothing runs.

    Raises:
      RequestError: a request fails, there are more than 1000, or one is of another kind; as in
        TensorFlow Serving the version then counts as broken.
      tensorflow.errors.DataLossError: the file is damaged, or cut off anywhere, which TensorFlow
        Serving takes for its end where only a record's length is incomplete.
      OSError: the file cannot be read.
      google.protobuf.message.DecodeError: a record is no PredictionLog.
    """
    path = folder / WARMUP_FILE
    if not path.is_file():
        return
    with metrics.timed_warmup(str(folder)):
        for number, record in enumerate(_records(path), 1):
            if number > MOST_WARMUP_REQUESTS:
                raise invalid(
                    f"Number of warmup records exceeds the maximum ({MOST_WARMUP_REQUESTS}): {path}"
                )
            _replay(servable, prediction_log_pb2.PredictionLog.FromString(record))


def _records(path: Path) -> Iterator[bytes]:
    # TensorFlow's own reader is a graph, which takes longer to build than the requests to run.
    try:
        yield from records_in(iter([path.read_bytes()]))
    except BrokenRecord as error:
        message = f"{path}: record {error.number}: {error}"
        raise tf.errors.DataLossError(None, None, message) from error


def _replay(servable: Servable, log: prediction_log_pb2.PredictionLog) -> None:
    kind = log.WhichOneof("log_type")
    if kind == "predict_log":
        request = log.predict_log.request
        inputs = {name: unpack(tensor) for name, tensor in request.inputs.items()}
        servable.run(signature_name_of(request.model_spec), inputs, request.output_filter)
    elif kind == "classify_log":
        classified = log.classify_log.request
        classify(servable, signature_name_of(classified.model_spec), classified.input)
    elif kind == "regress_log":
        regressed = log.regress_log.request
        regress(servable, signature_name_of(regressed.model_spec), regressed.input)
    else:
        raise invalid(f"Unsupported log_type for warmup: {kind}")
