"""What people see of a running pipeline."""

from __future__ import annotations

import logging
import re

from absl import logging as absl_logging

from configs.command_line import say

_STARTED = re.compile(r"Component (\S+) is running\.")

# ML Metadata's wheels lack a query language; TFX then filters by itself and says so at every step.
_OF_NO_CONSEQUENCE = ("ZetaSQL", "property_predicate is not supported")


def say_components() -> None:
    """Says which component runs, and hides what else TFX logs below the level of warnings."""
    # Through absl, because libraries restore the level that absl knows of.
    absl_logging.set_verbosity(absl_logging.INFO)
    absl_logging.get_absl_logger().addFilter(_is_for_people)


def _is_for_people(record: logging.LogRecord) -> bool:
    message = record.getMessage()
    if started := _STARTED.fullmatch(message):
        say(f"tfx: {started[1]}")
    return record.levelno >= logging.WARNING and not any(
        text in message for text in _OF_NO_CONSEQUENCE
    )
