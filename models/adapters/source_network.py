"""Adapters whose augmented vectors are the outputs of a network over knowledge vectors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf

from models.adapters.base import KnowledgeAdapter, Tensors
from models.knowledge import KnowledgeTable
from models.layer_support import ConfiguredLayer


class SourceNetwork(ConfiguredLayer):
    """A network from knowledge vectors of several sources to vectors of one width.

    Shapes: source -> [n, dimension] in; source -> [n, width] out, n of each source's own.

    Attributes:
      sources: names of the sources, in output order.
      width: width of the outputs.
    """

    def __init__(self, sources: Sequence[str], width: int, **kwargs: object):
        """Names the sources.

        Raises:
          ValueError: no source, a source named twice, or a width below 1.
        """
        super().__init__(**kwargs)
        self.sources = tuple(sources)
        self.width = width
        if not self.sources or len(set(self.sources)) != len(self.sources):
            raise ValueError(
                f"sources must be distinct names, at least one. Received: sources={sources!r}"
            )
        if width < 1:
            raise ValueError(f"the width of the outputs must be positive. Received: {width}")

    def compute_output_shape(
        self, input_shape: Mapping[str, tf.TensorShape]
    ) -> dict[str, tf.TensorShape]:
        """Source -> [n, width]."""
        return {
            source: tf.TensorShape([tf.TensorShape(input_shape[source])[0], self.width])
            for source in self.sources
        }

    def _dimensions(self, input_shape: Mapping[str, tf.TensorShape]) -> dict[str, int]:
        """Width of every source's vectors; ValueError for other sources or an unknown width."""
        self._check_sources(input_shape)
        dimensions = {source: tf.TensorShape(input_shape[source])[-1] for source in self.sources}
        if None in dimensions.values():
            raise ValueError(f"the widths of all sources must be known. Received: {dimensions}")
        return dimensions

    def _one_dimension(self, input_shape: Mapping[str, tf.TensorShape]) -> int:
        """The width that all sources' vectors have; ValueError when there are several."""
        dimensions = self._dimensions(input_shape)
        if len(set(dimensions.values())) > 1:
            raise ValueError(f"all sources must have one width. Received: {dimensions}")
        return dimensions[self.sources[0]]

    def _joined(self, inputs: Tensors) -> tf.Tensor:
        """Vectors of all sources below each other: [all n, dimension]."""
        self._check_sources(inputs)
        return tf.concat(
            [tf.cast(inputs[source], self.compute_dtype) for source in self.sources], axis=0
        )

    def _parted(self, joined: tf.Tensor, inputs: Tensors) -> dict[str, tf.Tensor]:
        """Undoes `_joined` for what was computed from its rows."""
        counts = [tf.shape(inputs[source])[0] for source in self.sources]
        return dict(zip(self.sources, tf.split(joined, counts, axis=0), strict=True))

    def _kernel(self, name: str, fan_in: int, fan_out: int) -> tf.Variable:
        """Untruncated normal of deviation sqrt(2 / (fan in + fan out)), as REKI publishes it."""
        return self.add_weight(
            name=name,
            shape=(fan_in, fan_out),
            initializer=tf.keras.initializers.RandomNormal(stddev=(2 / (fan_in + fan_out)) ** 0.5),
        )

    def _check_sources(self, inputs: Mapping[str, object]) -> None:
        if set(inputs) != set(self.sources):
            raise ValueError(
                f"inputs must have the sources {sorted(self.sources)}. Received: {sorted(inputs)}"
            )


class NetworkAdapter(KnowledgeAdapter):
    """Knowledge tables and a network behind one call.

    Attributes:
      network: source -> [n, dimension] to source -> [n, width]; `models.hein.HybridExpertNetwork`
        or a `models.adapters.source_network.SourceNetwork`.
    """

    def __init__(
        self,
        tables: Mapping[str, KnowledgeTable],
        network: tf.keras.layers.Layer,
        **options: Any,
    ):
        """Connects tables and network.

        Args:
          tables: source -> knowledge table.
          network: its `sources` give the order of the outputs.
          **options: of `KnowledgeAdapter`.

        Raises:
          ValueError: the tables are not those of the network's sources.
        """
        if set(tables) != set(network.sources):
            raise ValueError(
                f"tables {sorted(tables)} must be those of sources {sorted(network.sources)}"
            )
        ordered = {source: tables[source] for source in network.sources}
        dimensions = {source: [None, table.dimension] for source, table in ordered.items()}
        width = network.compute_output_shape(dimensions)[network.sources[0]][-1]
        super().__init__(ordered, width, **options)
        self.network = network

    def build(self, input_shape: object) -> None:
        """Creates the network's weights."""
        if not self.network.built:
            self.network.build(
                {source: [None, table.dimension] for source, table in self.tables.items()}
            )
        super().build(input_shape)

    def _augment(self, rows: Tensors, training: bool | None) -> Tensors:
        return self.network(self._knowledge(rows), training=training)

    def _augment_vectors(self, source: str, vectors: tf.Tensor) -> tf.Tensor:
        inputs = {
            name: vectors if name == source else tf.zeros([0, table.dimension])
            for name, table in self.tables.items()
        }
        return self.network(inputs, training=False)[source]

    def _knowledge(self, rows: Tensors) -> dict[str, tf.Tensor]:
        return {source: self.vectors(source, rows[source]) for source in self.sources}


class GatedAdapter(NetworkAdapter):
    """An adapter whose network mixes experts by gates that can be read out.

    Attributes:
      network: a network that also has `gates` and `num_shared_experts`.
    """

    def gates(self, rows: Tensors) -> dict[str, tf.Tensor]:
        """Gate weights of knowledge rows, row 0's being those of a vector of zeros.

        Args:
          rows: source -> int [n], of some or all sources.

        Returns:
          source -> [n, experts], shared experts first; rows sum to 1.
        """
        given = self._checked(rows)
        gates = self.network.gates(self._knowledge(self._completed(given)))
        return {source: gates[source] for source in given}
