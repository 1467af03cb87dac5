"""Warm-up requests, which TensorFlow Serving replays when it loads a version."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

from configs.loading import ConfigurationError
from configs.serving import MOST_WARMUP_REQUESTS, WARMUP_CANDIDATES, Serving
from preprocessing.records.contract import (
    CTR,
    HISTORY_ITEM_ID,
    HISTORY_RATING,
    ITEM_ID,
    NO_ID,
    RERANK,
    RETRIEVAL,
)

WARMUP_FILE = Path("assets.extra", "tf_serving_warmup_requests")
"""Below a version folder, where TensorFlow Serving looks for them."""
_LIST_LENGTHS = {HISTORY_ITEM_ID: 30, HISTORY_RATING: 30, ITEM_ID: WARMUP_CANDIDATES}
_PROFILE_VALUES = 1

WARMED_SIGNATURES = {
    CTR: ("serving_default", "rank"),
    RERANK: ("serving_default", "rank"),
    RETRIEVAL: ("serving_default", "top_k", "user_vectors", "item_vectors"),
}
"""Kind of the model -> the signatures that have warm-up requests: those that take features."""


def check_number_of_requests(serving: Serving, kind: str) -> None:
    """Makes sure that TensorFlow Serving takes the warm-up requests of a kind of model.

    Raises:
      ConfigurationError: it would refuse so many.
    """
    signatures = len(WARMED_SIGNATURES[kind])
    number = len(serving.batch_sizes) * signatures
    if number > MOST_WARMUP_REQUESTS:
        raise ConfigurationError(
            f"serving.batch_sizes: {len(serving.batch_sizes)} sizes for {signatures} signatures "
            f"make {number} warm-up requests, and TensorFlow Serving takes {MOST_WARMUP_REQUESTS}; "
            "name fewer"
        )


def write_warmup_requests(
    version_folder: Path,
    serving: Serving,
    signatures: Mapping[str, Mapping[str, tf.TensorSpec]],
) -> Path:
    """Writes `assets.extra/tf_serving_warmup_requests`: one request per signature and batch size.

    Ids are empty, so the requests run the whole graph with unknown users and items and hold no data
    of anybody.

    Args:
      version_folder: the export.
      serving: the served model's name, and the rows of the requests: candidates, lists of
        candidates, or users.
      signatures: signature -> its inputs.

    Returns:
      The file.
    """
    path = version_folder / WARMUP_FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for rows in serving.batch_sizes:
            for signature, specifications in signatures.items():
                request = predict_pb2.PredictRequest()
                request.model_spec.name = serving.model_name
                request.model_spec.signature_name = signature
                for name, specification in specifications.items():
                    request.inputs[name].CopyFrom(_nothing(name, specification, rows))
                log = prediction_log_pb2.PredictionLog(
                    predict_log=prediction_log_pb2.PredictLog(request=request)
                )
                writer.write(log.SerializeToString())
    return path


def _nothing(name: str, specification: tf.TensorSpec, rows: int) -> tensor_pb2.TensorProto:
    lengths = [rows, _LIST_LENGTHS.get(name, _PROFILE_VALUES)]
    known = specification.shape.as_list()
    shape = [length if size is None else size for size, length in zip(known, lengths, strict=False)]
    nothing = {tf.string: b"", tf.int64: NO_ID}.get(specification.dtype, 0)
    return tf.make_tensor_proto(np.full(shape, nothing), specification.dtype)
