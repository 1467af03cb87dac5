"""Raw data: which tables, what their columns mean, and which examples are made from them."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, field_validator, model_validator

from configs.section import Role, Section, TakesEffect, input_names, variable_names

IF_CSV = TakesEffect(".format", ("auto", "csv"))


class Table(Section):
    """A table on disk: which files, and how their rows are written."""

    path: str | tuple[str, ...] = Field(
        description="a file, a glob pattern, or a list of them: CSV, Parquet or JSON lines; "
        ".gz, .bz2, .xz and .zst are read as they are; a URL such as gs://... where Beam has a "
        "file system for it"
    )
    format: Literal["auto", "csv", "parquet", "jsonl"] = Field(
        "auto",
        description="auto: by the name (.parquet; .jsonl, .ndjson and .json; csv for all others)",
    )
    separator: Annotated[str | None, IF_CSV] = Field(
        None,
        description="csv: between fields, one or several characters; a tab for .tsv, else a comma",
    )
    encoding: Annotated[str, TakesEffect(".format", ("auto", "csv", "jsonl"))] = Field(
        "utf-8", description="csv and jsonl: character encoding, e.g. latin-1"
    )
    header: Annotated[bool, IF_CSV] = Field(
        True, description="csv: the first line of each file names the columns"
    )
    column_names: Annotated[tuple[str, ...], IF_CSV] = Field(
        (), description="csv: names of the columns, in order, of files without a header line"
    )
    quoting: Annotated[bool, IF_CSV] = Field(
        True, description="csv: fields may stand in double quotes; false takes quotes as they are"
    )

    @property
    def paths(self) -> tuple[str, ...]:
        """The paths and patterns, one or several."""
        return (self.path,) if isinstance(self.path, str) else self.path

    @model_validator(mode="after")
    def _columns_have_names(self) -> Self:
        if not self.paths or not all(self.paths):
            raise ValueError("'path' names no file")
        if not self.header and not self.column_names:
            raise ValueError("'header: false' needs 'column_names', the columns in order")
        if self.header and self.column_names:
            raise ValueError("'column_names' needs 'header: false'")
        if len(set(self.column_names)) != len(self.column_names):
            raise ValueError("'column_names' names a column twice")
        return self


class InteractionColumns(Section):
    """Which columns of the interaction table hold what; null for what there is not."""

    user: str = Field("user_id", description="column with the user id")
    item: str = Field("item_id", description="column with the item id")
    rating: str | None = Field("rating", description="column with the rating, a number")
    label: str | None = Field(
        None, description="column with the label, 0 or 1; data.positive_rating decides if empty"
    )
    timestamp: str | None = Field("timestamp", description="column with the time")
    order: str | None = Field(
        None,
        description="column with a number by which a user's interactions follow each other; the "
        "time if empty, and without a time the order of the rows",
    )
    part: Annotated[str | None, TakesEffect("split.by", ("column",))] = Field(
        None, description="split.by=column: column that says train, validation or test"
    )


class Interactions(Table):
    """The log of who rated or used what and when."""

    columns: InteractionColumns = InteractionColumns()
    time_unit: Annotated[
        Literal["seconds", "milliseconds", "microseconds", "nanoseconds", "iso"],
        TakesEffect(".columns.timestamp", unless=(None,)),
    ] = Field(
        "seconds",
        description="what the timestamp column holds: a number since 1970, or iso: dates such as "
        "2018-05-01T12:30:00Z; examples carry seconds",
    )


def _no_empty_separator(separator: str) -> str:
    if not separator:
        raise ValueError(
            "is empty; leave it out if there is none, and write '|' with quotes of its own in an "
            "override: separator='\"|\"'"
        )
    return separator


class Attribute(Section):
    """One attribute of an item or of a user."""

    kind: Literal["categorical", "numeric"] = Field(description="how the model reads the attribute")
    column: str | None = Field(
        None, description="column of the table; the attribute's name if empty"
    )
    separator: Annotated[str, AfterValidator(_no_empty_separator)] | None = Field(
        None, description="splits a multi-valued categorical attribute, for example '|'"
    )
    flags: tuple[str, ...] = Field(
        (),
        description="categorical: columns with 0 or 1 instead of one column with values; the value "
        "is the name of the column",
    )
    pattern: str | None = Field(
        None,
        description="regular expression whose first group is the value, for example "
        r"'\((\d{4})\)$' for the year at the end of a title",
    )
    values: dict[str, str] = Field(
        default_factory=dict,
        description="categorical: readable values of codes, for example F: female",
    )

    @model_validator(mode="after")
    def _options_fit_the_kind(self) -> Attribute:
        if self.kind == "numeric" and (self.separator or self.flags or self.values):
            raise ValueError("'separator', 'flags' and 'values' are for categorical attributes")
        if self.flags and (self.column or self.separator or self.pattern):
            raise ValueError("'flags' stands in place of 'column', 'separator' and 'pattern'")
        if self.pattern is not None:
            try:
                groups = re.compile(self.pattern).groups
            except re.error as error:
                raise ValueError(f"'pattern' is not a regular expression ({error})") from error
            if groups != 1:
                raise ValueError("'pattern' needs exactly one group in parentheses, the value")
        return self


class CatalogueTable(Table):
    """The items that can be ranked."""

    item: str = Field("item_id", description="column with the item id")
    title: str = Field("title", description="column with the title that people read")
    attributes: dict[str, Attribute] = Field(
        default_factory=dict, description="item attributes by name, used as model inputs"
    )

    _attributes_name_variables = field_validator("attributes")(variable_names)


class Profiles(Table):
    """What is known about users beside their interactions."""

    user: str = Field("user_id", description="column with the user id; never shown to the LLM")
    attributes: dict[str, Attribute] = Field(
        default_factory=dict,
        description="user attributes by name, copied into examples as profile_<name>",
    )

    _attributes_name_inputs = field_validator("attributes")(input_names)

    @model_validator(mode="after")
    def _hide_the_user(self) -> Self:
        for name, attribute in self.attributes.items():
            if self.user in (attribute.column or name, *attribute.flags):
                raise ValueError(
                    f"attributes.{name}: column '{self.user}' holds the user's id, which prompts "
                    "and models never see; leave it out"
                )
        return self


class InteractionFilter(Section):
    """Keeps users and items with enough interactions (k-core)."""

    minimum_user_interactions: int = Field(1, ge=1, description="fewer: the user is left out")
    minimum_item_interactions: int = Field(1, ge=1, description="fewer: the item is left out")
    repeat: Annotated[
        bool,
        TakesEffect(
            ".minimum_user_interactions",
            unless=(1,),
            or_else=TakesEffect(".minimum_item_interactions", unless=(1,)),
        ),
    ] = Field(
        True,
        description="repeat until every user and item that is left has enough (k-core); false: "
        "counts of the unfiltered log decide, once",
    )

    @property
    def keeps_everything(self) -> bool:
        """True when nothing can be filtered out."""
        return self.minimum_user_interactions == self.minimum_item_interactions == 1


IF_NEGATIVES = TakesEffect(".per_positive", unless=(0,))


class Negatives(Section):
    """Sampled negatives for implicit feedback: items new to the user, whatever comes later."""

    per_positive: int = Field(0, ge=0, description="negatives sampled for each positive sample")
    by: Annotated[Literal["uniform", "popularity"], IF_NEGATIVES] = Field(
        "uniform",
        description="uniform: every item alike; popularity: as popular as the positives of the "
        "same part, in training of the same fold of users",
    )
    seed: Annotated[int, IF_NEGATIVES] = Field(0, ge=0, description="seed of the sampling")


class RerankLists(Section):
    """Candidate lists for re-ranking: a user's real interactions among sampled items."""

    window: int = Field(4, ge=1, description="interactions of one list, one after the other")
    length: int = Field(10, ge=2, description="candidates of a list; sampled items fill it up")
    seed: int = Field(0, ge=0, description="seed of the sampled items and of their order")

    @model_validator(mode="after")
    def _window_fits(self) -> RerankLists:
        if self.window > self.length:
            raise ValueError("'window' is larger than 'length'")
        return self


