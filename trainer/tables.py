"""From the files of a work directory to the tables a model is built over."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from configs.command_line import CommandError
from configs.data import ExtraLabel, RerankLists
from configs.files import file_sha256
from configs.loading import ConfigurationError
from configs.scenario import Scenario
from models.building import ModelTables
from models.catalogue import CatalogueContents, CategoricalColumn
from models.profiles import ProfileAttribute
from preprocessing.records.contract import PROFILE_PREFIX, RERANK
from preprocessing.records.item_tables import read_item_attributes, read_vocabulary
from preprocessing.records.knowledge import read_knowledge
from preprocessing.records.layout import (
    Settings,
    StepDirectory,
    WorkDirectory,
    examples_settings,
    knowledge_settings,
    read_settings,
)
from preprocessing.records.provenance import as_written, input_differences


def read_model_tables(scenario: Scenario) -> ModelTables:
    """Reads catalogue, knowledge and user profiles of a scenario's work directory.

    Items that have knowledge but are in no catalogue are added without attributes, so that they can
    be ranked.

    Raises:
      ConfigurationError: the data was built with other settings than the scenario's.
      preprocessing.records.contract.DamagedRecords: a file is missing or damaged.
    """
    _require_same_settings(scenario)
    directory = WorkDirectory(scenario.work_dir)
    attributes = read_item_attributes(as_written(directory.examples.item_attributes))
    categorical = {
        name: CategoricalColumn(
            read_vocabulary(as_written(directory.examples.vocabulary(name))), values
        )
        for name, values in attributes.categorical.items()
    }
    catalogue = CatalogueContents(
        item_ids=attributes.item_ids,
        trained_item_ids=read_vocabulary(as_written(directory.examples.vocabulary("item_id"))),
        categorical=categorical,
        numeric=attributes.numeric,
        rating_sum_by_fold=attributes.rating_sum_by_fold,
        rating_count_by_fold=attributes.rating_count_by_fold,
    )
    knowledge = {
        source: read_knowledge(scenario.work_dir, source) for source in scenario.knowledge_sources()
    }
    sources = [
        item_id
        for source, records in knowledge.items()
        if scenario.knowledge.answers[source].entity == "item"
        for item_id in records.entity_ids
    ]
    return ModelTables(catalogue.with_items(sources), knowledge, _profiles(scenario))


def _profiles(scenario: Scenario) -> dict[str, ProfileAttribute]:
    """The user's attributes that are inputs of the model."""
    profiles = scenario.data.profiles
    if profiles is None or not scenario.model.user_profile:
        return {}
    examples = WorkDirectory(scenario.work_dir).examples
    return {
        name: ProfileAttribute(
            attribute.kind,
            read_vocabulary(as_written(examples.vocabulary(f"{PROFILE_PREFIX}{name}")))
            if attribute.kind == "categorical"
            else (),
        )
        for name, attribute in profiles.attributes.items()
    }


def data_fingerprint(scenario: Scenario) -> dict[str, str]:
    """SHA-256 of the manifests of everything a model of this scenario is built over, by step.

    A run keeps it, so that a checkpoint is never combined with other tables than it was trained
    with.

    Raises:
      FileNotFoundError: a step has not been run.
    """
    directories = _step_directories(scenario)
    return {step: _sha256(directory.manifest) for step, directory in directories.items()}


def require_unchanged(scenario: Scenario, fingerprint: Mapping[str, str]) -> None:
    """Makes sure that the prepared data still are those that were read.

    Args:
      scenario: says where they are.
      fingerprint: what `data_fingerprint` was before they were read.

    Raises:
      CommandError: a step was run meanwhile.
    """
    try:
        changed = data_fingerprint(scenario) != fingerprint
    except FileNotFoundError:
        changed = True
    if changed:
        raise CommandError(
            f"the data in {scenario.work_dir} changed while they were trained with: another "
            "process prepares them anew. Run the same command again when it is done"
        )


def require_named_inputs(scenario: Scenario, sources: Iterable[str] | None = None) -> None:
    """Makes sure that the prepared data were made from the files that the scenario names.

    Args:
      scenario: names the files.
      sources: of knowledge that are looked at; those that the model reads when left out.

    Raises:
      ConfigurationError: they were made from others, or with other settings where the model's
        sources are looked at; the message names fields, values and the fix.
      preprocessing.records.contract.DamagedRecords: a manifest is missing or damaged.
    """
    if sources is None:
        _require_same_settings(scenario)
        sources = scenario.knowledge_sources()
    lines = input_differences(scenario, sources)
    if lines:
        raise ConfigurationError(
            "the data was built from other files than this configuration names:\n"
            + "\n".join(lines)
            + "\nBuild it again with 'python -m preprocessing all' and the same configuration and "
            "overrides, use another work_dir, or name the files of the data"
        )


