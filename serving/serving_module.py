"""The served form of a model: its signatures over raw ids, with stored results for knowledge."""

from __future__ import annotations

import abc
import functools
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import tensorflow as tf
from tensorflow.compat.v1.saved_model import signature_constants
from tensorflow.types.experimental import ConcreteFunction

from configs.command_line import CommandError
from configs.serving import IdType, NumberFormat
from models.adapters.base import KnowledgeAdapter
from models.building import AnyModel
from models.inputs import InputPreparation
from models.item_ids import KnowledgeIds, StoredIds, TrainedIds
from models.knowledge import UserRows
from models.prior import PRIOR_SUFFIX, KnowledgePrior
from models.ranking import RankingModel
from models.reranking import RerankingModel
from models.retrieving import RetrievalModel
from models.vector_tables import AugmentedTables, UnstorableVector, growing_table
from preprocessing.records.contract import HISTORY_ITEM_ID, ITEM_ID
from preprocessing.records.parsing import parse_examples
from serving.id_index import IdIndex, IndexOverflow, StoredUserRows, with_whole_number_ids
from serving.proof.kinds import KindProof, RankingProof, RerankingProof, RetrievalProof
from serving.request_features import (
    RETRIEVED_ITEMS,
    SCORE,
    checked_inputs,
    input_specifications,
    request_features,
)


class StoredPrior(tf.Module):
    """What an export has of a knowledge prior: the number of each item, without what made it.

    Shapes: catalogue rows int [...] -> float32 [...].
    """

    def __init__(self, prior: KnowledgePrior):
        """Keeps the numbers of all rows."""
        super().__init__(name="stored_prior")
        numbers = prior(tf.range(prior.num_rows))
        self._numbers = growing_table(
            numbers, f"items/prior/{prior.name.removesuffix(PRIOR_SUFFIX)}"
        )

    def __call__(self, rows: tf.Tensor, folds: tf.Tensor | None = None) -> tf.Tensor:
        """Looks numbers up; requests leave no fold of users out."""
        return tf.gather(self._numbers, rows)


def with_stored_knowledge(
    model: AnyModel,
    number_format: NumberFormat = "float32",
    sources: Collection[str] | None = None,
) -> AnyModel:
    """A model with tables of results for knowledge vectors and what is trained over them.

    A user's augmented vector depends only on the user's knowledge and an item's only on the item's,
    so storing them loses nothing (REKI, arXiv 2408.10520, prestoring). The same holds for knowledge
    in place of item ids and for the knowledge prior. Tables that leave a user fold out, which only
    training samples read, are dropped, and ids move from the graph into variables.

    Item tables of a match are stored in float16 where the number format is not float32: a match
    adds up so many numbers that int8 would be felt.

    Args:
      model: a trained model, which stays as it is.
      number_format: of the stored vectors.
      sources: sources whose augmented vectors are stored; all of the adapter's if None.

    Returns:
      A model that scores as the given one and shares its other weights; it cannot be trained.

    Raises:
      models.vector_tables.UnstorableVector: a number does not fit into the number format.
      serving.id_index.IndexOverflow: two ids cannot be told apart.
    """
    model = model.with_shared_weights()
    if isinstance(model.adapter, KnowledgeAdapter):
        adapter = model.adapter
        tables = {
            source: adapter.augmented_table(source)
            for source in adapter.sources
            if sources is None or source in sources
        }
        model.adapter = AugmentedTables(tables, number_format)
    preparation, items = model.inputs_preparation, model.scorer.assembly.items
    if isinstance(items.ids, KnowledgeIds):
        items.ids = StoredIds(items.ids.table(), number_format, dtype=items.ids.dtype_policy)
    _store_lookups(preparation)
    if isinstance(items.ids, TrainedIds):
        items.ids.embedding_rows = preparation.catalogue.embedding_rows
    preparation.priors = [StoredPrior(prior) for prior in preparation.priors]
    if preparation.matches is not None:
        preparation.matches.store(tf.float32 if number_format == "float32" else tf.float16)
    return model


def _store_lookups(preparation: InputPreparation) -> None:
    users = preparation.user_rows
    if isinstance(users, UserRows) and users.sources:
        users = StoredUserRows(*users.known_users())
    preparation.store(IdIndex(preparation.catalogue.item_ids, "items"), users)


Tensors = Mapping[str, tf.Tensor]
Computation = Callable[[Tensors], dict[str, tf.Tensor]]

ONE_USER = 1


