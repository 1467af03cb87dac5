"""Keeping libraries quiet, so that what people read is about their data."""

from __future__ import annotations

import logging


def quiet_beam() -> None:
    """Hides what Beam logs about optional parts of its own that nobody asked for.

    Must run before Beam is first imported; warnings about a pipeline still show.
    """
    logging.getLogger().addFilter(_is_not_beams_own_import)


def _is_not_beams_own_import(record: logging.LogRecord) -> bool:
    return not (record.name == "root" and "apache_beam" in record.pathname)
