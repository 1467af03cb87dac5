from __future__ import annotations

import os
import random
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import apache_beam as beam
import pytest
from apache_beam.portability.api import beam_fn_api_pb2
from apache_beam.runners.portability.fn_api_runner import worker_handlers
from apache_beam.runners.worker.data_plane import BeamFnDataServicer
from apache_beam.testing.util import assert_that, equal_to

from configs.command_line import CommandError
from configs.loading import load_scenario
from configs.scenario import Scenario
from preprocessing.beam_options import BeamOptions
from preprocessing.beam_runner import ATTEMPTS, run_pipeline
from preprocessing.encode import encode
from preprocessing.examples import build_examples
from tests.killing import checksums
from tests.preprocessing.dying_workers import dying_before
from tests.preprocessing.speculating_runner import BUNDLES, SpeculatingRunner
from tests.scenarios import write_tiny_inputs

pytestmark = pytest.mark.slow

_KILLS = 4
_LARGE = 12 << 20
"""Bytes of an output that a worker sends at once; it gathers small ones."""

PROCESSES = {
    "ours": BeamOptions(processes=2),
    "Beam's": BeamOptions(None, ("direct_num_workers=2", "direct_running_mode=multi_processing")),
}


class DieOnce(beam.DoFn):
    """Kills the process that works on the third element of a bundle, the first time.

    Args:
      flag: a file that says that it has happened.
    """

    def __init__(self, flag: Path):
        super().__init__()
        self._flag = str(flag)

    def start_bundle(self) -> None:
        self._elements = 0

    def process(self, element: int) -> Iterator[tuple[int, bytes]]:
        self._elements += 1
        if self._elements == 3 and not os.path.exists(self._flag):
            os.close(os.open(self._flag, os.O_CREAT))
            time.sleep(1)  # what was sent before is with the runner
            os.kill(os.getpid(), signal.SIGKILL)
        yield element, bytes(_LARGE)


@pytest.mark.parametrize("processes", PROCESSES)
def test_what_a_lost_worker_had_sent_counts_once(
    processes: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    flag = tmp_path / "died"

    def build(pipeline: beam.Pipeline) -> None:
        sent = (
            pipeline
            | beam.Create(range(8))
            | "SpreadNumbers" >> beam.Reshuffle()
            | beam.ParDo(DieOnce(flag))
            | "SpreadOutputs" >> beam.Reshuffle()
            | beam.MapTuple(lambda number, data: (number, len(data)))
        )
        assert_that(sent, equal_to([(number, _LARGE) for number in range(8)]))

    run_pipeline(build, PROCESSES[processes])
    assert flag.exists()
    message = capfd.readouterr().err
    assert message.count("another one repeats its work") == 1 and "Traceback" not in message


def test_a_worker_of_which_nobody_waits_for_outputs_is_replaced_too(tmp_path: Path) -> None:
    flag = tmp_path / "died"

    def build(pipeline: beam.Pipeline) -> None:
        _ = pipeline | beam.Create(range(8)) | beam.Reshuffle() | beam.ParDo(DieOnce(flag))

    run_pipeline(build, BeamOptions(processes=2))
    assert flag.exists()


def test_an_interpreter_whose_path_has_a_blank_starts_workers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interpreter = tmp_path / "my environment" / "python"
    interpreter.parent.mkdir()
    interpreter.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    interpreter.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(interpreter))
    flag = tmp_path / "died"

    def build(pipeline: beam.Pipeline) -> None:
        _ = pipeline | beam.Create(range(8)) | beam.Reshuffle() | beam.ParDo(DieOnce(flag))

    run_pipeline(build, BeamOptions(processes=2))
    assert flag.exists()


def test_a_worker_that_dies_before_it_has_begun_is_replaced_too(
    tmp_path: Path, repository_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        f"""
import os, signal, sys
if "preprocessing.beam_worker" in sys.orig_argv:
    try:
        os.mkdir({str(tmp_path / "died")!r})
    except FileExistsError:
        pass
    else:
        os.kill(os.getpid(), signal.SIGKILL)
"""
    )
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{repository_root}")

    def build(pipeline: beam.Pipeline) -> None:
        numbers = pipeline | beam.Create(range(8)) | beam.Reshuffle()
        assert_that(numbers, equal_to(range(8)))

    run_pipeline(build, BeamOptions(processes=2))
    assert (tmp_path / "died").exists()