class ServingModule(tf.Module, abc.ABC):
    """Holds what a served model computes with, and gives its signatures.

    Attributes:
      warmed_signatures: those that have warm-up requests: all that take features.
      row_signatures: those that take rows of examples.
      proof: how the proof of an export asks it.
      stores_item_vectors: whether items' vectors are stored in the place of what makes them.
      features: what a request must carry.
    """

    warmed_signatures: ClassVar[tuple[str, ...]]
    row_signatures: ClassVar[tuple[str, ...]]
    proof: ClassVar[type[KindProof]]
    stores_item_vectors: ClassVar[bool] = False

    def __init__(
        self, model: AnyModel, id_type: IdType = "string", largest_request: int | None = None
    ):
        """Keeps a model's parts.

        Args:
          model: a trained model of `serving.serving_module.with_stored_knowledge`.
          id_type: how requests of tensors write ids; tf.Examples have strings, as in training.
          largest_request: see `configs.serving.Serving`.
        """
        super().__init__(name="serving")
        # The parts and not the model, whose losses and metrics are no part of an export.
        self._parts = model.checkpoint_parts()
        self._preparation = model.inputs_preparation
        self._id_type = id_type
        self._largest_request = largest_request
        self.features = request_features(model.inputs_preparation, model.kind)

    @classmethod
    def of_model(
        cls,
        model: Any,
        number_format: NumberFormat,
        id_type: IdType,
        largest_request: int | None,
    ) -> ServingModule:
        """The module of a trained model, which stays as it is."""
        return cls(with_stored_knowledge(model, number_format), id_type, largest_request)

    def signatures(self) -> dict[str, ConcreteFunction]:
        """The functions of the SavedModel by signature name."""
        signatures = self._signatures()
        if self._id_type == "string":
            return signatures
        return {name: with_whole_number_ids(signature) for name, signature in signatures.items()}

    @abc.abstractmethod
    def _signatures(self) -> dict[str, ConcreteFunction]:
        """The functions, with ids that are strings."""

    def _feature_signature(
        self, compute: Computation, users: int | None, candidates: list[int | None] | None
    ) -> ConcreteFunction:
        """A signature with one input for each feature, see `input_specifications`."""
        return self._tensor_signature(
            compute, input_specifications(self.features, users, candidates)
        )

    def _tensor_signature(
        self, compute: Computation, specifications: Mapping[str, tf.TensorSpec]
    ) -> ConcreteFunction:
        """A signature with inputs of these names, which its graph checks."""

        def run(**raw: tf.Tensor) -> dict[str, tf.Tensor]:
            return compute(
                checked_inputs(raw, specifications, self.features, self._largest_request)
            )

        return tf.function(run, autograph=False).get_concrete_function(**specifications)

    def _example_signature(
        self, tensor_function: ConcreteFunction, argument: str, select: Computation = dict
    ) -> ConcreteFunction:
        """A signature whose only input is serialized tf.Examples.

        Args:
          tensor_function: the signature of tensors that is asked, which is so traced only once.
          argument: name of the input.
          select: from the outputs of that signature to those of this one.
        """

        def compute(serialized: Tensors) -> dict[str, tf.Tensor]:
            raw = parse_examples(serialized[argument], self.features)
            return select(tensor_function(**raw))

        examples = tf.TensorSpec([None], tf.string, name=argument)
        return self._tensor_signature(compute, {argument: examples})


class RankingModule(ServingModule):
    """Scores single candidates.

    Every further task of the model has an output `score_<task>` beside `score`, which is that of
    the label; classify and regress give the label's alone.
    """

    warmed_signatures = ("serving_default", "rank")
    row_signatures = ("serving_default", "predict_examples", "classify", "regress")
    proof = RankingProof

    def __init__(
        self, model: RankingModel, id_type: IdType = "string", largest_request: int | None = None
    ):
        """Keeps a model whose knowledge is stored; see `ServingModule`."""
        super().__init__(model, id_type, largest_request)
        self._logits = functools.partial(model.call, training=False)
        self._outputs = (SCORE, *(f"{SCORE}_{task}" for task in model.tasks))

    def _signatures(self) -> dict[str, ConcreteFunction]:
        """Signatures of tensors and of serialized tf.Examples."""
        rows = self._feature_signature(self.scores, None, [None])
        return {
            "serving_default": rows,
            "rank": self._feature_signature(self.scores, ONE_USER, [None]),
            "predict_examples": self._example_signature(rows, "examples"),
            "classify": self._example_signature(
                rows,
                signature_constants.CLASSIFY_INPUTS,
                lambda outputs: {
                    signature_constants.CLASSIFY_OUTPUT_SCORES: outputs[SCORE][:, tf.newaxis]
                },
            ),
            "regress": self._example_signature(
                rows,
                signature_constants.REGRESS_INPUTS,
                lambda outputs: {signature_constants.REGRESS_OUTPUTS: outputs[SCORE]},
            ),
        }

    def scores(self, raw: Tensors) -> dict[str, tf.Tensor]:
        """Probabilities [n] of raw features, output -> [n]."""
        logits = tf.reshape(self._logits(raw), [-1, len(self._outputs)])
        return {
            output: tf.sigmoid(logits[:, column]) for column, output in enumerate(self._outputs)
        }


