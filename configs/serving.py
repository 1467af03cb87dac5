"""How a model is exported and served."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from configs.section import Section

NumberFormat = Literal["float32", "float16", "int8"]
IdType = Literal["string", "int64"]
MOST_WARMUP_REQUESTS = 1000
"""TensorFlow Serving refuses a version with more of them."""


class Serving(Section):
    """How the export is served."""

    model_name: str = "ranker"
    augmented_dtype: NumberFormat = Field(
        "float32",
        description="number format of the augmented vector tables; int8 has a scale per row",
    )
    id_type: IdType = Field(
        "string",
        description="how requests write users and items; int64 is for ids that all are whole "
        "numbers from 0 on",
    )
    batch_sizes: tuple[int, ...] = Field(
        (1, 8, 64, 100),
        description="rows of the warm-up requests, one request of each for every signature; the "
        "allowed batch sizes where the server batches",
    )

    @field_validator("batch_sizes")
    @classmethod
    def _check_batch_sizes(cls, sizes: tuple[int, ...]) -> tuple[int, ...]:
        if not sizes or min(sizes) < 1 or len(set(sizes)) < len(sizes):
            raise ValueError("must be distinct positive numbers, at least one")
        return tuple(sorted(sizes))
