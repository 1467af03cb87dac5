"""Tables and prepared examples, kept in memory for several models on the same data."""

from __future__ import annotations

import json

import tensorflow_recommenders as tfrs

from configs.effects import keys_of, value_at
from configs.loading import with_effective_options
from configs.scenario import Scenario
from configs.section import Role
from models.building import ModelTables
from trainer.examples import PreparedExamples, read_prepared_examples
from trainer.tables import read_model_tables, settings_asked


class ExampleStore:
    """Reads tables and prepares examples once for all models that need the same.

    Prepared examples depend on no trained weight, so runs that differ in backbone, seed or training
    settings share them, as long as their backbones are of one kind.
    """

    def __init__(self) -> None:
        """Creates an empty store."""
        self._tables: dict[str, ModelTables] = {}
        self._examples: dict[tuple[str, str], PreparedExamples] = {}

    def tables(self, scenario: Scenario) -> ModelTables:
        """Catalogue, knowledge and profiles of a scenario; see `read_model_tables` for errors."""
        key = json.dumps([_data_key(scenario), scenario.model.user_profile])
        if key not in self._tables:
            self._tables[key] = read_model_tables(scenario)
        return self._tables[key]

    def examples(self, scenario: Scenario, model: tfrs.models.Model, part: str) -> PreparedExamples:
        """The prepared examples of a part, for a model built from this scenario."""
        key = json.dumps([_data_key(scenario), model.kind, _prepared_with(scenario, model)])
        if (key, part) not in self._examples:
            self._examples[key, part] = read_prepared_examples(
                scenario, model.inputs_preparation, part, model.kind
            )
        return self._examples[key, part]


def _data_key(scenario: Scenario) -> list[object]:
    return [scenario.work_dir, settings_asked(scenario)]


def _prepared_with(scenario: Scenario, model: tfrs.models.Model) -> dict[str, object]:
    """What decides, for one kind of model over the same data, what prepared features are.

    Which sources have rows among them is asked of the model: an adapter that takes the place of
    the item's id reads none.
    """
    settings = with_effective_options(scenario).model_dump(mode="json")
    return {
        "sources": [] if model.adapter is None else list(model.adapter.sources),
        **{key: value_at(settings, key) for key in keys_of(Scenario, Role.INPUTS)},
        **{key: list(value_at(settings, key)) for key in keys_of(Scenario, Role.INPUT_NAMES)},
    }
