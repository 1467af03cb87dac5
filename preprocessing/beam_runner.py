"""Running Beam pipelines: quietly, in this process unless told otherwise, and where they write.

An engine hands the bundle of a worker that is gone to another worker. Beam's own local runner fails
instead, or waits for ever for the answer of a process that has ended. The runner here starts
another process and repeats the bundle. What the lost one had sent is thrown away, so that the
outputs of a bundle count once, however often it was run.
"""

from __future__ import annotations

import hashlib
import itertools
import logging
import re
import shlex
import shutil
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import apache_beam as beam
import grpc
from apache_beam.metrics import monitoring_infos
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.portability import python_urns
from apache_beam.portability.api import beam_fn_api_pb2
from apache_beam.runners.portability.fn_api_runner import fn_runner, worker_handlers
from apache_beam.runners.portability.fn_api_runner.execution import BundleContextManager
from apache_beam.runners.portability.fn_api_runner.fn_runner import (
    BundleManager,
    FnApiRunner,
    RunnerResult,
)
from apache_beam.runners.portability.local_job_service import SubprocessSdkWorker
from apache_beam.runners.worker import data_plane
from apache_beam.transforms.environments import SubprocessSDKEnvironment
from apache_beam.utils import thread_pool_executor
from typing_extensions import override

from configs.command_line import CommandError, say
from configs.loading import ConfigurationError
from preprocessing import beam_worker, storage
from preprocessing.beam_options import BeamOptions
from preprocessing.records.contract import DamagedRecords

ATTEMPTS = 4
"""How often a part of a bundle is begun before the loss of its workers is taken for its fault."""

_SECONDS_BETWEEN_ANSWERS = 0.2
_SECONDS_FROM_BROKEN_CHANNEL_TO_END = 2.0


class WorkerProcess(worker_handlers.SubprocessSdkWorkerHandler):
    """A worker process; once it has ended, every question to it is answered with an error.

    Attributes:
      ending: how it ended; empty before.
    """

    @override
    def start_worker(self) -> None:
        self.ending = ""
        self._ended, self._closed = threading.Event(), threading.Event()
        self.worker = SubprocessSdkWorker(
            self._worker_command_line, self.control_address, self.provision_info, self.worker_id
        )
        self.worker_thread = threading.Thread(target=self._work, name="run_worker")
        self.worker_thread.start()

    def _work(self) -> None:
        try:
            self.worker.run()
            self.ending = "Worker subprocess has ended"
        except RuntimeError as error:
            self.ending = str(error)
        self._ended.set()
        answer = beam_fn_api_pb2.InstructionResponse(error=self.ending)
        while not self._closed.wait(_SECONDS_BETWEEN_ANSWERS):
            for question in list(self.control_conn._futures_by_id.values()):
                question.set(answer)

    def has_ended(self, within: float = 0.0) -> bool:
        """Whether the process ends in so many seconds, or has ended."""
        return self._ended.wait(within)

    @override
    def close(self) -> None:
        self._closed.set()
        # One that connects to a closed connection would wait there for ever.
        unconnected = worker_handlers.BeamFnControlServicer.UNSTARTED_STATE
        while self.control_conn._state == unconnected and not self.has_ended(within=0.1):
            pass
        try:
            super().close()
        except grpc.RpcError:
            if not self.has_ended():
                raise
            self.stop_worker()


worker_handlers.WorkerHandler.register_environment(python_urns.SUBPROCESS_SDK, bytes)(WorkerProcess)

# Beam flushes what it sends to a process every so often from a thread of its own, and forgets what
# is written meanwhile: inputs of a bundle that takes longer than that to send are lost. 0: by size.
worker_handlers.DATA_BUFFER_TIME_LIMIT_MS = 0


class RepeatingRunner(FnApiRunner):
    """Runs pipelines in this process or, as its options say, in processes of this machine.

    Bundles whose DoFns keep state are not repeated: a lost worker may have changed it.

    Raises:
      CommandError: the processes that worked on the same part of a bundle ended `ATTEMPTS` times.
    """

    @override
    def run_stages(self, *arguments: Any) -> RunnerResult:
        with _without_broken_channels():
            return super().run_stages(*arguments)

    @override
    def _get_bundle_manager(self, bundle_context_manager: BundleContextManager) -> BundleManager:
        processes = isinstance(bundle_context_manager.worker_handlers[0], WorkerProcess)
        if not processes or bundle_context_manager.stage.is_stateful():
            return super()._get_bundle_manager(bundle_context_manager)
        return _RepeatedBundle(
            bundle_context_manager,
            cache_token_generator=FnApiRunner.get_cache_token_generator(static=False),
        )