def settings_asked(scenario: Scenario) -> dict[str, Settings]:
    """The settings that the data of this scenario's model must have been built with, by step."""
    knowledge = {
        f"knowledge/{source}": knowledge_settings(scenario, source)
        for source in scenario.knowledge_sources()
    }
    return {"examples": examples_settings(scenario), **knowledge}


def _step_directories(scenario: Scenario) -> dict[str, StepDirectory]:
    work = WorkDirectory(scenario.work_dir)
    knowledge = {
        f"knowledge/{source}": work.knowledge(source) for source in scenario.knowledge_sources()
    }
    return {"examples": work.examples, **knowledge}


def _require_same_settings(scenario: Scenario) -> None:
    directories = _step_directories(scenario)
    require_knowledge(scenario)
    built_by_step = {step: read_settings(directory) for step, directory in directories.items()}
    needed = _with_unread_settings(scenario, built_by_step["examples"])
    differences = []
    for step, asked in settings_asked(needed).items():
        built = built_by_step[step]
        differences += [
            f"  {key}: {_shown(asked, key)} is asked for, but {directories[step].path} was built "
            f"with {_shown(built, key)}"
            for key in sorted(asked.keys() | built.keys())
            if _shown(asked, key) != _shown(built, key)
        ]
    if differences:
        lines = "\n".join(differences)
        raise ConfigurationError(
            f"the data was built with other settings than this configuration's:\n{lines}\n"
            "Build it again with 'python -m preprocessing all' and the same configuration and "
            "overrides, use another work_dir, or ask for the settings of the data"
        )


def require_knowledge(scenario: Scenario) -> None:
    """Makes sure that what the model reads is there; without examples that is not the question.

    Raises:
      ConfigurationError: it is not; the message says how to train without it.
    """
    directories = _step_directories(scenario)
    if not directories["examples"].manifest.exists():
        return
    model = scenario.model
    readers = {
        "adapter=none": scenario.knowledge.sources if model.adapter != "none" else (),
        "match=none": model.knowledge_match.sources if model.match != "none" else (),
        "prior=false": model.knowledge_prior.sources if model.prior else (),
    }
    missing = [
        source
        for source in scenario.knowledge_sources()
        if not directories[f"knowledge/{source}"].manifest.exists()
    ]
    without = [f"model.{setting}" for setting, read in readers.items() if set(read) & set(missing)]
    if missing:
        raise ConfigurationError(
            f"the model reads knowledge of {', '.join(missing)}, and {scenario.work_dir}/knowledge "
            f"has none of it. Train the model without it ({' '.join(without)}), or get the "
            "answers (docs/generation.md) and run 'python -m preprocessing all'"
        )


def _with_unread_settings(scenario: Scenario, built: Settings) -> Scenario:
    """The scenario, where its model does not read the examples, as these were built.

    Further kinds of examples are never in the way, nor are further labels that are no task, nor
    samples that are not held back from a model whose knowledge shows no interactions. Only what the
    scenario asks for must be there.

    Args:
      scenario: what is asked for.
      built: the settings of the examples.
    """
    data = scenario.data
    kinds = built.get("data.examples")
    changes: dict[str, object] = {}
    if isinstance(kinds, list) and set(data.examples) <= set(kinds):
        changes["examples"] = tuple(kinds)
    if RERANK not in data.examples:
        changes["rerank"] = RerankLists.model_construct(**_section(built, "data.rerank."))
    label_settings = _section(built, "data.labels.")
    names = dict.fromkeys(key.partition(".")[0] for key in label_settings)
    labels = {
        name: ExtraLabel.model_construct(**_section(label_settings, f"{name}.")) for name in names
    }
    for task in scenario.model.tasks:
        labels[task] = data.labels[task]
    changes["labels"] = labels
    sections: dict[str, object] = {"data": data.model_copy(update=changes)}
    answers = scenario.knowledge.answers
    shown = any(answers[source].may_show_interactions for source in scenario.knowledge_sources())
    if built.get("split.knowledge_history_cap") == 0 and not shown:
        sections["split"] = scenario.split.model_copy(update={"knowledge_history_cap": 0})
    return scenario.model_copy(update=sections)


def _section(settings: Settings, prefix: str) -> dict[str, Any]:
    """The settings of a section, without its prefix."""
    return {
        key.removeprefix(prefix): value for key, value in settings.items() if key.startswith(prefix)
    }


def _shown(settings: Settings, key: str) -> str:
    value = settings.get(key)
    return value if isinstance(value, str) else json.dumps(value)


def _sha256(path: Path) -> str:
    if not path.exists():
        raise FileNotFoundError(f"{path} is missing; run 'python -m preprocessing all' first")
    return file_sha256(path)
