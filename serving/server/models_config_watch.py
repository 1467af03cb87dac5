"""Reads a models.config again while the server runs."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from configs.loading import ConfigurationError
from serving.server.errors import RequestError
from serving.server.model_settings import ModelSettings
from serving.server.models_config import read_models_config
from serving.server.polling import Polling

_log = logging.getLogger(__name__)


def watch_models_config(
    path: str | Path, reload: Callable[[list[ModelSettings]], None], pause_seconds: float
) -> Polling:
    """Reloads the models again and again, as TensorFlow Serving does.

    A file that is wrong or refused is logged, once until it says something else, and leaves the
    models as they are.

    Args:
      path: the file.
      reload: gets the models that the file asks for.
      pause_seconds: between looks.
    """
    last_problem = ""

    def look() -> None:
        nonlocal last_problem
        problem = ""
        try:
            reload(read_models_config(path))
        except ConfigurationError as error:
            problem = str(error)
        except RequestError as error:
            problem = f"{path}: {error.message}"
        if problem and problem != last_problem:
            _log.warning("%s", problem)
        last_problem = problem

    return Polling("models.config", look, pause_seconds)
