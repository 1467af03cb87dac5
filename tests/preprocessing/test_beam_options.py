from __future__ import annotations

import logging
import os

import pytest

from configs.loading import ConfigurationError
from preprocessing.beam_options import BeamOptions, silence_beam_import_logs


def test_flags_are_those_of_beam():
    assert BeamOptions().flags == []
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


def test_processes_are_flags_of_beam():
    assert BeamOptions(processes=2).flags == ["--direct_num_workers=2"]
    assert BeamOptions().flags == []


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