MOST_EXTRA_LABELS = 63
"""An interaction carries its extra labels as bits of one signed 64-bit number."""

_LABEL_NAME = re.compile(r"[A-Za-z0-9_]+")


class ExtraLabel(Section):
    """One more label of an interaction, for models of several tasks."""

    column: str | None = Field(None, description="column of the interactions with 0 or 1")
    minimum_rating: float | None = Field(
        None, description="the label is 1 when the rating is at least this"
    )

    @model_validator(mode="after")
    def _has_one_origin(self) -> ExtraLabel:
        if (self.column is None) == (self.minimum_rating is None):
            raise ValueError("an extra label needs either 'column' or 'minimum_rating'")
        return self


class Data(Section):
    """Raw data and the examples made from it."""

    interactions: Interactions
    catalogue: CatalogueTable
    profiles: Profiles | None = Field(None, description="table of users; there may be none")
    positive_rating: Annotated[
        float, TakesEffect("data.interactions.columns.rating", unless=(None,))
    ] = Field(4.0, description="label is 1 when the rating is at least this")
    labels: Annotated[dict[str, ExtraLabel], TakesEffect("data.examples", ("ctr",))] = Field(
        default_factory=dict,
        max_length=MOST_EXTRA_LABELS,
        description="further labels by name, in CTR examples as label_<name>; see model.tasks",
    )
    history_length: int = Field(
        200, ge=1, description="interactions kept in an example's history, newest last"
    )
    filter: InteractionFilter = InteractionFilter()
    negatives: Annotated[Negatives, TakesEffect("data.examples", ("ctr",))] = Negatives()
    examples: tuple[Literal["ctr", "rerank", "retrieval"], ...] = Field(
        ("ctr",),
        min_length=1,
        description="kinds of examples: ctr: one candidate each; rerank: a list of candidates; "
        "retrieval: liked items only",
    )
    rerank: Annotated[RerankLists, TakesEffect("data.examples", ("rerank",))] = RerankLists()
    warn_coverage_below: Annotated[float, Role.NO_RECORDS] = Field(
        0.5,
        ge=0,
        le=1,
        description="examples, encode, validate and train warn when the catalogue, the profiles or "
        "a source of knowledge know a smaller share of the log's interactions; they fail when one "
        "knows none",
    )
    shard_megabytes: Annotated[int, Role.NO_RECORDS] = Field(
        16, ge=1, description="megabytes of interactions, as they lie on disk, for a TFRecord file"
    )

    @model_validator(mode="after")
    def _labels_can_be_made(self) -> Data:
        for name, label in self.labels.items():
            if name == "label":
                raise ValueError("labels: 'label' is the first label's own name; take another")
            if not _LABEL_NAME.fullmatch(name):
                raise ValueError(
                    f"labels: the name '{name}' becomes the feature label_{name}; use letters, "
                    "digits and '_'"
                )
            if label.minimum_rating is not None and self.interactions.columns.rating is None:
                raise ValueError(
                    f"labels.{name}: 'minimum_rating' needs data.interactions.columns.rating; "
                    "without ratings name a 'column' with 0 or 1"
                )
        return self

    @property
    def liked_from(self) -> float:
        """The rating from which an interaction of a history counts as liked.

        Without a rating column the label, 0 or 1, stands for the rating.
        """
        return self.positive_rating if self.interactions.columns.rating is not None else 1.0

    @property
    def is_implicit(self) -> bool:
        """True when all that is known is that a user chose an item."""
        columns = self.interactions.columns
        return columns.rating is None and columns.label is None


class Split(Section):
    """How samples are divided into train, validation and test."""

    by: Literal["time", "user", "global_time", "column"] = Field(
        "time",
        description="time: the parts follow each other in time within each user; "
        "user: every user belongs to one part (unseen users in validation and test); "
        "global_time: the parts follow each other in time over all users, cut at whole hours; "
        "column: data.interactions.columns.part says it",
    )
    fractions: Annotated[tuple[float, float, float], TakesEffect(".by", unless=("column",))] = (
        Field((0.8, 0.1, 0.1), description="share of train, validation and test")
    )
    seed: int = Field(
        0, description="seed of the user split's hash and of the order of training examples"
    )
    knowledge_history_cap: int = Field(
        30,
        ge=0,
        description="the LLM saw at most this many of a user's first interactions, at most half of "
        "them; samples start after them (leak rule)",
    )

    @field_validator("fractions")
    @classmethod
    def _fractions_add_up(cls, fractions: tuple[float, float, float]) -> tuple[float, float, float]:
        if min(fractions) <= 0 or abs(sum(fractions) - 1.0) > 1e-6:
            raise ValueError("the three fractions must be positive and add up to 1")
        return fractions
