"""Knowledge as discrete codes: product quantisation with trained code embeddings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_limits

from configs.model import Model
from models.adapters.base import KnowledgeAdapter, Tensors, common_options, frozen_weight
from models.knowledge import KnowledgeTable
from models.vector_tables import row_chunks

# Rounds of k-means; centres hardly move after them.
_ROUNDS = 25


def cut(vectors: np.ndarray, num_parts: int) -> list[np.ndarray]:
    """Cuts [n, dimension] into parts [n, about dimension / num_parts], longer ones first."""
    return np.array_split(vectors, num_parts, axis=1)


def fit_codebook(vectors: np.ndarray, size: int, seed: int) -> np.ndarray:
    """Centres of k-means.

    Args:
      vectors: [n, width].
      size: centres wanted.
      seed: of k-means; equal inputs and seeds give equal centres.

    Returns:
      [min(size, distinct vectors), width] float32; the distinct vectors themselves where there are
      no more than `size`.
    """
    distinct = np.unique(vectors, axis=0)
    if len(distinct) <= size:
        return distinct.astype(np.float32)
    # Several threads add up the members of a cluster in an order that differs between runs.
    with threadpool_limits(limits=1):
        means = KMeans(size, n_init=1, max_iter=_ROUNDS, random_state=seed).fit(vectors)
    return means.cluster_centers_.astype(np.float32)


def nearest_codes(vectors: np.ndarray, codebooks: Sequence[np.ndarray]) -> np.ndarray:
    """Index of the nearest centre for every part of every vector.

    Args:
      vectors: [n, dimension].
      codebooks: the centres of every part, [codes, width of the part].

    Returns:
      int32 [n, parts].
    """
    codes = np.empty([len(vectors), len(codebooks)], np.int32)
    parts = cut(vectors, len(codebooks))
    for index, (part, centres) in enumerate(zip(parts, codebooks, strict=True)):
        # |v - c|^2 without |v|^2, which is the same for all centres.
        distances = np.square(centres).sum(axis=1) - 2 * part @ centres.T
        codes[:, index] = distances.argmin(axis=1)
    return codes


# Rows per code that the clustering reads; more change the centres little.
_ROWS_PER_CODE = 256
# Augmented vectors start with the deviation of id embeddings.
_INITIAL_DEVIATION = 0.05


class ProductQuantizationAdapter(KnowledgeAdapter):
    """a_t = sum_p E_p[c_p(x_t)]: trained embeddings E of the codes c of a vector's parts p.

    The vectors of a source are cut into `num_codebooks` parts, of lengths that differ by at most
    one; the code of a part is the nearest of up to `codebook_size` centres that k-means finds among
    the rows of the table. Codes do not change in training, their embeddings do. What the ranking
    model sees is so no longer tied to the geometry of the text vectors, yet entities with alike
    texts share codes, and a new one gets codes that are trained already.

    Source: VQ-Rec, "Learning Vector-Quantized Item Representation for Transferable Sequential
    Recommenders" (arXiv 2210.12316), Section 2.1, which pools code embeddings alike; its optimised
    rotation before the cut and its pre-training over domains are left out.

    Attributes:
      num_codebooks: parts a vector is cut into.
      codebook_size: codes of a part; fewer where a part has fewer distinct values.
      seed: of k-means, and of the choice of rows for it in very long tables.
    """

    def __init__(
        self,
        tables: Mapping[str, KnowledgeTable],
        width: int,
        num_codebooks: int = 16,
        codebook_size: int = 64,
        seed: int = 0,
        **options: Any,
    ):
        """Clusters the rows of every source and gives them codes.

        Args:
          tables: source -> knowledge table.
          width: of the code embeddings.
          num_codebooks: parts a vector is cut into.
          codebook_size: codes of each part.
          seed: of the clustering.
          **options: of `KnowledgeAdapter`.

        Raises:
          ValueError: vectors of a source have fewer components than there are codebooks.
        """
        super().__init__(tables, width, **options)
        self.num_codebooks = num_codebooks
        self.codebook_size = codebook_size
        self.seed = seed
        self._codebooks: dict[str, list[tf.Variable]] = {}
        self._codes: dict[str, tf.Variable] = {}
        self._embeddings: dict[str, tf.Variable] = {}
        for source in self.sources:
            self._quantise(source)

    def codes(self, source: str) -> np.ndarray:
        """Codes of all rows: int32 [rows, codebooks]. Row 0 has none; its entries are 0."""
        return self._codes[source].numpy()

    def codes_of(self, source: str, vectors: np.ndarray) -> np.ndarray:
        """Codes of vectors as `vectors` gives them: [n, dimension] -> int32 [n, codebooks]."""
        codebooks = [codebook.numpy() for codebook in self._codebooks[source]]
        return nearest_codes(vectors, codebooks)

    def _quantise(self, source: str) -> None:
        table = self.tables[source]
        if table.dimension < self.num_codebooks:
            raise ValueError(
                f"vectors of source '{source}' have {table.dimension} components, which cannot be "
                f"cut into model.pq.num_codebooks ({self.num_codebooks}) parts"
            )
        parts = cut(self._sample(source), self.num_codebooks)
        codebooks = [fit_codebook(part, self.codebook_size, self.seed) for part in parts]
        self._codebooks[source] = [
            frozen_weight(self, f"{source}_codebook_{index}", codebook)
            for index, codebook in enumerate(codebooks)
        ]
        codes = np.zeros([table.num_rows, self.num_codebooks], np.int32)
        for rows in row_chunks(1, table.num_rows):
            codes[rows] = self.codes_of(source, self._vectors(source, rows))
        self._codes[source] = frozen_weight(self, f"{source}_codes", codes)
        self._embeddings[source] = self.add_weight(
            name=f"{source}_code_embedding",
            shape=(sum(map(len, codebooks)), self.width),
            initializer=tf.keras.initializers.RandomNormal(
                stddev=_INITIAL_DEVIATION / self.num_codebooks**0.5
            ),
        )

    def _augment(self, rows: Tensors, training: bool | None) -> Tensors:
        return {
            source: self._embedded_codes(source, tf.gather(self._codes[source], rows[source]))
            for source in self.sources
        }

    def _augment_vectors(self, source: str, vectors: tf.Tensor) -> tf.Tensor:
        parts = tf.split(vectors, [book.shape[1] for book in self._codebooks[source]], axis=1)
        # |v - c|^2 without |v|^2, as `models.adapters.pq.nearest_codes` computes it.
        codes = [
            tf.argmin(
                tf.reduce_sum(tf.square(centres), axis=1)
                - 2 * tf.linalg.matmul(part, centres, transpose_b=True),
                axis=1,
                output_type=tf.int32,
            )
            for part, centres in zip(parts, self._codebooks[source], strict=True)
        ]
        return self._embedded_codes(source, tf.stack(codes, axis=1))

    def _embedded_codes(self, source: str, codes: tf.Tensor) -> tf.Tensor:
        # The embeddings of all codebooks stand below each other.
        positions = codes + self._offsets(source)
        embeddings = tf.nn.embedding_lookup(self._embeddings[source], positions)
        return tf.reduce_sum(embeddings, axis=1)

    def _offsets(self, source: str) -> np.ndarray:
        sizes = [codebook.shape[0] for codebook in self._codebooks[source]]
        return np.cumsum([0, *sizes[:-1]]).astype(np.int32)

    def _sample(self, source: str) -> np.ndarray:
        rows = np.arange(1, self.tables[source].num_rows, dtype=np.int32)
        most = _ROWS_PER_CODE * self.codebook_size
        if len(rows) > most:
            rows = np.sort(np.random.default_rng(self.seed).choice(rows, most, replace=False))
        return self._vectors(source, rows)

    def _vectors(self, source: str, rows: np.ndarray) -> np.ndarray:
        return self.vectors(source, rows).numpy().astype(np.float32)


def pq_adapter(options: Model, tables: Mapping[str, KnowledgeTable]) -> ProductQuantizationAdapter:
    """Codes of the shape `model.pq`, embedded in `model.embedding_dimension`.

    Raises:
      ValueError: vectors of a source have fewer components than there are codebooks.
    """
    shape = options.pq
    return ProductQuantizationAdapter(
        tables,
        options.embedding_dimension,
        num_codebooks=shape.num_codebooks,
        codebook_size=shape.codebook_size,
        seed=shape.seed,
        **common_options(options),
    )
