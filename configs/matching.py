"""Knowledge match and knowledge prior: ratings explained by resemblance in knowledge space."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from configs.section import ReadsAtMost, Section, TakesEffect, named_once, split_names

WITH_RIDGE = TakesEffect("model.match", ("ridge",))


class Match(Section):
    """Knowledge match: how the candidate resembles what the user rated, in knowledge space."""

    sources: tuple[str, ...] = Field(
        ("item",),
        min_length=1,
        description="item sources whose vectors are compared; each gives features of its own",
    )
    history_length: Annotated[int, ReadsAtMost("data.history_length")] = Field(
        200,
        ge=1,
        description="newest interactions that take part; no more than data.history_length",
    )
    dimension: Annotated[
        int,
        TakesEffect(".form", ("low_rank",), or_else=TakesEffect("model.match", ("means",))),
    ] = Field(
        64,
        ge=2,
        description="width of the reduced item table (PCA for means, Nystroem for ridge); not for "
        "ridge's exact form, which compares whole vectors",
    )
    form: Annotated[Literal["low_rank", "exact"], WITH_RIDGE] = Field(
        "low_rank",
        description="ridge: low_rank solves in 'dimension' features, exact in the interactions "
        "themselves (slower with long histories)",
    )
    learned: bool = Field(
        False,
        description="kernel parameters are trained with the model, from the values below; "
        "the features are then computed in every step",
    )
    length_scale: Annotated[float, WITH_RIDGE] = Field(
        0.5, gt=0, description="ridge: of the kernel over cosines"
    )
    bias: Annotated[float, WITH_RIDGE] = Field(
        0.3, gt=0, description="ridge: constant part of the kernel"
    )
    noise: Annotated[float, WITH_RIDGE] = Field(
        1.0, gt=0, description="ridge: variance of a rating"
    )
    dropout_rate: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="share of training samples for which a source's features are hidden, each "
        "source on its own; keeps a strong source from silencing those that know new items",
    )

    _split_sources = field_validator("sources", mode="before")(split_names)
    _each_source_once = field_validator("sources")(named_once)


class Prior(Section):
    """Knowledge prior: the rating that an item's knowledge lets expect."""

    sources: tuple[str, ...] = Field(
        ("item",), min_length=1, description="item sources, each with a prior of its own"
    )
    dimension: int = Field(64, ge=2, description="landmarks of the kernel regression")
    length_scale: float = Field(0.5, gt=0, description="of the kernel over cosines")
    folds: int = Field(5, ge=2, description="parts of the items, each predicted from the others")

    _split_sources = field_validator("sources", mode="before")(split_names)
    _each_source_once = field_validator("sources")(named_once)
