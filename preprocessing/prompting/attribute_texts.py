"""Attributes of items and users as people read them."""

from __future__ import annotations

import math

import pyarrow as pa
import pyarrow.compute as pc

from preprocessing.records.item_attributes import NUMERIC

_GLUE = ", "


def attribute_texts(values: pa.ChunkedArray) -> list[str]:
    """[rows] values of a parsed attribute as text: 1995 for 1995.0, "Drama, War" for a list.

    Args:
      values: a column that `parse_attribute` made.

    Returns:
      Texts, empty where the attribute is missing.
    """
    if values.type != NUMERIC:
        return list(pc.binary_join(values, _GLUE).to_pylist())
    return [
        "" if number is None or math.isnan(number) else f"{number:.10g}"
        for number in values.to_pylist()
    ]
