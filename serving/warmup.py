"""Warm-up requests, which TensorFlow Serving replays when it loads a version."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

from preprocessing.records.contract import REQUEST_FEATURES, FeatureType

WARMUP_BATCH_SIZES = (1, 8, 64, 100)
"""Candidates per warm-up request."""

_HISTORY_LENGTH = 30


def write_warmup_requests(version_folder: Path, model_name: str) -> Path:
    """Writes `assets.extra/tf_serving_warmup_requests`: one request per signature and batch size.

    Ids are empty, so the requests run the whole graph with unknown users and items and hold no data
    of anybody.

    Returns:
      The file.
    """
    path = version_folder / "assets.extra" / "tf_serving_warmup_requests"
    path.parent.mkdir(parents=True, exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for candidates in WARMUP_BATCH_SIZES:
            for signature, users in (("serving_default", candidates), ("rank", 1)):
                request = _request(model_name, signature, users, candidates)
                log = prediction_log_pb2.PredictionLog(
                    predict_log=prediction_log_pb2.PredictLog(request=request)
                )
                writer.write(log.SerializeToString())
    return path


def _request(
    model_name: str, signature: str, users: int, candidates: int
) -> predict_pb2.PredictRequest:
    request = predict_pb2.PredictRequest()
    request.model_spec.name = model_name
    request.model_spec.signature_name = signature
    for feature in REQUEST_FEATURES:
        rows = candidates if feature.name == "item_id" else users
        shape = [rows, _HISTORY_LENGTH] if feature.is_list else [rows]
        is_text = feature.type is FeatureType.BYTES
        values = np.full(shape, b"") if is_text else np.zeros(shape, np.float32)
        request.inputs[feature.name].CopyFrom(tf.make_tensor_proto(values))
    return request
