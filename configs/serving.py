"""How a model is exported and served."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from configs.section import Section, TakesEffect

NumberFormat = Literal["float32", "float16", "int8"]
IdType = Literal["string", "int64"]
MOST_WARMUP_REQUESTS = 1000
"""TensorFlow Serving refuses a version with more of them."""
WARMUP_CANDIDATES = 10
"""Candidates of each list in a warm-up request."""


ALWAYS_TAKEN = 1000
"""Candidates, or rows without any, that every export takes in one request."""


class Serving(Section):
    """How the export is served."""

    model_name: str = Field("ranker", description="what requests call the exported model")
    augmented_dtype: Annotated[
        NumberFormat,
        TakesEffect(
            "model.adapter",
            unless=("none",),
            or_else=TakesEffect("model.match", unless=("none",)),
        ),
    ] = Field(
        "float32",
        description="number format of the augmented vector tables; int8 has a scale per row",
    )
    id_type: IdType = Field(
        "string",
        description="how requests write users and items; int64 is for ids that all are whole "
        "numbers from 0 on, and pads with -1 instead of ''",
    )
    batch_sizes: tuple[int, ...] = Field(
        (1, 8, 64, 100),
        description="rows of the warm-up requests, one request of each for every signature that "
        "takes features; the allowed batch sizes where the server batches",
    )
    largest_request: int | None = Field(
        None,
        ge=ALWAYS_TAKEN,
        description="most candidates of a request (of retrieval: users); the exported graph "
        "refuses more, wherever it runs. At least ten times the largest batch size, and the rows "
        "that the server merges; without a number there is no limit",
    )

    @model_validator(mode="after")
    def _check_largest_request(self) -> Self:
        least = WARMUP_CANDIDATES * max(self.batch_sizes)
        if self.largest_request is not None and self.largest_request < least:
            raise ValueError(
                f"largest_request: must be at least {least}, because warm-up requests have so "
                f"many candidates (batch_sizes). Received: {self.largest_request}"
            )
        return self

    @field_validator("batch_sizes")
    @classmethod
    def _check_batch_sizes(cls, sizes: tuple[int, ...]) -> tuple[int, ...]:
        if not sizes or min(sizes) < 1 or len(set(sizes)) < len(sizes):
            raise ValueError("must be distinct positive numbers, at least one")
        return tuple(sorted(sizes))
