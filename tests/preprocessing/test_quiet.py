from __future__ import annotations

import logging

from preprocessing.beam_options import quiet_beam


def record(name: str, path: str) -> logging.LogRecord:
    return logging.LogRecord(name, logging.WARNING, path, 1, "message", None, None)


def test_only_beams_own_remarks_on_the_root_logger_are_hidden():
    logger = logging.getLogger()
    before = list(logger.filters)
    quiet_beam()
    quiet_beam()
    try:
        assert not logger.filter(record("root", "/site-packages/apache_beam/x.py"))
        assert logger.filter(record("root", "/project/other.py"))
        assert logger.filter(record("apache_beam.x", "/site-packages/apache_beam/x.py"))
        assert len(logger.filters) <= len(before) + 1
    finally:
        logger.filters = before
