"""The typed configuration of one scenario, from raw data to the served model.

One YAML file describes a scenario from raw logs to the served model. Every section is a frozen
pydantic model that refuses unknown keys, so a misspelt key is an error with a suggestion and never
a silent default.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from configs.data import Data, Split
from configs.experiment import Evaluation, Experiment
from configs.knowledge import Knowledge
from configs.model import Model
from configs.prompting import Generation, Prompts
from configs.section import FixedInArms, Role, Section
from configs.serving import Serving
from configs.training import Training


class Scenario(Section):
    """One scenario from raw logs to the served model."""

    name: Annotated[str, Role.NO_TRAINING] = Field(description="a short name for people")
    work_dir: Annotated[str, FixedInArms("all arms use the same data")] = Field(
        description="folder for TFRecords, vocabularies and manifests"
    )
    run_dir: Annotated[
        str | None, Role.NO_TRAINING, FixedInArms("the experiment has its own folders")
    ] = Field(
        None,
        description="folder of one training run; below work_dir/runs, named after the model's "
        "options, if empty",
    )
    data: Data
    split: Split = Split()
    knowledge: Knowledge = Field(
        Knowledge(), description="what an LLM knows; may be left out for models without knowledge"
    )
    prompts: Prompts = Prompts()
    generation: Generation = Generation()
    model: Model = Model()
    training: Training = Training()
    evaluation: Annotated[Evaluation, Role.NO_TRAINING] = Evaluation()
    experiment: Annotated[
        Experiment, Role.NO_TRAINING, FixedInArms("an arm is part of the experiment")
    ] = Experiment()
    serving: Annotated[Serving, Role.NO_TRAINING] = Serving()

    def knowledge_sources(self) -> tuple[str, ...]:
        """Names of the knowledge sources that the model reads: adapter, match, then prior."""
        model = self.model
        return tuple(
            dict.fromkeys(
                [
                    *(self.knowledge.sources if model.adapter != "none" else ()),
                    *(model.knowledge_match.sources if model.match != "none" else ()),
                    *(model.knowledge_prior.sources if model.prior else ()),
                ]
            )
        )

    @property
    def attention_history_length(self) -> int:
        """Newest interactions that attention reads: no more than an example holds."""
        return min(self.model.attention_history_length, self.data.history_length)

    @property
    def match_history_length(self) -> int:
        """Newest interactions that take part in knowledge match: no more than an example holds."""
        return min(self.model.knowledge_match.history_length, self.data.history_length)

    @model_validator(mode="after")
    def _adapter_has_sources(self) -> Scenario:
        if self.model.adapter == "none" or self.knowledge.sources:
            return self
        if "adapter" in self.model.model_fields_set:
            raise ValueError(
                f"model.adapter '{self.model.adapter}' reads knowledge, and knowledge.sources "
                "names none; set model.adapter=none for the model without knowledge, or describe "
                "a source under knowledge.answers and name it in knowledge.sources"
            )
        self.__dict__["model"] = self.model.model_copy(update={"adapter": "none"})
        return self

    @model_validator(mode="after")
    def _ridge_has_ratings(self) -> Scenario:
        if self.model.match == "ridge" and self.data.is_implicit:
            raise ValueError(
                "model.match 'ridge' learns from ratings that differ, and implicit feedback has "
                "none (data.interactions.columns has neither rating nor label); take 'means' or "
                "'none'; why: docs/knowledge_match.md, 'Implicit feedback'"
            )
        return self

    @model_validator(mode="after")
    def _match_and_prior_read_items(self) -> Scenario:
        used = {
            "knowledge_match": self.model.match != "none",
            "knowledge_prior": self.model.prior,
        }
        for section in (name for name, is_used in used.items() if is_used):
            for source in getattr(self.model, section).sources:
                answers = self.knowledge.answers.get(source)
                if answers is None or answers.entity != "item":
                    off = "match=none" if section == "knowledge_match" else "prior=false"
                    raise ValueError(
                        f"model.{section}.sources: '{source}' must be an item source of "
                        f"knowledge.answers; describe it there, name another, or set model.{off}"
                    )
                if section == "knowledge_prior" and answers.collaborative is not None:
                    raise ValueError(
                        f"model.knowledge_prior.sources: '{source}' holds collaborative vectors, "
                        "which are cross-fitted for knowledge match only; take another source"
                    )
        return self

    @model_validator(mode="after")
    def _adapter_fits_its_sources(self) -> Scenario:
        if self.model.adapter == "none":
            return self
        for source in self.knowledge.sources:
            answers = self.knowledge.answers[source]
            if answers.collaborative is not None:
                raise ValueError(
                    f"knowledge.sources: '{source}' holds collaborative vectors, which are "
                    "cross-fitted for knowledge match only; name it under "
                    "model.knowledge_match.sources instead"
                )
            if self.model.adapter == "replace_id" and answers.entity != "item":
                raise ValueError(
                    "model.adapter 'replace_id' puts item knowledge in the place of item ids; "
                    f"leave the user source '{source}' out of knowledge.sources"
                )
        return self

    @model_validator(mode="after")
    def _field_options_have_fields(self) -> Scenario:
        model = self.model
        if model.adapter in ("none", "replace_id"):
            return self
        entities = [self.knowledge.answers[source].entity for source in self.knowledge.sources]
        if model.factor_gate and len(set(entities)) == len(entities):
            raise ValueError(
                "model.factor_gate weighs sources of one entity, and knowledge.sources names at "
                "most one of items and one of users; name a second one, or leave it out"
            )
        for key in ("history_knowledge", "alignment_weight"):
            if getattr(model, key) and "item" not in entities:
                raise ValueError(
                    f"model.{key} is about knowledge of items, and knowledge.sources names no item "
                    "source; name one, or leave it out"
                )
        return self

    @model_validator(mode="after")
    def _tasks_have_labels(self) -> Scenario:
        for task in self.model.tasks:
            if task not in self.data.labels:
                names = ", ".join(sorted(self.data.labels)) or "none"
                raise ValueError(f"model.tasks: '{task}' is not in data.labels (there: {names})")
        return self
