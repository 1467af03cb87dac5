"""Training as TFX's Trainer component asks for it; `serving.run_fn` is its run function."""

from __future__ import annotations

import contextlib
import difflib
import glob
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from configs.command_line import CommandError
from configs.loading import ConfigurationError, load_scenario, override_scenario
from trainer.distribution.cluster import require_one_process

_KNOWN_KEYS = ("config", "overrides")
_WRONG_FEATURE = re.compile(r"Feature: .*")


class FnArgs(Protocol):
    """What is read of TFX's FnArgs; any object with these attributes will do.

    Attributes:
      train_files: patterns of GZIP TFRecord files with training examples.
      eval_files: patterns of those with validation examples.
      train_steps: training ends after so many steps, or after the scenario's epochs if they are
        fewer; None or 0 for the epochs.
      eval_steps: at most so many batches of `training.batch_size` are validated; None or 0 for all.
      serving_model_dir: where the SavedModel goes.
      model_run_dir: the run folder is made in it.
      custom_config: {"config": scenario file, "overrides": list of "dotted.key=value"}, or the same
        as JSON; overrides may be left out.
    """

    train_files: Sequence[str]
    eval_files: Sequence[str]
    train_steps: int | None
    eval_steps: int | None
    serving_model_dir: str
    model_run_dir: str
    custom_config: Mapping[str, object] | str


def run_fn(fn_args: FnArgs) -> None:
    """`serving.run_fn.run_fn`, under the name by which pipelines of earlier versions ask for it."""
    from serving.run_fn import run_fn as train_and_export

    train_and_export(fn_args)


def train_run(fn_args: FnArgs, export: Callable[[Path, Path], None]) -> None:
    """Trains a scenario's model on the given files and exports it.

    Item attributes, vocabularies and knowledge come from the scenario's work directory. The run
    folder below `model_run_dir` has the name that `trainer train` would give it.

    Args:
      fn_args: what TFX's Trainer hands over.
      export: writes the SavedModel of a run folder, its first argument, into the folder that is its
        second, which is empty or not there.

    Raises:
      ConfigurationError: `custom_config` or the scenario it names is wrong, or the training would
        need several processes.
      CommandError: a pattern matches no file, an example lacks a feature, something is in the
        SavedModel's place already, or training failed; see `trainer.training.train`.
    """
    from trainer.run_identity import default_run_folder
    from trainer.training import train

    custom = read_custom_config(fn_args.custom_config)
    scenario = load_scenario(custom.config, custom.overrides)
    run = Path(fn_args.model_run_dir) / default_run_folder(scenario).path.name
    scenario = override_scenario(scenario, {"run_dir": str(run)})
    require_one_process(scenario.training, "TFX's Trainer runs")
    destination = Path(fn_args.serving_model_dir)
    _require_empty(destination)
    files = {
        "train": _matching("train_files", fn_args.train_files),
        "validation": _matching("eval_files", fn_args.eval_files),
    }
    eval_steps = fn_args.eval_steps
    with _parsing_explained():
        train(
            scenario,
            files=files,
            max_steps=fn_args.train_steps or None,
            validation_limit=eval_steps * scenario.training.batch_size if eval_steps else None,
        )
    export(run, destination)


@dataclass(frozen=True)
class CustomConfig:
    """What `custom_config` names.

    Attributes:
      config: the scenario file.
      overrides: texts "dotted.key=value".
    """

    config: str
    overrides: tuple[str, ...] = ()


def read_custom_config(received: object) -> CustomConfig:
    """Checks `custom_config`.

    Args:
      received: a mapping, or the same as JSON.

    Raises:
      ConfigurationError: a key is missing or unknown, or a value has another type.
    """
    if isinstance(received, str):
        try:
            received = json.loads(received)
        except ValueError as error:
            raise ConfigurationError(f"custom_config: not valid JSON ({error})") from error
    if not isinstance(received, Mapping):
        raise ConfigurationError(
            'custom_config: expected {"config": "FILE.yaml", "overrides": ["key=value", ...]}. '
            f"Received: {received!r}"
        )
    for key in received:
        if key not in _KNOWN_KEYS:
            close = difflib.get_close_matches(str(key), _KNOWN_KEYS, n=1)
            hint = f"Did you mean '{close[0]}'?" if close else f"Known: {', '.join(_KNOWN_KEYS)}"
            raise ConfigurationError(f"custom_config: unknown key '{key}'. {hint}")
    if "config" not in received:
        raise ConfigurationError(
            "custom_config: key 'config' is missing; it names the scenario file, e.g. "
            "configs/movielens_small.yaml"
        )
    config, overrides = received["config"], received.get("overrides", [])
    if not isinstance(config, str):
        raise ConfigurationError(f"custom_config: config: expected a path. Received: {config!r}")
    if not isinstance(overrides, (list, tuple)) or not all(
        isinstance(override, str) for override in overrides
    ):
        raise ConfigurationError(
            "custom_config: overrides: expected a list of texts 'dotted.key=value'. "
            f"Received: {overrides!r}"
        )
    return CustomConfig(config, tuple(overrides))


def _matching(field: str, patterns: Sequence[str] | str) -> list[str]:
    """The files that patterns name, in order of their names within each pattern."""
    files: list[str] = []
    for pattern in [patterns] if isinstance(patterns, str) else patterns or ():
        paths = sorted(path for path in glob.glob(pattern) if Path(path).is_file())
        if not paths:
            raise CommandError(f"{field}: no file matches {pattern}")
        files += paths
    if not files:
        raise CommandError(f"{field}: no file is named")
    return list(dict.fromkeys(files))


@contextlib.contextmanager
def _parsing_explained() -> Iterator[None]:
    """Says what is wrong with examples that are others than the scenario's."""
    import tensorflow as tf

    try:
        yield
    except tf.errors.InvalidArgumentError as error:
        if "ParseExample" not in str(error):
            raise
        match = _WRONG_FEATURE.search(str(error))
        raise CommandError(
            "train_files, eval_files: an example is none of this scenario: "
            f"{match[0] if match else error}"
        ) from error


def _require_empty(folder: Path) -> None:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise CommandError(
            f"serving_model_dir: {folder} is not empty; name another folder, or empty this one"
        )
