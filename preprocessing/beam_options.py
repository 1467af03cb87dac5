"""Which Beam runner, with which options, and how loud it is; without importing Beam."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass, replace

from configs.loading import ConfigurationError

_BYTES_FOR_PROCESSES = 64 << 20


@dataclass(frozen=True)
class BeamOptions:
    """How pipelines are run.

    Attributes:
      runner: a Beam runner's name; None for the FnApiRunner inside this process.
      options: texts `KEY=VALUE`, passed on as `--KEY=VALUE`.
      staging: absolute path or URL of a folder that all workers see; None when they see the work
        directory.
      processes: worker processes on this machine; 1 works inside this process. Only without a
        runner.
    """

    runner: str | None = None
    options: tuple[str, ...] = ()
    staging: str | None = None
    processes: int = 1

    def __post_init__(self) -> None:
        for option in self.options:
            key, equals, _ = option.partition("=")
            if not key or not equals:
                raise ConfigurationError(
                    f"--beam-option '{option}': write it as KEY=VALUE, e.g. direct_num_workers=2"
                )

    def for_input(self, stored_bytes: int) -> BeamOptions:
        """Uses all cores where that pays, unless the user has said how to run.

        Starting workers and moving data between them costs seconds, so a small input is faster in
        one process.

        Args:
          stored_bytes: size of the input as it lies on disk.
        """
        chosen = self.runner is not None or any(
            option.startswith("direct_") for option in self.options
        )
        if chosen or stored_bytes < _BYTES_FOR_PROCESSES:
            return self
        return replace(self, processes=len(os.sched_getaffinity(0)))

    @property
    def flags(self) -> list[str]:
        """The options as Beam's own flags."""
        runner = [] if self.runner is None else [f"--runner={self.runner}"]
        workers = [] if self.processes == 1 else [f"--direct_num_workers={self.processes}"]
        return runner + workers + [f"--{option}" for option in self.options]


def silence_beam_import_logs() -> None:
    """Hides what Beam logs about optional parts of its own that nobody asked for.

    Must run before Beam is first imported; warnings about a pipeline still show.
    """
    logging.getLogger().addFilter(_is_not_beams_own_import)


def _is_not_beams_own_import(record: logging.LogRecord) -> bool:
    return not (record.name == "root" and "apache_beam" in record.pathname)
