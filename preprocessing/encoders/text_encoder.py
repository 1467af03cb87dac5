"""What every text encoder offers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np

from configs.scenario import Encoder


class TextEncoder(Protocol):
    """Turns answers into knowledge vectors."""

    @classmethod
    def prepare(cls, settings: Encoder, texts: Sequence[str], folder: Path) -> dict[str, Any]:
        """Fits the encoder where it needs that, and freezes it as files.

        Args:
          settings: configuration of the encoder.
          texts: the accepted answers of one source, in a fixed order, at least one.
          folder: where files belong that `load` reads again.

        Returns:
          What the manifest says about the encoder, with "dimension", the width of its vectors.
        """

    @classmethod
    def load(cls, settings: Encoder, folder: Path) -> Self:
        """Loads what `prepare` prepared."""

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """Knowledge vectors float32 [texts, dimension], not normalised."""
