"""What an export keeps of a run, so that new answers need neither the run nor its data."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from configs.scenario import Scenario
from configs.serving import IdType
from models.building import AnyModel
from models.item_ids import KnowledgeIds
from models.knowledge import KnowledgeRecords, UserRows
from models.prior import PRIOR_SUFFIX, PriorPrediction
from preprocessing.records.knowledge import read_knowledge
from preprocessing.records.layout import DEAD_LETTERS_FILE, VECTOR_STATISTICS_FILE, WorkDirectory
from preprocessing.records.provenance import as_written
from serving.refresh.description import (
    AUGMENTED,
    OF_TEXTS,
    PROJECTED,
    MatchReduction,
    RefreshDescription,
    RefreshFolder,
    SourceDescription,
    made_from,
    write_prior,
    write_summand,
)
from serving.refresh.functions import TrainedFunctions
from serving.refresh.knowledge import KnownEntities
from serving.serving_module import SERVING_MODULES

_NO_ENCODER_FILES = ("manifest.json", DEAD_LETTERS_FILE, VECTOR_STATISTICS_FILE)


@dataclass(frozen=True)
class RefreshParts:
    """Everything that `assets.extra/refresh/` of a version holds.

    Attributes:
      description: sources, encoder, kinds of tables.
      entities: source -> who has which answer.
      matches: source -> frozen reduction of its match.
      priors: source -> frozen regression of its prior.
      projected: source -> [knowledge rows, width], where knowledge is in the place of item ids.
      augmented: source -> [knowledge rows, width], where item vectors are stored in their place.
      functions: the trained functions; None where the model has none.
      encoder_files: source -> files of the encoder that was fitted on it.
    """

    description: RefreshDescription
    entities: Mapping[str, KnownEntities]
    matches: Mapping[str, MatchReduction]
    priors: Mapping[str, PriorPrediction]
    projected: Mapping[str, np.ndarray]
    augmented: Mapping[str, np.ndarray]
    functions: TrainedFunctions | None
    encoder_files: Mapping[str, list[Path]]

    @classmethod
    def of(
        cls,
        model: AnyModel,
        scenario: Scenario,
        id_type: IdType = "string",
        knowledge: Mapping[str, KnowledgeRecords] | None = None,
    ) -> RefreshParts:
        """Takes the parts of a trained model.

        Args:
          model: a trained model.
          scenario: the run's; its work directory is read.
          id_type: how requests write ids.
          knowledge: source -> records, for callers that have read them already.

        Raises:
          preprocessing.records.contract.DamagedRecords: a file of the work directory is damaged.
        """
        preparation = model.inputs_preparation
        sources = scenario.knowledge_sources()
        matches = {} if preparation.matches is None else preparation.matches.matches
        priors = {
            prior.name.removesuffix(PRIOR_SUFFIX): prior.prediction for prior in preparation.priors
        }
        ids = model.scorer.assembly.items.ids
        retrieved: tuple[str, ...] = ()
        augmented: Mapping[str, np.ndarray] = {}
        stores_item_vectors = SERVING_MODULES[model.kind].stores_item_vectors
        if stores_item_vectors and model.adapter is not None:
            retrieved = tuple(model.scorer.assembly.use.item_sources)
            augmented = {source: model.adapter.augmented_table(source) for source in retrieved}
        rows = _entity_rows(model)
        entities, widths = {}, {}
        for source in sources:
            records = (knowledge or {}).get(source) or read_knowledge(scenario.work_dir, source)
            of_entity = rows[scenario.knowledge.answers[source].entity]
            entities[source] = KnownEntities.of_records(records, of_entity, len(of_entity) + 1)
            widths[source] = int(np.shape(records.vectors)[1])
        descriptions = {
            source: _describe(scenario, source, widths[source], priors.get(source))
            for source in sources
        }
        functions = TrainedFunctions(model)
        return cls(
            description=RefreshDescription(
                id_type=id_type,
                encoder=scenario.knowledge.encoder.model_copy(update={"cache": None}),
                sources=descriptions,
                replaced_id_sources=tuple(ids.tables) if isinstance(ids, KnowledgeIds) else (),
                retrieved_sources=retrieved,
                prior_sources=tuple(priors),
                is_retrieval=stores_item_vectors,
                num_exported_items=len(rows["item"]),
            ),
            entities=entities,
            matches={source: MatchReduction.of_match(match) for source, match in matches.items()},
            priors=priors,
            projected=ids.projected_tables() if isinstance(ids, KnowledgeIds) else {},
            augmented=augmented,
            functions=functions if functions.names else None,
            encoder_files={
                source: _encoder_files(scenario, source)
                for source, described in descriptions.items()
                if described.takes_answers
            },
        )

    def write(self, version_folder: Path) -> Path:
        """Writes `assets.extra/refresh/` of a version, which has none yet.

        Returns:
          The folder.
        """
        folder = RefreshFolder(version_folder)
        folder.path.mkdir(parents=True)
        self.description.write(folder)
        for source, entities in self.entities.items():
            of_source = folder.source(source)
            of_source.mkdir(parents=True)
            entities.write(of_source)
        for source, files in self.encoder_files.items():
            folder.encoder(source).mkdir()
            for path in files:
                shutil.copyfile(path, folder.encoder(source) / path.name)
        for source, match in self.matches.items():
            match.write(folder.source(source))
        for source, prior in self.priors.items():
            write_prior(folder.source(source), prior)
        for source, table in self.projected.items():
            write_summand(folder.source(source), PROJECTED, table)
        for source, table in self.augmented.items():
            write_summand(folder.source(source), AUGMENTED, table)
        if self.functions is not None:
            self.functions.write(folder.functions)
        return folder.path


def _entity_rows(model: AnyModel) -> dict[str, dict[str, int]]:
    """Raw id -> row in the export, of items and of the users that knowledge knows."""
    preparation = model.inputs_preparation
    users: list[str] = []
    if isinstance(preparation.user_rows, UserRows):
        users, _ = preparation.user_rows.known_users()
    of_entity = {"item": preparation.catalogue.item_ids, "user": users}
    return {
        entity: {raw_id: row for row, raw_id in enumerate(ids, start=1)}
        for entity, ids in of_entity.items()
    }


def _describe(
    scenario: Scenario, source: str, dimension: int, prior: PriorPrediction | None
) -> SourceDescription:
    answers = scenario.knowledge.answers[source]
    origin = made_from(answers)
    return SourceDescription(
        entity=answers.entity,
        made_from=origin,
        dimension=dimension,
        factor=answers.factor,
        history_entry_pattern=answers.history_entry_pattern,
        encoder=_encoder_identity(scenario, source) if origin in OF_TEXTS else None,
        length_scale=None if prior is None else prior.length_scale,
    )


def _encoder_files(scenario: Scenario, source: str) -> list[Path]:
    """What an encoder froze beside the vectors that it made."""
    directory = WorkDirectory(scenario.work_dir).knowledge(source)
    shards = set(directory.shards)
    return [
        as_written(path)
        for path in sorted(directory.path.iterdir())
        if path.is_file() and path not in shards and path.name not in _NO_ENCODER_FILES
    ]


def _encoder_identity(scenario: Scenario, source: str) -> dict[str, Any] | None:
    manifest = WorkDirectory(scenario.work_dir).knowledge(source).manifest
    return json.loads(manifest.read_text(encoding="utf-8")).get("encoder")
