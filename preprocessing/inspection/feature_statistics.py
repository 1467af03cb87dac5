"""Statistics of the features of some records, in bounded memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from preprocessing.inspection.values import plain_value
from preprocessing.records.wire_reader import Values

_MOST_DISTINCT = 100_000
_COMMON = 3


@dataclass
class _Feature:
    """What is known about one feature.

    Attributes:
      type: "bytes", "float32" or "int64".
      records: records that have it.
      values: its values, all records together.
      fewest: values of a record, at least.
      most: values of a record, at most.
      counts: how often each text occurs, until there are too many of them.
      smallest: finite numbers only.
      largest: finite numbers only.
      total: sum of finite numbers.
      zeros: numbers that are 0.
      not_finite: numbers that are no numbers.
    """

    type: str
    records: int = 0
    values: int = 0
    fewest: int = 1 << 62
    most: int = 0
    counts: Counter[bytes] = field(default_factory=Counter)
    smallest: float = np.inf
    largest: float = -np.inf
    total: float = 0.0
    zeros: int = 0
    not_finite: int = 0

    def add(self, values: Values) -> None:
        """Counts the values of one record."""
        self.records += 1
        self.values += len(values)
        self.fewest, self.most = min(self.fewest, len(values)), max(self.most, len(values))
        if not isinstance(values, np.ndarray):
            if len(self.counts) <= _MOST_DISTINCT:
                self.counts.update(values)
            return
        finite = values[np.isfinite(values)]
        self.not_finite += len(values) - len(finite)
        if len(finite):
            self.smallest = min(self.smallest, float(finite.min()))
            self.largest = max(self.largest, float(finite.max()))
            self.total += float(finite.sum(dtype=np.float64))
            self.zeros += int((finite == 0).sum())

    def summary(self) -> dict[str, object]:
        """The statistics, as JSON can hold them."""
        shown: dict[str, object] = {
            "type": self.type,
            "records": self.records,
            "values_per_record": {
                "minimum": self.fewest,
                "mean": round(self.values / self.records, 3),
                "maximum": self.most,
            },
        }
        numbers = self.values - self.not_finite
        if self.type == "bytes":
            exact = len(self.counts) <= _MOST_DISTINCT
            shown["distinct"] = len(self.counts) if exact else f"more than {_MOST_DISTINCT}"
            shown["most_common"] = [
                [plain_value(value), count] for value, count in self.counts.most_common(_COMMON)
            ]
        elif numbers:
            shown |= {
                "minimum": self._number(self.smallest),
                "mean": plain_value(np.float64(self.total / numbers)),
                "maximum": self._number(self.largest),
                "share_of_zeros": round(self.zeros / numbers, 4),
                "not_finite": self.not_finite,
            }
        return shown

    def _number(self, value: float) -> object:
        return int(value) if self.type == "int64" else plain_value(np.float64(value))


class FeatureStatistics:
    """Counts records one by one."""

    def __init__(self) -> None:
        self._features: dict[str, _Feature] = {}

    def add(self, record: Mapping[str, Values]) -> None:
        """Counts one record."""
        for name, values in record.items():
            kind = values.dtype.name if isinstance(values, np.ndarray) else "bytes"
            feature = self._features.setdefault(name, _Feature(kind))
            feature.add(values)

    def summary(self) -> dict[str, dict[str, object]]:
        """Feature -> its statistics."""
        return {name: feature.summary() for name, feature in self._features.items()}
