"""The typed configuration of one scenario, from raw data to the served model.

One YAML file describes a scenario from raw logs to the served model. Every section is a frozen
pydantic model that refuses unknown keys, so a misspelt key is an error with a suggestion and never
a silent default.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from configs.judging import Evaluation, Experiment
from configs.knowledge import Knowledge
from configs.modelling import Model, Training
from configs.prompting import Generation, Prompts
from configs.raw_data import Data, Split
from configs.section import Section


class Serving(Section):
    """How the export is served."""

    model_name: str = "ranker"
    augmented_dtype: Literal["float32", "float16"] = Field(
        "float32", description="number format of the augmented vector tables"
    )


class Scenario(Section):
    """One scenario from raw logs to the served model."""

    name: str = Field(description="a short name for people")
    work_dir: str = Field(description="folder for TFRecords, vocabularies and manifests")
    run_dir: str | None = Field(
        None,
        description="folder of one training run; work_dir/runs/<backbone>_<arm>_seed<N> if empty",
    )
    data: Data
    split: Split = Split()
    knowledge: Knowledge
    prompts: Prompts = Prompts()
    generation: Generation = Generation()
    model: Model = Model()
    training: Training = Training()
    evaluation: Evaluation = Evaluation()
    experiment: Experiment = Experiment()
    serving: Serving = Serving()

    def knowledge_sources(self) -> tuple[str, ...]:
        """Names of the knowledge sources that the model reads.

        These are the sources of the adapter, and the match source when the model has a match.
        """
        sources = self.knowledge.sources if self.model.adapter != "none" else ()
        match = () if self.model.match == "none" else (self.model.knowledge_match.source,)
        return tuple(dict.fromkeys([*sources, *match]))

    @model_validator(mode="after")
    def _ridge_has_ratings(self) -> Scenario:
        if self.model.match == "ridge" and self.data.is_implicit:
            raise ValueError(
                "model.match 'ridge' learns from ratings that differ, and implicit feedback has "
                "none (data.interactions.columns has neither rating nor label); take 'means' or "
                "'none'"
            )
        return self

    @model_validator(mode="after")
    def _match_source_is_known(self) -> Scenario:
        if self.model.match != "none":
            source = self.model.knowledge_match.source
            answers = self.knowledge.answers.get(source)
            if answers is None or answers.entity != "item":
                raise ValueError(
                    f"model.knowledge_match.source '{source}' must be an item source "
                    "of knowledge.answers"
                )
        return self
