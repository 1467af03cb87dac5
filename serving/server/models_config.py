"""TensorFlow Serving's models.config: read, and watched while the server runs."""

from __future__ import annotations

import errno
import logging
from collections.abc import Callable
from pathlib import Path

from google.protobuf import text_format

from configs.loading import ConfigurationError
from serving.protocol.messages import model_server_config_pb2
from serving.server.background import Polling
from serving.server.errors import RequestError
from serving.server.model_settings import ModelSettings, VersionPolicy, settings_by_name

_PLATFORM = "tensorflow"
_QUOTED = 100
"""Characters of a path that are quoted."""


def read_models_config(path: str | Path) -> list[ModelSettings]:
    """Reads a file as `tensorflow_model_server --model_config_file` does.

    Args:
      path: a file with tensorflow.serving.ModelServerConfig in text format.

    Raises:
      ConfigurationError: the file cannot be read, has an unknown field, or describes models that
        this server cannot serve.
    """
    message = model_server_config_pb2.ModelServerConfig()
    try:
        text_format.Parse(Path(path).read_text(encoding="utf-8"), message)
        return settings_of_message(message)
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read ({error.strerror})") from error
    except (UnicodeDecodeError, text_format.ParseError, ValueError) as error:
        raise ConfigurationError(f"{path}: not a models.config: {error}") from error


def settings_of_message(message: model_server_config_pb2.ModelServerConfig) -> list[ModelSettings]:
    """The models of a configuration.

    Raises:
      ValueError: it is no list of models, a model has no name or base path, or one that no file
        system has, a name is given twice, or a model is not of the platform "tensorflow".
    """
    if message.WhichOneof("config") != "model_config_list":
        raise ValueError("only a model_config_list is supported")
    models = [_settings(model) for model in message.model_config_list.config]
    return list(settings_by_name(models).values())


def _settings(message: model_server_config_pb2.ModelConfig) -> ModelSettings:
    if not message.name:
        raise ValueError("a config has no name")
    if not message.base_path:
        raise ValueError(f"model {message.name} has no base_path")
    deprecated_type = message.model_type == model_server_config_pb2.TENSORFLOW
    if message.model_platform != _PLATFORM and not (deprecated_type and not message.model_platform):
        raise ValueError(
            f'model {message.name} needs model_platform: "{_PLATFORM}". '
            f'Received: "{message.model_platform}"'
        )
    return ModelSettings(
        message.name, _base_path(message), _policy(message), dict(message.version_labels)
    )


def _base_path(message: model_server_config_pb2.ModelConfig) -> Path:
    """The base path, which may be missing for now, but must be one that there can be."""
    path = Path(message.base_path)
    try:
        path.stat()
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise ValueError(
                f"model {message.name}: base_path is too long: {_shortened(message.base_path)}"
            ) from error
    except ValueError as error:  # a NUL, or a character that names of files cannot have here
        raise ValueError(
            f"model {message.name}: base_path is no path ({error}): {_shortened(message.base_path)}"
        ) from error
    return path


def _shortened(path: str) -> str:
    return repr(path) if len(path) <= _QUOTED else f"{path[:_QUOTED]!r}..."


def _policy(message: model_server_config_pb2.ModelConfig) -> VersionPolicy:
    policy = message.model_version_policy
    choice = policy.WhichOneof("policy_choice")
    if choice == "all":
        return VersionPolicy(latest=None)
    if choice == "specific":
        if not policy.specific.versions:
            raise ValueError(f"model {message.name}: specific must name at least one version")
        return VersionPolicy(specific=frozenset(policy.specific.versions))
    # TensorFlow Serving reads 0, the value of a field left out, as 1.
    return VersionPolicy(latest=policy.latest.num_versions or 1)


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
