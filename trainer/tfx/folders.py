"""Where the pipeline writes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class PipelineFolders:
    """Everything that the pipeline leaves behind.

    Attributes:
      root: the folder around it all.
    """

    root: Path

    @property
    def artifacts(self) -> Path:
        """A folder per component, and in it one per run: examples, statistics, models, ..."""
        return self.root / "artifacts"

    @property
    def metadata(self) -> Path:
        """ML Metadata (SQLite): what was run on what, and which models were blessed."""
        return self.root / "metadata.sqlite"

    def pushed(self, model_name: str) -> Path:
        """Model base path for a server: a version folder per blessed model."""
        return self.root / "pushed" / model_name
