"""How models are evaluated and compared."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from configs.model import AdapterName, BackboneName
from configs.section import AxisOf, Section, TakesEffect, named_once, split_names


class Evaluation(Section):
    """How results are judged."""

    bootstrap_resamples: int = Field(
        1000, ge=10, description="resamples of test users for the intervals"
    )
    bootstrap_seed: int = Field(0, ge=0, description="seed of the resampling")
    user_activity_bounds: tuple[int, ...] = Field(
        (1, 5, 20, 100),
        min_length=1,
        description="slice user_activity: numbers of the user's earlier interactions at which "
        "groups begin, behind the group from 0",
    )
    item_popularity_bounds: tuple[int, ...] = Field(
        (1, 5, 20, 100),
        min_length=1,
        description="slice item_popularity: numbers of the item's training interactions at which "
        "groups begin, behind the group from 0",
    )
    cold_user_below: int = Field(
        5, ge=1, description="slice cold_user: a user with fewer earlier interactions is cold"
    )
    number_groups: int = Field(
        4, ge=2, description="slices by a numeric attribute: groups of about equal size"
    )
    largest_groups: int = Field(
        20,
        ge=1,
        description="slices by a categorical attribute: so many of its values, those of most "
        "samples; all others are one group",
    )
    sparse_below: int = Field(50, ge=1, description="a slice of fewer samples is marked as sparse")
    calibration_bins: int = Field(
        20, ge=1, description="bins of the reliability plot and of calibration_error"
    )
    memory_megabytes: int = Field(
        1024,
        ge=256,
        description="what evaluation's sorting may hold in memory; the rest is on disk",
    )
    threads: int = Field(2, ge=1, description="threads of evaluation's sorting")

    @field_validator("user_activity_bounds", "item_popularity_bounds")
    @classmethod
    def _bounds_ascend(cls, bounds: tuple[int, ...]) -> tuple[int, ...]:
        if list(bounds) != sorted(set(bounds)) or bounds[0] < 1:
            raise ValueError("expected ascending whole numbers from 1")
        return bounds


class Arm(Section):
    """One arm of an experiment: a name and what it changes."""

    description: str = Field("", description="what people read about the arm")
    overrides: dict[str, object] = Field(
        default_factory=dict, description="dotted keys and their values"
    )


class SearchRange(Section):
    """What a search may try for one setting: numbers between two bounds, or choices."""

    low: float | None = Field(None, description="smallest number")
    high: float | None = Field(None, description="largest number")
    log: bool = Field(False, description="small and large numbers are tried alike often")
    step: float | None = Field(None, gt=0, description="distance between numbers, from 'low' on")
    choices: tuple[object, ...] | None = Field(
        None, min_length=1, description="values in place of numbers between bounds"
    )

    @model_validator(mode="after")
    def _is_one_kind(self) -> SearchRange:
        if self.choices is not None:
            if self.log or any(x is not None for x in (self.low, self.high, self.step)):
                raise ValueError("'choices' stand in place of 'low', 'high', 'log' and 'step'")
            texts = [repr(choice) for choice in self.choices]
            if len(set(texts)) < len(texts):
                raise ValueError("'choices' name a value twice; name it once")
            return self
        if self.low is None or self.high is None:
            raise ValueError("name both 'low' and 'high', or 'choices'")
        if self.low >= self.high:
            raise ValueError("'low' must be less than 'high'")
        if self.log and self.low <= 0:
            raise ValueError("'log' needs a 'low' above 0")
        if self.log and self.step is not None:
            raise ValueError("'log' and 'step' exclude each other")
        return self


class Tuning(Section):
    """The search for good settings, on the validation part alone."""

    trials: int = Field(
        0,
        ge=0,
        description="settings tried for every cell of an experiment, with its first seed; 0: "
        "every cell is trained with the settings as they are",
    )
    space: dict[str, SearchRange] = Field(
        default_factory=dict,
        description="dotted key -> low and high (and log or step), or choices",
    )
    seed: int = Field(0, ge=0, description="of the search; the same for every cell")


class BaselineTuning(Tuning):
    """The search for settings of the baseline, with which all arms are then trained."""

    trials: int = Field(
        0,
        ge=0,
        description="settings tried for the baseline of every backbone, with the first seed; all "
        "arms of the backbone are trained with the best ones; 0: no search",
    )


class Experiment(Section):
    """Backbones x arms x seeds; the arms are those of the axes and those written out."""

    backbones: Annotated[tuple[BackboneName, ...], AxisOf("model.backbone")] = Field(
        ("din", "dcnv2"), min_length=1, description="models of one kind (docs/models)"
    )
    adapters: Annotated[tuple[AdapterName, ...], AxisOf("model.adapter")] = Field(
        (), description="axis of arms: values of model.adapter; as the model has it if empty"
    )
    matches: Annotated[tuple[Literal["none", "means", "ridge"], ...], AxisOf("model.match")] = (
        Field((), description="axis of arms: values of model.match; as the model has it if empty")
    )
    extractions: Annotated[dict[str, tuple[str, ...]], AxisOf("model.knowledge_match.sources")] = (
        Field(
            default_factory=dict,
            description="axis of arms: name -> knowledge sources, for example 'individual: [item, "
            "user]'; the adapter reads all of them, the match those of items",
        )
    )
    arms: dict[str, Arm] = Field(
        default_factory=dict, description="arms written out, beside those of the axes"
    )
    baseline: str = Field("none", description="the arm that all others are compared with")
    seeds: tuple[Annotated[int, Field(ge=0, lt=2**32)], ...] = Field(
        (1, 2, 3), min_length=1, description="training seeds; every cell is trained with each"
    )
    tuning: Tuning = Tuning()
    tune_baseline: BaselineTuning = BaselineTuning()
    processes: int = Field(1, ge=1, description="runs at a time, each in a process of its own")
    threads_per_process: Annotated[int | None, TakesEffect(".processes", unless=(1,))] = Field(
        None,
        ge=1,
        description="threads of each process where several runs are made at a time; an equal share "
        "of the cores if null. The last digits of results depend on it",
    )

    _split_names = field_validator("backbones", "adapters", "matches", mode="before")(split_names)
    _each_once = field_validator("backbones", "adapters", "matches", "seeds")(named_once)

    @model_validator(mode="after")
    def _one_search(self) -> Experiment:
        if self.tuning.trials and self.tune_baseline.trials:
            raise ValueError(
                "'tuning' searches settings for every cell and 'tune_baseline' for the baseline "
                "alone; set the trials of one of them to 0"
            )
        return self

    def search_of(self, arm: str) -> Tuning:
        """The search for the settings of an arm's cells; one without trials if they have none."""
        searches_baseline = arm == self.baseline and self.tune_baseline.trials
        return self.tune_baseline if searches_baseline else self.tuning

    @field_validator("extractions")
    @classmethod
    def _extractions_have_sources(
        cls, extractions: dict[str, tuple[str, ...]]
    ) -> dict[str, tuple[str, ...]]:
        for name, sources in extractions.items():
            if not sources:
                raise ValueError(f"'{name}' names no source")
            named_once(sources)
        return extractions

    @field_validator("arms", "extractions")
    @classmethod
    def _names_are_plain(cls, named: dict[str, Any]) -> dict[str, Any]:
        for name in named:
            if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.+-]*", name):
                raise ValueError(
                    f"'{name}' becomes part of a folder's name; write it in letters, digits, '_', "
                    "'-', '.' and '+'"
                )
        return named
