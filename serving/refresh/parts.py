"""What an export keeps of a run, so that new answers need neither the run nor its data."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.types.experimental import ConcreteFunction

from configs.command_line import CommandError
from configs.scenario import Scenario
from configs.serving import IdType
from models.adapters.base import KnowledgeAdapter
from models.assembly import Augmented
from models.building import AnyModel
from models.item_ids import KnowledgeIds
from models.knowledge import KnowledgeRecords, UserRows
from models.prior import PRIOR_SUFFIX, PriorPrediction
from models.retrieving import RetrievalModel
from models.vector_tables import row_chunks
from preprocessing.records.forgotten import Forgotten
from preprocessing.records.knowledge import read_knowledge
from preprocessing.records.layout import DEAD_LETTERS_FILE, VECTOR_STATISTICS_FILE, WorkDirectory
from preprocessing.records.provenance import as_written
from serving.publishing import written_by_tensorflow
from serving.refresh.knowledge import KnownEntities
from serving.refresh.version import (
    AUGMENTED,
    PROJECTED,
    TEXT_ORIGINS,
    MatchReduction,
    RefreshDescription,
    RefreshFolder,
    SourceDescription,
    made_from,
    write_prior,
    write_source_table,
)
from serving.serving_module import SERVING_MODULES

_AUGMENT, _PROJECT, _ITEM_VECTORS = "augment", "project", "item_vectors"
_OUTPUT = "output"


class TrainedFunctions(tf.Module):
    """Traced functions of a model with the variables that they read, and nothing else of it.

    The functions are traced when this is made.
    """

    def __init__(self, model: AnyModel):
        """Traces the functions of a trained model."""
        super().__init__(name="trained_functions")
        ids = model.scorer.assembly.items.ids
        self._signatures: dict[str, ConcreteFunction] = {}
        self._statistics: tf.Variable | None = None
        if isinstance(model.adapter, KnowledgeAdapter):
            self._add_of_sources(_AUGMENT, model.adapter.augment_vectors, model.adapter.tables)
        if isinstance(ids, KnowledgeIds):
            self._add_of_sources(_PROJECT, ids.project_vectors, ids.tables)
        if SERVING_MODULES[model.kind].stores_item_vectors:
            catalogue = model.inputs_preparation.catalogue
            # The catalogue's own tables have a column for every fold of users beside these.
            self._statistics = tf.Variable(
                catalogue.statistics(tf.range(catalogue.num_items + 1)), trainable=False
            )
            self._signatures[_ITEM_VECTORS] = _item_vectors(model, self._statistics)
        self._read_variables = _read_variables(model, self._signatures.values())

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the functions."""
        return tuple(self._signatures)

    def write(self, folder: Path) -> None:
        """Writes the SavedModel."""
        with written_by_tensorflow(folder):
            tf.saved_model.save(self, str(folder), signatures=self._signatures)

    def _add_of_sources(
        self, name: str, function: Callable[[str, tf.Tensor], tf.Tensor], tables: Mapping
    ) -> None:
        for source, table in tables.items():

            def of_vectors(vectors: tf.Tensor, source: str = source) -> dict[str, tf.Tensor]:
                return {_OUTPUT: tf.cast(function(source, vectors), tf.float32)}

            specification = tf.TensorSpec([None, table.dimension], tf.float32, name="vectors")
            compute = tf.function(of_vectors, autograph=False)
            self._signatures[f"{name}/{source}"] = compute.get_concrete_function(
                vectors=specification
            )


