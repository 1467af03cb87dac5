"""From the files of a work directory to the tables a model is built over."""

from __future__ import annotations

import hashlib
from pathlib import Path

from configs.scenario import Scenario
from models.building import ModelTables, sources_needed
from models.catalogue import CatalogueContents, CategoricalColumn
from preprocessing.records.item_attributes import read_item_attributes
from preprocessing.records.knowledge import read_knowledge
from preprocessing.records.layout import WorkDirectory
from preprocessing.records.vocabularies import read_vocabulary


def read_model_tables(scenario: Scenario) -> ModelTables:
    """Reads catalogue and knowledge of a scenario's work directory.

    Items that have knowledge but are in no catalogue are added without attributes, so that they can
    be ranked.

    Raises:
      preprocessing.records.errors.DamagedRecords: a file is missing or damaged.
    """
    directory = WorkDirectory(scenario.work_dir)
    attributes = read_item_attributes(directory.examples.item_attributes)
    categorical = {
        name: CategoricalColumn(read_vocabulary(directory.examples.vocabulary(name)), values)
        for name, values in attributes.categorical.items()
    }
    catalogue = CatalogueContents(
        item_ids=attributes.item_ids,
        trained_item_ids=read_vocabulary(directory.examples.vocabulary("item_id")),
        categorical=categorical,
        numeric=attributes.numeric,
        rating_sum_by_fold=attributes.rating_sum_by_fold,
        rating_count_by_fold=attributes.rating_count_by_fold,
    )
    knowledge = {
        source: read_knowledge(scenario.work_dir, source) for source in sources_needed(scenario)
    }
    known = [
        item_id
        for source, records in knowledge.items()
        if scenario.knowledge.answers[source].entity == "item"
        for item_id in records.entity_ids
    ]
    return ModelTables(catalogue.with_items(known), knowledge)


def fingerprint(scenario: Scenario) -> dict[str, str]:
    """SHA-256 of the manifests of everything a model of this scenario is built over, by step.

    A run keeps it, so that a checkpoint is never combined with other tables than it was trained
    with.

    Raises:
      FileNotFoundError: a step has not been run.
    """
    directory = WorkDirectory(scenario.work_dir)
    manifests = {"examples": directory.examples.manifest}
    for source in sources_needed(scenario):
        manifests[f"knowledge/{source}"] = directory.knowledge(source).manifest
    return {step: _sha256(path) for step, path in manifests.items()}


def _sha256(path: Path) -> str:
    if not path.exists():
        raise FileNotFoundError(f"{path} is missing; run 'python -m preprocessing all' first")
    return hashlib.sha256(path.read_bytes()).hexdigest()
