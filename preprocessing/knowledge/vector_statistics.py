"""How large knowledge vectors are and how their numbers are distributed, over all records."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
import numpy as np

from configs.command_line import CommandError
from preprocessing import storage
from preprocessing.knowledge.vectors import NUMBER, KnowledgeRecord
from preprocessing.records.contract import EXTRACTIONS

_DIGITS = 6


@dataclass(frozen=True)
class ShardStatistics:
    """What one shard adds to the statistics.

    Attributes:
      shard: number of the shard.
      count: vectors.
      mean: [dimension] float64.
      squares: [dimension] float64, sum of squared deviations from the mean.
      norms: extraction -> [vectors] float64 Euclidean norms.
    """

    shard: int
    count: int
    mean: np.ndarray
    squares: np.ndarray
    norms: Mapping[str, np.ndarray]


def shard_statistics(shard: int, records: Sequence[KnowledgeRecord]) -> ShardStatistics:
    """Statistics of the records of a shard, at least one.

    Raises:
      CommandError: the vectors differ in width.
    """
    widths = sorted({record.width for record in records})
    _require_one_width(widths)
    data = b"".join(record.vector for record in records)
    vectors = np.frombuffer(data, NUMBER).reshape(len(records), widths[0]).astype(np.float64)
    mean = vectors.mean(axis=0)
    norms = np.sqrt(np.square(vectors).sum(axis=1))
    extractions = np.array([record.extraction for record in records])
    return ShardStatistics(
        shard=shard,
        count=len(records),
        mean=mean,
        squares=np.square(vectors - mean).sum(axis=0),
        norms={name: norms[extractions == name] for name in EXTRACTIONS},
    )


def combine(parts: Iterable[ShardStatistics]) -> ShardStatistics:
    """Statistics of several shards together, at least one.

    Mean and squared deviations of two parts combine exactly (Chan, Golub and LeVeque 1979); parts
    are taken in the order of their shards, so that the last bits do not depend on the run.

    Raises:
      CommandError: the vectors differ in width.
    """
    ordered = sorted(parts, key=lambda part: part.shard)
    _require_one_width(sorted({len(part.mean) for part in ordered}))
    count, mean, squares = ordered[0].count, ordered[0].mean, ordered[0].squares
    for part in ordered[1:]:
        total = count + part.count
        difference = part.mean - mean
        mean = mean + difference * (part.count / total)
        squares = squares + part.squares + np.square(difference) * (count * part.count / total)
        count = total
    norms = {name: np.concatenate([part.norms[name] for part in ordered]) for name in EXTRACTIONS}
    return ShardStatistics(0, count, mean, squares, norms)


def norm_report(norms: np.ndarray) -> dict[str, float]:
    """Minimum, quartiles, maximum and mean of at least one norm, to six significant digits."""
    minimum, lower, median, upper, maximum = np.quantile(norms, [0, 0.25, 0.5, 0.75, 1]).tolist()
    report = {
        "minimum": minimum,
        "lower_quartile": lower,
        "median": median,
        "upper_quartile": upper,
        "maximum": maximum,
        "mean": float(norms.mean()),
    }
    return {name: float(f"{value:.{_DIGITS}g}") for name, value in report.items()}


class WriteVectorStatistics(beam.DoFn):
    """All shards to the statistics file, and to the report that the manifest holds.

    Args:
      path: path or URL of the file, NumPy arrays.
    """

    def __init__(self, path: str):
        super().__init__()
        self._path = path

    def process(
        self, element: tuple[int, Iterable[ShardStatistics]]
    ) -> Iterator[dict[str, dict[str, Any]]]:
        """See `beam.DoFn`."""
        yield {"vectors": write_vector_statistics(self._path, element[1])}


def write_vector_statistics(path: str, parts: Iterable[ShardStatistics]) -> dict[str, Any]:
    """Writes the statistics file of all shards and returns the report that the manifest holds.

    Args:
      path: path or URL of the file, NumPy arrays.
      parts: statistics of the shards that have records, at least one.

    Raises:
      CommandError: the vectors differ in width.
    """
    whole = combine(parts)
    content = io.BytesIO()
    np.savez(
        content,
        count=np.int64(whole.count),
        mean=whole.mean,
        standard_deviation=np.sqrt(whole.squares / whole.count),
    )
    with storage.create_bytes(path) as file:
        file.write(content.getvalue())
    by_extraction = {name: norm_report(norms) for name, norms in whole.norms.items() if len(norms)}
    return {
        "dimension": len(whole.mean),
        "norms": norm_report(np.concatenate([whole.norms[name] for name in EXTRACTIONS])),
        "norms_by_extraction": by_extraction,
    }


def _require_one_width(widths: Sequence[int]) -> None:
    if len(widths) > 1:
        raise CommandError(
            f"knowledge.encoder: vectors of different widths ({', '.join(map(str, widths))}) were "
            "made with the same settings, now or in an earlier run; the encoder must have changed. "
            "Name another folder in knowledge.encoder.cache, so that all texts are encoded anew"
        )
