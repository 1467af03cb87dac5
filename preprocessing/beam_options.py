"""Which Beam runner, with which options; without importing Beam."""

from __future__ import annotations

from dataclasses import dataclass

from configs.loading import ConfigurationError


@dataclass(frozen=True)
class BeamOptions:
    """How pipelines are run.

    Attributes:
      runner: a Beam runner's name; None for the FnApiRunner inside this process.
      options: texts `KEY=VALUE`, passed on as `--KEY=VALUE`.
      staging: absolute path or URL of a folder that all workers see; None when they see the work
        directory.
    """

    runner: str | None = None
    options: tuple[str, ...] = ()
    staging: str | None = None

    def __post_init__(self) -> None:
        for option in self.options:
            key, equals, _ = option.partition("=")
            if not key or not equals:
                raise ConfigurationError(
                    f"--beam-option '{option}': write it as KEY=VALUE, e.g. direct_num_workers=2"
                )

    @property
    def flags(self) -> list[str]:
        """The options as Beam's own flags."""
        runner = [] if self.runner is None else [f"--runner={self.runner}"]
        return runner + [f"--{option}" for option in self.options]
