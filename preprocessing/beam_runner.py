"""Running Beam pipelines: quietly, in this process unless told otherwise, and where they write."""

from __future__ import annotations

import hashlib
import itertools
import logging
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner import fn_runner
from apache_beam.transforms.environments import SubprocessSDKEnvironment

from configs.command_line import CommandError
from configs.loading import ConfigurationError
from preprocessing import beam_worker, storage
from preprocessing.beam_options import BeamOptions
from preprocessing.beam_processes import RepeatingRunner
from preprocessing.records.contract import DamagedRecords

_WORKER_LOG = logging.getLogger("apache_beam.runners.common")
_PLACE_IN_PIPELINE = re.compile(r" \[while running '[^']*'\]")
_SYSTEM_ERROR = re.compile(
    r"^(?:OSError|\w+(?:NotFound|Permission|Exists|Directory)\w*Error|PermissionError): "
    r"\[Errno (\d+)\] ([^\n]*?)(?:: '([^'\n]*)')?(?: \[while running '[^'\n]*'\])?$",
    re.MULTILINE,
)
_ERROR_FROM_AFAR = re.compile(
    "|".join(
        rf"^{re.escape(f'{error.__module__}.{error.__qualname__}')}: "
        for error in (CommandError, DamagedRecords)
    ),
    re.MULTILINE,
)


def run_pipeline(build: Callable[[beam.Pipeline], object], options: BeamOptions) -> None:
    """Builds a pipeline, runs it and waits for its end.

    Args:
      build: applies transforms to the pipeline.
      options: runner and options.

    Raises:
      ConfigurationError: Beam does not know the runner or refuses the options.
      CommandError: a worker raised it, for example for a damaged input file.
      OSError: the operating system refused something to a worker: a full disk, for example.
    """
    logging.getLogger("apache_beam").setLevel(logging.WARNING)
    _WORKER_LOG.addFilter(_is_no_command_error)
    # Beam's own default first tries to download a runner, so the one inside this process is named.
    runner = _runner_here(options.processes) if options.runner is None else None
    try:
        pipeline = beam.Pipeline(runner=runner, options=PipelineOptions(options.flags))
    except (ValueError, ImportError) as error:
        raise ConfigurationError(f"Beam refuses {' '.join(options.flags)}: {error}") from error
    build(pipeline)
    try:
        pipeline.run().wait_until_finish()
    except CommandError as error:
        raise CommandError(_PLACE_IN_PIPELINE.sub("", str(error))) from error
    except RuntimeError as error:
        refused = [*_SYSTEM_ERROR.finditer(str(error))]
        if refused:
            number, meaning, path = refused[-1].groups()
            raise OSError(int(number), meaning, path) from error
        message = _message_from_afar(str(error))
        if message is None:
            raise
        raise CommandError(message) from error


def _runner_here(processes: int) -> RepeatingRunner:
    if processes == 1:
        return RepeatingRunner()
    # It warns of several workers in one process, which these are not.
    logging.getLogger(fn_runner.__name__).setLevel(logging.ERROR)
    return RepeatingRunner(
        SubprocessSDKEnvironment.from_command_string(
            f"exec {sys.executable} -m {beam_worker.__name__}"
        )
    )


def _message_from_afar(traceback: str) -> str | None:
    """The message of a CommandError in another process, whose traceback comes as text."""
    raised, step, _ = traceback.rpartition(" [while running '")
    starts = [match.end() for match in _ERROR_FROM_AFAR.finditer(raised)]
    return raised[starts[-1] :] if step and starts else None


def _is_no_command_error(record: logging.LogRecord) -> bool:
    """Keeps out of the log what ends the command with a message of its own."""
    return record.exc_info is None or not isinstance(record.exc_info[1], CommandError | OSError)


@contextmanager
def worker_folder(folder: Path, staging: str | None) -> Iterator[str]:
    """A folder that all workers of the step's pipelines see; empty at first.

    Args:
      folder: where the step's files belong in the end, on this machine.
      staging: absolute path or URL of a folder that all workers see; None when they see `folder`.

    Yields:
      Absolute path or URL. When the block ends without an error, all files in it are in `folder`,
      but for those that a killed worker has begun; its work was repeated.
    """
    if staging is None:
        yield (shared := storage.absolute(folder))
        for path in filter(storage.is_unfinished, storage.files_below(shared)):
            storage.delete_file(path)
        return
    # The name follows from the step, so that the next run removes what a killed one left.
    digest = hashlib.sha256(storage.absolute(folder).encode()).hexdigest()[:16]
    staged = storage.join(storage.absolute(staging), f"{folder.name.strip('.')}-{digest}")
    storage.delete_folder(staged)
    try:
        yield staged
        for path in itertools.filterfalse(storage.is_unfinished, storage.files_below(staged)):
            target = folder / path.removeprefix(staged).lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            with storage.open_bytes(path) as source, target.open("wb") as copy:
                shutil.copyfileobj(source, copy)
    finally:
        storage.delete_folder(staged)
