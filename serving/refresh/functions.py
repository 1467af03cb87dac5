"""The trained functions from knowledge vectors to what an export stores, as a SavedModel."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf
from tensorflow.types.experimental import ConcreteFunction

from configs.command_line import CommandError
from models.adapters.base import KnowledgeAdapter
from models.assembly import Augmented
from models.building import AnyModel
from models.item_ids import KnowledgeIds
from models.retrieving import RetrievalModel
from models.vector_tables import row_chunks
from serving.publishing import written_by_tensorflow
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
            self._signatures[f"{name}/{source}"] = tf.function(of_vectors).get_concrete_function(
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
        inputs |= {f"augmented_{place}": vectors for place, vectors in enumerate(augmented)}
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
    for place, _ in enumerate(sources):
        name = f"augmented_{place}"
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
                source: tf.cast(inputs[f"augmented_{place}"], dtype)
                for place, source in enumerate(sources)
            }
        )
        vectors = scorer.vectors_of_fields(items.fields(ids, rows), numbers, augmented)
        return {_OUTPUT: tf.cast(vectors, tf.float32)}

    return tf.function(of_items).get_concrete_function(**specifications)
