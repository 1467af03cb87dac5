"""Adapters whose augmented vectors are the outputs of a network over knowledge vectors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from models.adapters.base import KnowledgeAdapter, Tensors
from models.knowledge import KnowledgeTable


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
