"""What an export may be asked to do otherwise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from configs.serving import IdType, NumberFormat

DEFAULT_PROOF_SAMPLES = 256
DEFAULT_CARD_ROWS = 200_000
"""What intervals of 1,000 resamples take seconds for."""

ProofExtent = Literal["full", "quick", "none"]
CardPart = Literal["validation", "test"]


@dataclass(frozen=True)
class ExportOptions:
    """Options of an export.

    Attributes:
      augmented_dtype: number format of the stored vectors; that of the run's scenario if None.
      id_type: how requests write ids; likewise.
      proof: on how many ways the export is asked before it is published; quick is the SavedModel
        in Python and TensorFlow's C API only.
      proof_samples: validation examples that are asked.
      card_part: part that the model card's metrics are of; no card is written if None.
      card_rows: samples that they are made from, at most.
    """

    augmented_dtype: NumberFormat | None = None
    id_type: IdType | None = None
    proof: ProofExtent = "full"
    proof_samples: int = DEFAULT_PROOF_SAMPLES
    card_part: CardPart | None = "validation"
    card_rows: int = DEFAULT_CARD_ROWS
