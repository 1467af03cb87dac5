from __future__ import annotations

import os
import time

import apache_beam as beam
import pytest
from apache_beam.testing.util import assert_that, equal_to

from configs.command_line import CommandError
from configs.loading import ConfigurationError
from preprocessing.beam_options import BeamOptions
from preprocessing.beam_runner import run_pipeline
from preprocessing.records.contract import DamagedRecords


def test_a_pipeline_runs_to_its_end():
    def build(pipeline: beam.Pipeline) -> None:
        doubled = pipeline | beam.Create([1, 2]) | beam.Map(lambda number: 2 * number)
        assert_that(doubled, equal_to([2, 4]))

    run_pipeline(build, BeamOptions())


def test_a_failing_pipeline_fails_the_call():
    def build(pipeline: beam.Pipeline) -> None:
        assert_that(pipeline | beam.Create([1]), equal_to([2]))

    with pytest.raises(Exception, match="Failed assert"):
        run_pipeline(build, BeamOptions())


def test_a_message_of_a_worker_reaches_the_user_as_it_is(caplog):
    def refuse(path: str) -> None:
        raise CommandError(f"{path}: the file is cut off")

    def build(pipeline: beam.Pipeline) -> None:
        pipeline | beam.Create(["a.npz"]) | beam.Map(refuse)

    with pytest.raises(CommandError) as raised:
        run_pipeline(build, BeamOptions())
    assert str(raised.value) == "a.npz: the file is cut off"
    assert "Traceback" not in caplog.text and "a.npz" not in caplog.text


@pytest.mark.slow
def test_a_message_of_another_process_reaches_the_user_as_it_is():
    def refuse(path: str) -> None:
        raise DamagedRecords(f"{path}: record 3:\nit is cut off")

    def build(pipeline: beam.Pipeline) -> None:
        pipeline | beam.Create(["a.npz"]) | beam.Map(refuse)

    options = BeamOptions(None, ("direct_num_workers=2", "direct_running_mode=multi_processing"))
    with pytest.raises(CommandError) as raised:
        run_pipeline(build, options)
    assert str(raised.value) == "a.npz: record 3:\nit is cut off"


@pytest.mark.slow
def test_processes_share_the_work_quietly(capfd):
    def identify(number: int) -> int:
        time.sleep(0.2)  # long enough that no process can take all
        return os.getpid()

    def build(pipeline: beam.Pipeline) -> None:
        identities = pipeline | beam.Create(range(8)) | beam.Reshuffle() | beam.Map(identify)
        assert_that(identities, are_two_other_processes)

    def are_two_other_processes(found: list[int]) -> None:
        assert len(found) == 8 and len(set(found)) == 2 and own not in found

    own = os.getpid()
    run_pipeline(build, BeamOptions(processes=2))
    assert capfd.readouterr() == ("", "")


def test_other_errors_keep_their_traceback():
    def build(pipeline: beam.Pipeline) -> None:
        pipeline | beam.Create([0]) | beam.Map(lambda number: 1 / number)

    with pytest.raises(ZeroDivisionError):
        run_pipeline(build, BeamOptions())


def test_an_unknown_runner_is_explained():
    with pytest.raises(ConfigurationError, match="NoSuchRunner"):
        run_pipeline(lambda pipeline: None, BeamOptions("NoSuchRunner"))