class RerankingModule(ServingModule):
    """Scores the candidates of lists in each other's presence; 0 where a list is padded by ""."""

    warmed_signatures = ("serving_default", "rank")
    row_signatures = ("serving_default", "predict_examples")
    proof = RerankingProof

    def __init__(
        self, model: RerankingModel, id_type: IdType = "string", largest_request: int | None = None
    ):
        """Keeps a model whose knowledge is stored; see `ServingModule`."""
        super().__init__(model, id_type, largest_request)
        self._probabilities = model.probabilities

    def _signatures(self) -> dict[str, ConcreteFunction]:
        """Signatures of tensors and of serialized tf.Examples."""
        lists = self._feature_signature(self.scores, None, [None, None])
        return {
            "serving_default": lists,
            "rank": self._feature_signature(self.list_scores, ONE_USER, [None]),
            "predict_examples": self._example_signature(lists, "examples"),
        }

    def scores(self, raw: Tensors) -> dict[str, tf.Tensor]:
        """Scores of lists: `item_id` [b, L] -> "score" [b, L]."""
        return {SCORE: self._probabilities(raw)}

    def list_scores(self, raw: Tensors) -> dict[str, tf.Tensor]:
        """Scores of one list: `item_id` [L] -> "score" [L]."""
        lists = {**raw, ITEM_ID: raw[ITEM_ID][tf.newaxis]}
        return {SCORE: self._probabilities(lists)[0]}


_UNKNOWN_ROW = 0
_SCORES_AT_ONCE = 1 << 24
"""Of users and items that a search holds in memory, twice; one user's are always held."""


def user_sources(model: RetrievalModel) -> list[str]:
    """Knowledge sources that the user's vector is computed from."""
    use = model.scorer.assembly.use
    return [*use.user_sources, *(use.item_sources if use.in_history else ())]


