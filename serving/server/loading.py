"""Loads one version of a model, warmed up, ready to be served."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import grpc
import tensorflow as tf

from configs.serving import MOST_WARMUP_REQUESTS
from preprocessing.records.tfrecord_file import BrokenRecord, records_in
from serving.protocol.messages import prediction_log_pb2
from serving.protocol.tensors import unpack
from serving.publishing import WARMUP_FILE
from serving.server import metrics
from serving.server.errors import RequestError, invalid
from serving.server.example_inference import classify, regress
from serving.server.servable import Servable, signature_name_of, status_code_of


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


def load_servable(name: str, version: int, folder: Path) -> Servable:
    """Loads and warms up.

    Args:
      name: the model's name in requests.
      version: the folder's number.
      folder: the SavedModel.

    Raises:
      Exception: whatever TensorFlow or the warm-up raises when the version is broken.
    """
    with metrics.counted_load(str(folder)):
        servable = Servable(name, version, folder)
        replay_warmup(servable, folder)
    return servable


def load_failure(folder: Path, error: Exception) -> tuple[grpc.StatusCode, str]:
    """The status of a version that cannot be loaded: a code, and one line that names the folder."""
    if not (folder / "saved_model.pb").is_file():
        message = f"{folder}: no saved_model.pb (an export that was not finished?)"
        return grpc.StatusCode.NOT_FOUND, message
    first_line = (str(error).strip().splitlines() or [""])[0]
    if isinstance(error, RequestError):
        return error.code, f"{folder}: a warm-up request failed: {first_line}"
    code = (
        status_code_of(error)
        if isinstance(error, tf.errors.OpError)
        else grpc.StatusCode.FAILED_PRECONDITION
    )
    return code, f"{folder}: not a loadable SavedModel ({type(error).__name__}: {first_line})"
