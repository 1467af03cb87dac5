"""Augmented vectors computed beforehand."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from configs.serving import NumberFormat
from models.vector_tables import VectorTable


class AugmentedTables(tf.Module):
    """Stored augmented vectors: what an export has in place of knowledge vectors and adapter.

    Shapes: source -> rows int [...] in; source -> [..., width] float32 out, as an adapter's. A call
      may name some of the sources only.
    """

    def __init__(self, tables: Mapping[str, np.ndarray], number_format: NumberFormat = "float32"):
        """Stores one array [rows, width] per source."""
        super().__init__(name="augmented_tables")
        self._tables = {
            source: VectorTable(table, number_format, f"knowledge/{source}/augmented")
            for source, table in tables.items()
        }

    @property
    def sources(self) -> tuple[str, ...]:
        """Sources in output order."""
        return tuple(self._tables)

    def __call__(
        self, rows: Mapping[str, tf.Tensor], training: bool | None = None
    ) -> dict[str, tf.Tensor]:
        """Augmented vectors of knowledge rows; they are the same in training."""
        return {
            source: table(rows[source]) for source, table in self._tables.items() if source in rows
        }
