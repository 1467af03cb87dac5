"""Version folders below a base path: found, written whole or not at all, with warm-up."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

from configs.command_line import CommandError, free_space
from configs.loading import ConfigurationError
from configs.serving import MOST_WARMUP_REQUESTS, WARMUP_CANDIDATES, Serving
from preprocessing.records.contract import (
    HISTORY_ITEM_ID,
    HISTORY_RATING,
    ITEM_ID,
    NO_ID,
)
from serving.serving_module import SERVING_MODULES

_LARGEST_VERSION = 2**63 - 1


def version_folders(base: Path) -> dict[int, Path]:
    """Version number -> folder, highest first; other entries are no versions.

    Raises:
      OSError: the base path cannot be listed.
    """
    folders = [entry for entry in base.iterdir() if entry.is_dir()]
    numbered = [(int(entry.name), entry) for entry in folders if _is_number(entry.name)]
    return dict(sorted(numbered, reverse=True))


def _is_number(name: str) -> bool:
    return name.isascii() and name.isdecimal() and int(name) <= _LARGEST_VERSION


@dataclass(frozen=True)
class NextVersion:
    """A version in the making.

    Attributes:
      number: above that of every other version.
      path: where it will be.
      unfinished: where it is written to; nothing is there yet.
    """

    number: int
    path: Path
    unfinished: Path


@contextlib.contextmanager
def next_version(base: Path) -> Iterator[NextVersion]:
    """Moves what the block writes into place when it ends, and removes it when it fails.

    What a killed process left under the hidden name is removed first.

    Args:
      base: a base path that this process holds, see `configs.files.alone_in`.
    """
    number = max(version_folders(base), default=0) + 1
    unfinished = base / f".{number}.unfinished"
    shutil.rmtree(unfinished, ignore_errors=True)
    version = NextVersion(number, base / str(number), unfinished)
    try:
        yield version
        unfinished.rename(version.path)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


@contextlib.contextmanager
def written_by_tensorflow(folder: Path) -> Iterator[None]:
    """Says what kept TensorFlow from writing a SavedModel: a full disk, for example.

    Raises:
      CommandError: TensorFlow could not write.
    """
    try:
        yield
    except tf.errors.OpError as error:
        reason = error.message.splitlines()[0]
        raise CommandError(
            f"{folder}: cannot be written ({reason}; {free_space(folder)} are free there); nothing "
            "is published, and earlier versions are as they were"
        ) from error


WARMUP_FILE = Path("assets.extra", "tf_serving_warmup_requests")
"""Below a version folder, where TensorFlow Serving looks for them."""
_LIST_LENGTHS = {HISTORY_ITEM_ID: 30, HISTORY_RATING: 30, ITEM_ID: WARMUP_CANDIDATES}
_PROFILE_VALUES = 1


def check_number_of_requests(serving: Serving, kind: str) -> None:
    """Makes sure that TensorFlow Serving takes the warm-up requests of a kind of model.

    Raises:
      ConfigurationError: it would refuse so many.
    """
    signatures = len(SERVING_MODULES[kind].warmed_signatures)
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
    """Writes `assets.extra/tf_serving_warmup_requests`.

    There is one request per batch size for each signature that takes features. Ids are empty, so
    the requests run the whole graph with unknown users and items and hold no data of anybody.

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
                    request.inputs[name].CopyFrom(_empty_tensor(name, specification, rows))
                log = prediction_log_pb2.PredictionLog(
                    predict_log=prediction_log_pb2.PredictLog(request=request)
                )
                writer.write(log.SerializeToString())
    return path


def _empty_tensor(name: str, specification: tf.TensorSpec, rows: int) -> tensor_pb2.TensorProto:
    lengths = [rows, _LIST_LENGTHS.get(name, _PROFILE_VALUES)]
    dimensions = specification.shape.as_list()
    shape = [
        length if size is None else size for size, length in zip(dimensions, lengths, strict=False)
    ]
    value = {tf.string: b"", tf.int64: NO_ID}.get(specification.dtype, 0)
    return tf.make_tensor_proto(np.full(shape, value), specification.dtype)