@contextmanager
def _without_broken_channels() -> Iterator[None]:
    """Keeps the threads that read from a lost worker from telling people of it, each at length."""

    def is_told(record: logging.LogRecord) -> bool:
        return record.exc_info is None or not isinstance(record.exc_info[1], grpc.RpcError)

    def tell(error: threading.ExceptHookArgs) -> None:
        if not isinstance(error.exc_value, grpc.RpcError):
            before(error)

    before, threading.excepthook = threading.excepthook, tell
    log = logging.getLogger(data_plane.__name__)
    log.addFilter(is_told)
    try:
        yield
    finally:
        threading.excepthook = before
        log.removeFilter(is_told)


class _RepeatedBundle(BundleManager):
    """Divides a bundle among the worker processes, and repeats the part of a lost one."""

    _replacing = threading.Lock()
    _given_up = False

    @override
    def process_bundle(
        self,
        inputs: Mapping[str, Any],
        expected_outputs: dict[str, bytes],
        fired_timers: Mapping[Any, Any],
        expected_output_timers: Mapping[Any, Any],
        dry_run: bool = False,
    ) -> tuple[beam_fn_api_pb2.InstructionResponse, list[Any]]:
        workers = self.bundle_context_manager.num_workers
        parts: list[dict[str, Any]] = [{} for _ in range(workers)]
        for name, buffer in inputs.items():
            for part, elements in zip(parts, buffer.partition(workers), strict=True):
                part[name] = elements

        def process(number: int) -> beam_fn_api_pb2.InstructionResponse:
            return self._process_part(number, parts[number], expected_outputs, dry_run)

        with thread_pool_executor.shared_unbounded_instance() as threads:
            try:
                results = list(threads.map(process, range(workers)))
            except BaseException:
                self._given_up = True
                raise
        infos = monitoring_infos.consolidate(
            info for result in results for info in result.process_bundle.monitoring_infos
        )
        processed = beam_fn_api_pb2.ProcessBundleResponse(
            monitoring_infos=infos,
            residual_roots=[
                root for result in results for root in result.process_bundle.residual_roots
            ],
        )
        return beam_fn_api_pb2.InstructionResponse(process_bundle=processed), []

    def _process_part(
        self,
        number: int,
        inputs: Mapping[str, Any],
        expected_outputs: dict[str, bytes],
        dry_run: bool,
    ) -> beam_fn_api_pb2.InstructionResponse:
        for attempt in range(1, ATTEMPTS + 1):
            worker = self._worker(number)
            outputs = _Outputs(self.bundle_context_manager, worker)
            manager = BundleManager(
                cast(BundleContextManager, outputs),
                cache_token_generator=self._cache_token_generator,
            )
            try:
                result, _ = manager.process_bundle(inputs, expected_outputs, {}, {}, dry_run)
            except Exception:
                # A broken channel is noticed somewhat before the end of the process behind it.
                if not worker.has_ended(_SECONDS_FROM_BROKEN_CHANNEL_TO_END) or self._given_up:
                    raise
                if attempt < ATTEMPTS:
                    say(f"{worker.ending}; another one repeats its work")
            else:
                outputs.keep()
                return result
        raise CommandError(
            f"{worker.ending}, like {ATTEMPTS - 1} others at the same work. One that ended with -9 "
            "or 137 was killed, most often because memory ran out: use fewer processes, "
            "--beam-option direct_num_workers=1"
        )

    def _worker(self, number: int) -> WorkerProcess:
        """The process for a part; a new one if the last has ended."""
        context = self.bundle_context_manager
        manager = context.execution_context.worker_handler_manager
        with self._replacing:
            worker = manager.get_worker_handlers(context.stage.environment, context.num_workers)[
                number
            ]
            if not worker.has_ended():
                return worker
            (handlers,) = (
                workers for workers in manager._cached_handlers.values() if worker in workers
            )
            handlers.remove(worker)
            manager.get_worker_handlers(context.stage.environment, context.num_workers)
            handlers.insert(number, handlers.pop())
            worker.close()
            return handlers[number]


class _Outputs:
    """What one worker sends for a part of a bundle; none of it counts before `keep`.

    Stands for the context of the whole bundle, with one worker.
    """

    def __init__(self, context: BundleContextManager, worker: WorkerProcess):
        self._context = context
        self._sent: dict[tuple[bytes, str], deque[bytes]] = {}
        self.worker_handlers = [worker]
        self.process_bundle_descriptor = context.process_bundle_descriptor
        self.split_managers = context.split_managers

    def get_buffer(self, buffer_id: bytes, transform_id: str) -> deque[bytes]:
        return self._sent.setdefault((buffer_id, transform_id), deque())

    def keep(self) -> None:
        """Puts everything where the next stages read it."""
        with BundleManager._lock:
            for (buffer_id, transform_id), sent in self._sent.items():
                buffer = self._context.get_buffer(buffer_id, transform_id)
                while sent:
                    buffer.append(sent.popleft())


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
            f"exec {shlex.quote(sys.executable)} -m {beam_worker.__name__}"
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
