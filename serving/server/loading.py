"""Loads one version of a model, ready to be served."""

from __future__ import annotations

from pathlib import Path

import grpc
import tensorflow as tf

from serving.server import metrics
from serving.server.batching import Batching
from serving.server.errors import RequestError
from serving.server.servable import Servable, status_code_of
from serving.server.warmup_replay import replay_warmup


def load_servable(
    name: str, version: int, folder: Path, batching: Batching | None = None
) -> Servable:
    """Loads and warms up.

    Args:
      name: the model's name in requests.
      version: the folder's number.
      folder: the SavedModel.
      batching: merges the version's requests; None runs each alone.

    Raises:
      Exception: whatever TensorFlow or the warm-up raises when the version is broken.
    """
    with metrics.counted_load(str(folder)):
        servable = Servable(name, version, folder)
        replay_warmup(servable, folder)
    if batching is not None:
        servable.merge_requests(batching)
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
