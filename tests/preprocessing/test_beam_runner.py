from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import apache_beam as beam
import pytest
from apache_beam.testing.util import assert_that, equal_to

from configs.command_line import CommandError
from configs.loading import ConfigurationError
from preprocessing import storage
from preprocessing.beam_options import BeamOptions, silence_beam_import_logs
from preprocessing.beam_runner import run_pipeline, worker_folder
from preprocessing.records.contract import DamagedRecords
from tests.preprocessing import shared_file_system


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
def test_processes_share_the_work_quietly(tmp_path, capfd):
    def identify(number: int, begun: Path = tmp_path) -> int:
        (begun / str(os.getpid())).touch()
        # No process takes all: each waits for the other one.
        deadline = time.monotonic() + 60
        while len(os.listdir(begun)) < 2 and time.monotonic() < deadline:
            time.sleep(0.02)
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


@pytest.fixture
def step(tmp_path, monkeypatch):
    monkeypatch.setenv(shared_file_system.FOLDER_VARIABLE, str(tmp_path / "store"))
    folder = tmp_path / "work" / ".examples.partial"
    folder.mkdir(parents=True)
    return folder


def write(folder, name):
    with storage.create_bytes(storage.join(folder, name)) as file:
        file.write(name.encode())


def test_workers_that_see_the_step_write_into_it(step):
    with worker_folder(step, None) as folder:
        assert folder == str(step)


@pytest.mark.parametrize("local", [True, False])
@pytest.mark.parametrize("name", ["bucket", "bucket[1]"])
def test_staged_files_are_copied_and_removed(step, tmp_path, local, name):
    staging = str(tmp_path / "store" / name) if local else f"shared://{name}"
    with worker_folder(step, staging) as folder:
        assert folder.startswith(staging)
        write(folder, "one")
        write(folder, "ctr/train/two")
    assert (step / "one").read_text() == "one"
    assert (step / "ctr" / "train" / "two").read_text() == "ctr/train/two"
    assert storage.files_below(staging) == []


@pytest.mark.parametrize("staged", [True, False])
def test_what_a_killed_worker_had_begun_is_no_file_of_the_step(
    step, tmp_path, staged, repository_root
):
    program = """
import os, signal, sys
from preprocessing import storage
with storage.create_bytes(sys.argv[1]) as file:
    file.write(b"half")
    file.flush()
    os.kill(os.getpid(), signal.SIGKILL)
"""
    with worker_folder(step, str(tmp_path / "staging") if staged else None) as folder:
        path = storage.join(folder, "ctr/one")
        killed = subprocess.run([sys.executable, "-c", program, path], cwd=repository_root)
        assert killed.returncode == -signal.SIGKILL
        (begun,) = storage.files_below(folder)
        assert begun.startswith(path) and Path(begun).read_bytes() == b"half"
        write(folder, "ctr/one")
    assert [file.name for file in step.rglob("*") if file.is_file()] == ["one"]


def test_a_failed_step_copies_nothing(step):
    with pytest.raises(RuntimeError), worker_folder(step, "shared://bucket") as folder:
        write(folder, "one")
        raise RuntimeError
    assert list(step.iterdir()) == []
    assert storage.files_below("shared://bucket") == []


def test_what_a_killed_run_left_is_removed(step):
    with worker_folder(step, "shared://bucket") as folder:
        pass
    write(folder, "left over")
    with worker_folder(step, "shared://bucket") as again:
        assert again == folder
        assert storage.files_below(folder) == []


def test_a_worker_without_a_runner_names_what_is_missing(repository_root: Path) -> None:
    finished = subprocess.run(
        [sys.executable, "-m", "preprocessing.beam_worker"],
        cwd=repository_root,
        env={"PATH": ""},
        capture_output=True,
        text=True,
    )
    assert finished.returncode != 0
    assert "CONTROL_API_SERVICE_DESCRIPTOR" in finished.stderr
    assert "harness starting" not in finished.stderr


def test_flags_are_those_of_beam():
    assert BeamOptions().flags == []
    assert BeamOptions(processes=2).flags == ["--direct_num_workers=2"]
    assert BeamOptions("FlinkRunner", ("a=1", "b=x=y")).flags == [
        "--runner=FlinkRunner",
        "--a=1",
        "--b=x=y",
    ]


@pytest.mark.parametrize("option", ["direct_num_workers", "=2"])
def test_options_of_another_form_are_explained(option):
    with pytest.raises(ConfigurationError, match="write it as KEY=VALUE"):
        BeamOptions(None, (option,))


def test_large_inputs_use_all_cores_unless_told_how_to_run():
    cores = len(os.sched_getaffinity(0))
    large = 1 << 30
    assert BeamOptions().for_input(large).processes == cores
    assert BeamOptions().for_input(1 << 20) == BeamOptions()
    for told in (BeamOptions("FlinkRunner"), BeamOptions(None, ("direct_num_workers=1",))):
        assert told.for_input(large) == told


def record(name: str, path: str) -> logging.LogRecord:
    return logging.LogRecord(name, logging.WARNING, path, 1, "message", None, None)


def test_only_beams_own_remarks_on_the_root_logger_are_hidden():
    logger = logging.getLogger()
    before = list(logger.filters)
    silence_beam_import_logs()
    silence_beam_import_logs()
    try:
        assert not logger.filter(record("root", "/site-packages/apache_beam/x.py"))
        assert logger.filter(record("root", "/project/other.py"))
        assert logger.filter(record("apache_beam.x", "/site-packages/apache_beam/x.py"))
        assert len(logger.filters) <= len(before) + 1
    finally:
        logger.filters = before
