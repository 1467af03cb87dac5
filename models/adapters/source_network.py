"""What networks over knowledge vectors of several sources have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import tensorflow as tf

Tensors = Mapping[str, tf.Tensor]


class SourceNetwork(tf.keras.layers.Layer):
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

    def get_config(self) -> dict[str, object]:
        """The sources."""
        return {**super().get_config(), "sources": list(self.sources)}

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