class StoredFunctions:
    """The functions of an export.

    Shapes: all take n rows of NumPy arrays and give float32 [n, width].
    """

    def __init__(self, folder: Path):
        """Loads the SavedModel.

        Raises:
          CommandError: it is missing or damaged.
        """
        try:
            self._loaded = tf.saved_model.load(str(folder))
        except (OSError, tf.errors.OpError) as error:
            raise CommandError(
                f"{folder} cannot be loaded ({type(error).__name__}); copy the version folder "
                "anew, or export again"
            ) from error

    def augment(self, source: str, vectors: np.ndarray) -> np.ndarray:
        """Augmented vectors of knowledge vectors [n, dimension]."""
        return self._in_chunks(f"{_AUGMENT}/{source}", {"vectors": vectors})

    def project(self, source: str, vectors: np.ndarray) -> np.ndarray:
        """What a source adds to the vectors that stand in the place of item ids."""
        return self._in_chunks(f"{_PROJECT}/{source}", {"vectors": vectors})

    def item_vectors(
        self,
        rows: np.ndarray,
        priors: np.ndarray,
        augmented: Sequence[np.ndarray],
        ids: np.ndarray | None,
    ) -> np.ndarray:
        """A retrieval model's vectors of items.

        Args:
          rows: int32 [n], catalogue rows at training; 0 for items that came later.
          priors: [n, sources of a prior].
          augmented: [n, width] of every item source, in the model's order.
          ids: [n, width] where knowledge stands in the place of ids.
        """
        inputs = {"rows": rows, "priors": priors}
        inputs |= {f"augmented_{index}": vectors for index, vectors in enumerate(augmented)}
        if ids is not None:
            inputs["ids"] = ids
        return self._in_chunks(_ITEM_VECTORS, inputs)

    def _in_chunks(self, name: str, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        function = self._loaded.signatures[name]
        (number, *_) = {len(values) for values in inputs.values()}
        parts = [
            function(**{key: tf.constant(values[part]) for key, values in inputs.items()})[_OUTPUT]
            for part in row_chunks(0, number)
        ]
        width = function.structured_outputs[_OUTPUT].shape[1]
        return np.concatenate([np.zeros([0, width], np.float32), *(part.numpy() for part in parts)])


def _read_variables(model: AnyModel, functions: Iterable[ConcreteFunction]) -> list[tf.Variable]:
    """The variables that functions read, which a SavedModel holds if they are tracked."""
    handles = {id(handle) for function in functions for handle, _ in function.graph.captures}
    parts = [part for part in (model.inputs_preparation, model.scorer, model.adapter) if part]
    variables = {id(each.handle): each for part in parts for each in part.variables}
    return [variable for handle, variable in variables.items() if handle in handles]


def _item_vectors(model: RetrievalModel, statistics: tf.Variable) -> ConcreteFunction:
    """The function from what an item is to its vector.

    Args:
      model: the model.
      statistics: [items + 1, 2], `Catalogue.statistics` of every row.
    """
    preparation, scorer = model.inputs_preparation, model.scorer
    items, adapter = scorer.assembly.items, model.adapter
    sources = [] if adapter is None else list(scorer.assembly.use.item_sources)
    width = 0 if adapter is None else adapter.width
    dtype = tf.float32 if adapter is None else adapter.compute_dtype
    replaced = isinstance(items.ids, KnowledgeIds)
    number_of_priors = len(preparation.priors)
    specifications = {
        "rows": tf.TensorSpec([None], tf.int32, name="rows"),
        "priors": tf.TensorSpec([None, number_of_priors], tf.float32, name="priors"),
    }
    for index, _ in enumerate(sources):
        name = f"augmented_{index}"
        specifications[name] = tf.TensorSpec([None, width], tf.float32, name=name)
    if replaced:
        specifications["ids"] = tf.TensorSpec([None, items.ids.width], tf.float32, name="ids")

    def of_items(**inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        rows = inputs["rows"]
        ids = tf.cast(inputs["ids"], items.compute_dtype) if replaced else items.ids(rows)
        numbers = tf.concat(
            [
                tf.gather(statistics, rows),
                tf.gather(preparation.catalogue.numeric, rows),
                inputs["priors"],
            ],
            axis=1,
        )
        augmented = Augmented(
            {
                source: tf.cast(inputs[f"augmented_{index}"], dtype)
                for index, source in enumerate(sources)
            }
        )
        vectors = scorer.vectors_of_fields(items.fields(ids, rows), numbers, augmented)
        return {_OUTPUT: tf.cast(vectors, tf.float32)}

    return tf.function(of_items, autograph=False).get_concrete_function(**specifications)


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
      encoder_files: source -> files of the encoder that was fitted on it, or of its links.
      forgotten: whom the work directory may not know again, nor any version after this one.
    """

    description: RefreshDescription
    entities: Mapping[str, KnownEntities]
    matches: Mapping[str, MatchReduction]
    priors: Mapping[str, PriorPrediction]
    projected: Mapping[str, np.ndarray]
    augmented: Mapping[str, np.ndarray]
    functions: TrainedFunctions | None
    encoder_files: Mapping[str, list[Path]]
    forgotten: Forgotten

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
            entity_rows = rows[scenario.knowledge.answers[source].entity]
            entities[source] = KnownEntities.of_records(records, entity_rows, len(entity_rows) + 1)
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
                match_history_length=preparation.match_history_length if matches else None,
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
            forgotten=Forgotten.of(scenario.work_dir),
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
            source_folder = folder.source(source)
            source_folder.mkdir(parents=True)
            entities.write(source_folder)
        for source, files in self.encoder_files.items():
            folder.encoder(source).mkdir()
            for path in files:
                shutil.copyfile(path, folder.encoder(source) / path.name)
        for source, match in self.matches.items():
            match.write(folder.source(source))
        for source, prior in self.priors.items():
            write_prior(folder.source(source), prior)
        for source, table in self.projected.items():
            write_source_table(folder.source(source), PROJECTED, table)
        for source, table in self.augmented.items():
            write_source_table(folder.source(source), AUGMENTED, table)
        if self.functions is not None:
            self.functions.write(folder.functions)
        if self.forgotten:
            self.forgotten.write(folder.path)
        return folder.path


def _entity_rows(model: AnyModel) -> dict[str, dict[str, int]]:
    """Raw id -> row in the export, of items and of the users that knowledge knows."""
    preparation = model.inputs_preparation
    users: list[str] = []
    if isinstance(preparation.user_rows, UserRows):
        users, _ = preparation.user_rows.known_users()
    entity_ids = {"item": preparation.catalogue.item_ids, "user": users}
    return {
        entity: {raw_id: row for row, raw_id in enumerate(ids, start=1)}
        for entity, ids in entity_ids.items()
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
        links=answers.links,
        encoder=_encoder_identity(scenario, source) if origin in TEXT_ORIGINS else None,
        length_scale=None if prior is None else prior.length_scale,
    )


def _encoder_files(scenario: Scenario, source: str) -> list[Path]:
    """What an encoder froze beside the vectors that it made, or the links that they are made of."""
    directory = WorkDirectory(scenario.work_dir).knowledge(source)
    shards = set(directory.shards)
    return [
        as_written(path)
        for path in sorted(directory.path.iterdir())
        if path.is_file() and path not in shards and path.name not in _NO_ENCODER_FILES
    ]


def _encoder_identity(scenario: Scenario, source: str) -> dict[str, Any] | None:
    return WorkDirectory(scenario.work_dir).knowledge(source).read_manifest().get("encoder")
