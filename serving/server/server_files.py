"""What the server is asked to serve, and the files that say so, in TensorFlow Serving's formats."""

from __future__ import annotations

import dataclasses
import errno
import logging
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from google.protobuf import text_format
from google.protobuf.message import Message

from configs.loading import ConfigurationError
from serving.protocol.messages import model_server_config_pb2
from serving.protocol.server_files_pb2 import BatchingParameters
from serving.server.background import Polling
from serving.server.errors import RequestError

_TEXT = re.compile(
    r"latest(?::(?P<count>[1-9][0-9]{0,8}))?|all|specific:(?P<versions>[0-9]{1,18}(?:,[0-9]{1,18})*)"
)
_FORMS = "latest, latest:N (N from 1), all, or specific:V,V,..."


@dataclasses.dataclass(frozen=True)
class VersionPolicy:
    """The newest versions, all of them, or chosen ones.

    Attributes:
      latest: how many of the highest versions; None for all.
      specific: exactly these versions; empty when `latest` decides.
    """

    latest: int | None = 1
    specific: frozenset[int] = frozenset()

    def wanted(self, available: Collection[int]) -> list[int]:
        """The versions to serve out of those found, highest first."""
        ordered = sorted(available, reverse=True)
        if self.specific:
            return [version for version in ordered if version in self.specific]
        return ordered if self.latest is None else ordered[: self.latest]

    @classmethod
    def parse(cls, text: str) -> VersionPolicy:
        """Reads `latest`, `latest:2`, `all` or `specific:1,3`.

        Raises:
          ValueError: another form; the message lists the forms.
        """
        match = _TEXT.fullmatch(text)
        if match is None:
            raise ValueError(f"expected {_FORMS}. Received: {text!r}")
        if text == "all":
            return cls(latest=None)
        if match["versions"]:
            return cls(specific=frozenset(map(int, match["versions"].split(","))))
        return cls(latest=int(match["count"] or 1))


@dataclasses.dataclass(frozen=True)
class ModelSettings:
    """One model.

    Attributes:
      name: as requests call it.
      base_path: the folder of version folders.
      policy: which of them to serve.
      labels: label -> version.
    """

    name: str
    base_path: Path
    policy: VersionPolicy = VersionPolicy()
    labels: Mapping[str, int] = dataclasses.field(default_factory=dict)


def settings_of_base_paths(base_paths: Mapping[str, str | Path]) -> list[ModelSettings]:
    """The latest version of each model, without labels."""
    return [ModelSettings(name, Path(path)) for name, path in base_paths.items()]


def settings_by_name(models: Iterable[ModelSettings]) -> dict[str, ModelSettings]:
    """Model name -> settings.

    Raises:
      ValueError: a name is given twice.
    """
    by_name: dict[str, ModelSettings] = {}
    for model in models:
        if model.name in by_name:
            raise ValueError(f"Illegal to list model {model.name} multiple times in config list")
        by_name[model.name] = model
    return by_name


def check_base_paths(old: Iterable[ModelSettings], new: Mapping[str, ModelSettings]) -> None:
    """Refuses a model whose versions would be looked for elsewhere.

    Args:
      old: models that are served.
      new: model name -> settings that take their place.

    Raises:
      ValueError: a base path differs.
    """
    for model in old:
        asked_for = new.get(model.name, model).base_path
        if asked_for != model.base_path:
            raise ValueError(
                f"Illegal to change a model's base path. For model {model.name} it was "
                f"{model.base_path} and {asked_for} is requested; remove the model first, or use "
                "another name."
            )


_log = logging.getLogger(__name__)

_PLATFORM = "tensorflow"
_QUOTED = 100
"""Characters of a path that are quoted."""
_MAX_BATCH_SIZE = 1000
_LEAST_VALUES = {
    "max_batch_size": 1,
    "max_enqueued_batches": 1,
    "num_batch_threads": 1,
    "batch_timeout_micros": 0,
    "max_execution_batch_size": 1,
}

AnyMessage = TypeVar("AnyMessage", bound=Message)


def read_text_message(path: str | Path, message_type: type[AnyMessage]) -> AnyMessage:
    """Reads a file in text format.

    Args:
      path: the file.
      message_type: of the message that it holds.

    Raises:
      ConfigurationError: the file cannot be read or is no such message. The error names the place
        and never quotes the file, which may hold a key.
    """
    try:
        return text_format.Parse(Path(path).read_text(encoding="utf-8"), message_type())
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{path}: not a text file") from error
    except text_format.ParseError as error:
        location = f"line {error.GetLine()}, column {error.GetColumn()}"
        descriptor = message_type.DESCRIPTOR
        fields = ", ".join(field.name for field in descriptor.fields)
        raise ConfigurationError(
            f"{path}: {location}: not {descriptor.full_name} in text format. "
            f"Its fields are {fields}"
        ) from None


def check_batching_file(path: str | Path) -> None:
    """Checks a file for `tensorflow_model_server --batching_parameters_file`.

    Raises:
      ConfigurationError: the file cannot be read or a value is wrong; the message names the file.
    """
    message = read_text_message(path, BatchingParameters)
    values = {
        field.name: value.value if field.message_type is not None else value
        for field, value in message.ListFields()
    }
    try:
        check_batching(values)
    except ConfigurationError as error:
        raise ConfigurationError(f"{path}: {error}") from error


def check_batching(values: Mapping[str, Any]) -> None:
    """Checks what TensorFlow Serving is to batch by.

    Args:
      values: field of BatchingParameters -> value; without one, TensorFlow Serving's default.

    Raises:
      ConfigurationError: a value is out of its range, or the sizes do not fit each other.
    """
    for name, least in _LEAST_VALUES.items():
        if values.get(name, least) < least:
            raise ConfigurationError(f"{name} must be at least {least}. Received: {values[name]}")
    largest = values.get("max_batch_size", _MAX_BATCH_SIZE)
    if values.get("enable_large_batch_splitting"):
        split = values.get("max_execution_batch_size", largest)
        if split > largest:
            raise ConfigurationError(
                "max_execution_batch_size must not exceed max_batch_size. Received: "
                f"{split} and {largest}"
            )
        largest = split
    sizes = list(values.get("allowed_batch_sizes", ()))
    if sizes and (sorted(set(sizes)) != sizes or sizes[0] < 1):
        raise ConfigurationError(
            f"allowed_batch_sizes must ascend from 1 or more. Received: {sizes}"
        )
    if sizes and sizes[-1] != largest:
        raise ConfigurationError(
            "the last of allowed_batch_sizes must be the largest batch that runs, "
            f"{largest}. Received: {sizes[-1]}"
        )


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