def test_work_that_no_worker_survives_ends_with_a_message(tmp_path: Path) -> None:
    deaths = tmp_path / "deaths"

    def die(number: int, deaths: str = str(deaths)) -> None:
        if number == 1:
            with open(deaths, "a") as file:
                file.write(".")
            os.kill(os.getpid(), signal.SIGKILL)

    def build(pipeline: beam.Pipeline) -> None:
        _ = pipeline | beam.Create([1, 2]) | beam.Map(die)

    with pytest.raises(CommandError) as raised:
        run_pipeline(build, BeamOptions(processes=2))
    assert "return code -9" in str(raised.value)
    assert "--beam-option direct_num_workers=1" in str(raised.value)
    assert len(deaths.read_text()) == ATTEMPTS


def _scenario(config: Path, work: Path) -> Scenario:
    """Every pipeline of both steps: the log filtered and cut by time, three kinds of examples."""
    overrides = [
        f"work_dir={work}",
        "data.examples=[ctr, rerank, retrieval]",
        "data.filter.minimum_user_interactions=30",
        "split.by=global_time",
    ]
    return load_scenario(config, overrides)


@pytest.mark.parametrize("step", [encode, build_examples])
def test_bytes_are_equal_however_many_workers_die(
    step: Callable[..., dict], tmp_path: Path, repository_root: Path
) -> None:
    config = write_tiny_inputs(tmp_path)
    here, counted, there = (tmp_path / name for name in ("here", "counted", "there"))
    inside = step(_scenario(config, here))
    options = BeamOptions(processes=2)
    for name in ("count", "kill"):
        (tmp_path / name).mkdir()
    with dying_before([], counted, tmp_path / "count", repository_root) as changes:
        step(_scenario(config, counted), beam=options)
    numbers = sorted(random.Random(1).sample(range(1, len(changes) + 1), _KILLS))
    with dying_before(numbers, there, tmp_path / "kill", repository_root) as disturbed:
        outside = step(_scenario(config, there), beam=options)
    # Repeated work changes the disk again.
    assert len(disturbed) > len(changes) > 10 * _KILLS
    assert outside["records_out"] == inside["records_out"] > 0
    assert checksums(there) == checksums(counted) == checksums(here)


@pytest.mark.parametrize("step", [encode, build_examples])
def test_bytes_are_equal_when_all_work_is_done_twice(
    step: Callable[..., dict], tmp_path: Path
) -> None:
    config = write_tiny_inputs(tmp_path)
    here, again, beside = (tmp_path / name for name in ("here", "again", "beside"))
    step(_scenario(config, here))
    expected = checksums(here)
    # Beam runs each bundle once more, and throws the outputs of the first time away.
    step(_scenario(config, again), beam=BeamOptions(None, ("direct_runner_bundle_repeat=1",)))
    assert checksums(again) == expected
    two = PROCESSES["Beam's"].options
    runner = f"{SpeculatingRunner.__module__}.{SpeculatingRunner.__name__}"
    BUNDLES.clear()
    step(_scenario(config, beside), beam=BeamOptions(runner, two))
    assert len(BUNDLES) > 10 and all(BUNDLES)
    assert checksums(beside) == expected


def test_what_is_written_while_a_stream_is_flushed_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that takes its inputs slowly gets all of them."""
    servicer = BeamFnDataServicer(worker_handlers.DATA_BUFFER_TIME_LIMIT_MS)
    channel = servicer.get_conn_by_worker_id("worker")
    sent: list[bytes] = []

    def send_slowly(element: beam_fn_api_pb2.Elements.Data) -> None:
        time.sleep(0.2)
        sent.append(element.data)

    monkeypatch.setattr(channel, "_enqueue_to_send", send_slowly)
    stream = channel.output_stream("bundle", "transform")
    written = [number.to_bytes(4, "big") for number in range(150)]
    for part in written:
        stream.write(part)
        time.sleep(0.01)
    stream.close()
    assert b"".join(sent) == b"".join(written)