class RetrievalModule(ServingModule):
    """Finds the items with the largest inner products with a user's vector.

    The search is exact: matrix products of the vectors of some users at a time with those of all
    items, which are stored.
    """

    warmed_signatures = ("serving_default", "top_k", "user_vectors", "item_vectors")
    row_signatures = ("serving_default", "top_k", "user_vectors")
    proof = RetrievalProof
    stores_item_vectors = True

    def __init__(
        self,
        model: RetrievalModel,
        vectors: np.ndarray,
        item_ids: Sequence[str],
        id_type: IdType = "string",
        largest_request: int | None = None,
    ):
        """Keeps a model whose knowledge is stored.

        Args:
          model: the model.
          vectors: `all_item_vectors` of the trained model.
          item_ids: raw ids of catalogue rows 1, 2, 3, ...
          id_type: see `ServingModule`.
          largest_request: likewise.
        """
        super().__init__(model, id_type, largest_request)
        self._user_vectors = model.user_vectors
        self._catalogue_rows = model.inputs_preparation.catalogue.rows
        self._vectors = growing_table(vectors, "items/retrieved_vector")
        self._item_ids = growing_table(["", *item_ids], "items/id")

    @classmethod
    def of_model(
        cls,
        model: RetrievalModel,
        number_format: NumberFormat,
        id_type: IdType,
        largest_request: int | None,
    ) -> RetrievalModule:
        """The module of a trained model; what its items' vectors are made of is not kept."""
        sources, ids = user_sources(model), model.scorer.assembly.items.ids
        if number_format != "float32" and not sources and not isinstance(ids, KnowledgeIds):
            raise CommandError(
                f"serving.augmented_dtype: the model stores nothing as {number_format}: it reads "
                "no knowledge of users, and items' vectors are float32 whatever they are made of; "
                "leave it at float32"
            )
        stored = with_stored_knowledge(model, number_format, sources)
        item_ids = model.inputs_preparation.catalogue.item_ids
        return cls(stored, model.all_item_vectors(), item_ids, id_type, largest_request)

    def _signatures(self) -> dict[str, ConcreteFunction]:
        """Signatures of tensors."""
        top_k = self._feature_signature(self.top_k, None, None)
        item_ids = {ITEM_ID: tf.TensorSpec([None], tf.string, name=ITEM_ID)}
        return {
            "serving_default": top_k,
            "top_k": top_k,
            "user_vectors": self._feature_signature(self.user_vectors, None, None),
            "item_vectors": self._tensor_signature(self.item_vectors, item_ids),
        }

    def top_k(self, raw: Tensors) -> dict[str, tf.Tensor]:
        """The best items of every user, without those of the history.

        Returns:
          `item_id` and `score` [n, k], best first; "" and 0 where there are no more items.
        """
        users = self._user_vectors(raw)
        excluded = self._catalogue_rows(raw[HISTORY_ITEM_ID])
        # Padding and unknown items have row 0, which is no item to retrieve either.
        excluded = tf.pad(excluded, [[0, 0], [1, 0]], constant_values=_UNKNOWN_ROW)
        # The scores of all users would take more memory than a server has for a request.
        at_once = tf.maximum(1, _SCORES_AT_ONCE // tf.shape(self._vectors)[0])
        num_blocks = tf.maximum(1, -(-tf.shape(users)[0] // at_once))

        def search(
            block: tf.Tensor, found: Sequence[tf.TensorArray]
        ) -> tuple[tf.Tensor, list[tf.TensorArray]]:
            rows = slice(block * at_once, (block + 1) * at_once)
            parts = self._best(users[rows], excluded[rows])
            written = [array.write(block, part) for array, part in zip(found, parts, strict=True)]
            return block + 1, written

        _, found = tf.while_loop(
            lambda block, found: block < num_blocks,
            search,
            (0, [self._found(num_blocks, dtype) for dtype in (tf.float32, tf.int32)]),
            parallel_iterations=1,
        )
        scores, rows = (array.concat() for array in found)
        is_retrieved = tf.math.is_finite(scores)
        rows = tf.where(is_retrieved, rows, _UNKNOWN_ROW)
        return {
            ITEM_ID: tf.gather(self._item_ids, rows),
            SCORE: tf.where(is_retrieved, scores, 0.0),
        }

    def _found(self, num_blocks: tf.Tensor, dtype: tf.DType) -> tf.TensorArray:
        return tf.TensorArray(dtype, num_blocks, infer_shape=False, element_shape=[None, None])

    def _best(self, users: tf.Tensor, excluded: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Scores and rows of the best items of some users [n, k], without the excluded rows."""
        scores = tf.linalg.matmul(users, self._vectors, transpose_b=True)
        shape = tf.shape(excluded)
        user_rows = tf.broadcast_to(tf.range(shape[0])[:, tf.newaxis], shape)
        where = tf.stack([user_rows, excluded], axis=-1)
        nowhere = tf.fill(shape, np.float32(-np.inf))
        # A refresh adds items, so their number is not that of the export. Row 0 is none.
        num_found = tf.minimum(RETRIEVED_ITEMS, tf.shape(self._vectors)[0] - 1)
        best = tf.math.top_k(tf.tensor_scatter_nd_update(scores, where, nowhere), k=num_found)
        return best.values, best.indices

    def user_vectors(self, raw: Tensors) -> dict[str, tf.Tensor]:
        """Vectors of users, "vector" [n, width]."""
        return {"vector": self._user_vectors(raw)}

    def item_vectors(self, raw: Tensors) -> dict[str, tf.Tensor]:
        """Vectors of items, `item_id` [n] -> "vector" [n, width]; unknown ids share one."""
        return {"vector": tf.gather(self._vectors, self._catalogue_rows(raw[ITEM_ID]))}


SERVING_MODULES: dict[str, type[ServingModule]] = {
    RankingModel.kind: RankingModule,
    RerankingModel.kind: RerankingModule,
    RetrievalModel.kind: RetrievalModule,
}
"""The served form of each kind of model."""


def serving_module(
    model: AnyModel,
    number_format: NumberFormat = "float32",
    id_type: IdType = "string",
    largest_request: int | None = None,
) -> ServingModule:
    """The served form of a model.

    Args:
      model: a trained model, which stays as it is.
      number_format: of the stored vectors.
      id_type: how requests write ids.
      largest_request: most candidates of a request; None for any number.

    Raises:
      CommandError: a vector cannot be stored in the number format, there is nothing that would be,
        or two ids cannot be told apart.
    """
    form = SERVING_MODULES[model.kind]
    try:
        return form.of_model(model, number_format, id_type, largest_request)
    except (UnstorableVector, IndexOverflow) as error:
        raise CommandError(f"the model's tables cannot be stored: {error}") from error
