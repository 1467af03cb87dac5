"""What an export may be asked to do otherwise."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from configs.section import Section
from configs.serving import IdType, NumberFormat

DEFAULT_PROOF_SAMPLES = 256
DEFAULT_CARD_ROWS = 200_000
"""What intervals of 1,000 resamples take seconds for."""

ProofExtent = Literal["full", "quick", "none"]
CardPart = Literal["validation", "test"]


class ExportOptions(Section):
    """Options of an export."""

    augmented_dtype: NumberFormat | None = Field(
        None, description="in the place of the run's serving.augmented_dtype"
    )
    id_type: IdType | None = Field(None, description="in the place of the run's serving.id_type")
    proof: ProofExtent = Field(
        "full",
        description="ask the export on every way to load it before it is published; quick: as a "
        "SavedModel in Python and through TensorFlow's C API only",
    )
    proof_samples: int = Field(
        DEFAULT_PROOF_SAMPLES, ge=1, description="validation examples that are asked"
    )
    card_part: CardPart | None = Field(
        "validation",
        description="part that the model card's metrics are of; test is to be read once, for the "
        "final model; no card is written if empty",
    )
    card_rows: int = Field(
        DEFAULT_CARD_ROWS, ge=1, description="samples that these metrics are made from, at most"
    )
