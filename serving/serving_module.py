"""The served form of a model: its signatures over raw ids, with stored results for knowledge."""

from __future__ import annotations

import abc
from collections.abc import Callable, Mapping

import tensorflow as tf
from tensorflow.types.experimental import ConcreteFunction

from configs.serving import IdType
from models.building import AnyModel
from preprocessing.records.parsing import parse_examples
from serving.id_types import with_whole_number_ids
from serving.request_features import checked_inputs, input_specifications, request_features

Tensors = Mapping[str, tf.Tensor]
Computation = Callable[[Tensors], dict[str, tf.Tensor]]

ONE_USER = 1


class ServingModule(tf.Module, abc.ABC):
    """Holds what a served model computes with, and gives its signatures.

    Attributes:
      features: what a request must carry.
    """

    def __init__(
        self, model: AnyModel, id_type: IdType = "string", largest_request: int | None = None
    ):
        """Keeps a model's parts.

        Args:
          model: a trained model behind `serving.stored_knowledge.store_knowledge`.
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

    def signatures(self) -> dict[str, ConcreteFunction]:
        """The functions of the SavedModel by signature name."""
        signatures = self._signatures()
        if self._id_type == "string":
            return signatures
        return {name: with_whole_number_ids(signature) for name, signature in signatures.items()}

    @abc.abstractmethod
    def _signatures(self) -> dict[str, ConcreteFunction]:
        """The functions, with ids that are strings."""

    def _of_features(
        self, compute: Computation, users: int | None, candidates: list[int | None] | None
    ) -> ConcreteFunction:
        """A signature with one input for each feature, see `input_specifications`."""
        return self._of_tensors(compute, input_specifications(self.features, users, candidates))

    def _of_tensors(
        self, compute: Computation, specifications: Mapping[str, tf.TensorSpec]
    ) -> ConcreteFunction:
        """A signature with inputs of these names, which its graph checks."""

        def run(**raw: tf.Tensor) -> dict[str, tf.Tensor]:
            return compute(
                checked_inputs(raw, specifications, self.features, self._largest_request)
            )

        return tf.function(run).get_concrete_function(**specifications)

    def _of_examples(
        self, of_tensors: ConcreteFunction, argument: str, select: Computation = dict
    ) -> ConcreteFunction:
        """A signature whose only input is serialized tf.Examples.

        Args:
          of_tensors: the signature of tensors that is asked, which is so traced only once.
          argument: name of the input.
          select: from the outputs of that signature to those of this one.
        """

        def compute(serialized: Tensors) -> dict[str, tf.Tensor]:
            raw = parse_examples(serialized[argument], self.features)
            return select(of_tensors(**raw))

        examples = tf.TensorSpec([None], tf.string, name=argument)
        return self._of_tensors(compute, {argument: examples})
