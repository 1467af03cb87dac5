"""Tables and prepared examples, kept in memory for several models on the same data."""

from __future__ import annotations

import json

from configs.scenario import Scenario
from models.building import ModelTables
from models.ranking import RankingModel
from trainer.examples import PreparedExamples, read_prepared_examples
from trainer.tables import read_model_tables, settings_asked


class ExampleStore:
    """Reads tables and prepares examples once for all models that need the same.

    Prepared examples depend on no trained weight, so runs that differ in backbone, seed or training
    settings share them.
    """

    def __init__(self) -> None:
        """Creates an empty store."""
        self._tables: dict[str, ModelTables] = {}
        self._examples: dict[tuple[str, str], PreparedExamples] = {}

    def tables(self, scenario: Scenario) -> ModelTables:
        """Catalogue and knowledge of a scenario; see `read_model_tables` for errors."""
        key = json.dumps([scenario.work_dir, settings_asked(scenario)])
        if key not in self._tables:
            self._tables[key] = read_model_tables(scenario)
        return self._tables[key]

    def examples(self, scenario: Scenario, model: RankingModel, part: str) -> PreparedExamples:
        """The prepared samples of a part, for a model built from this scenario."""
        model_options = scenario.model
        key = json.dumps(
            [
                scenario.work_dir,
                settings_asked(scenario),
                model_options.adapter,
                model_options.match,
                model_options.knowledge_match.model_dump(),
                model_options.attention_history_length,
            ]
        )
        if (key, part) not in self._examples:
            self._examples[key, part] = read_prepared_examples(
                scenario, model.inputs_preparation, part
            )
        return self._examples[key, part]
