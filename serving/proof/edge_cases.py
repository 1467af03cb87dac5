"""Requests that no example shows: what is unknown, missing or empty."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from preprocessing.records.contract import (
    HISTORY_ITEM_ID,
    HISTORY_RATING,
    ITEM_ID,
    PROFILE_PREFIX,
    RERANK,
    RETRIEVAL,
    USER_ID,
    USER_LOG_COUNT,
    USER_MEAN_RATING,
    USER_SHARE_LIKED,
)

UNKNOWN_ID = b"9223372036854775806"
"""An id that no data has, in a form that ids which are whole numbers can have too."""

UNKNOWN_VALUE = b"a value that no data has"

Arrays = Mapping[str, np.ndarray]


def edge_rows(rows: Arrays, kind: str) -> dict[str, dict[str, np.ndarray]]:
    """Rows that differ from the first of some rows in what their names say.

    Args:
      rows: features of requests, [n, ...] each, n at least 1.
      kind: of the model.

    Returns:
      Name -> features, [1, ...] each.
    """
    first = {name: values[:1].copy() for name, values in rows.items()}
    nobody = {USER_ID: _filled(first[USER_ID], UNKNOWN_ID)}
    numbers = (HISTORY_RATING, USER_SHARE_LIKED, USER_MEAN_RATING, USER_LOG_COUNT)
    no_history = {
        HISTORY_ITEM_ID: _filled(first[HISTORY_ITEM_ID], b""),
        # A model of implicit feedback reads none that is made from ratings.
        **{name: np.zeros_like(first[name]) for name in numbers if name in first},
    }
    edges = {
        "unknown user": nobody,
        "unknown item in the history": {
            HISTORY_ITEM_ID: _with_first(first[HISTORY_ITEM_ID], UNKNOWN_ID)
        },
        "empty history": no_history,
        "unknown user with empty history": nobody | no_history,
        "no user id": {USER_ID: _filled(first[USER_ID], b"")},
    }
    if kind == RERANK:
        edges["unknown item in the list"] = {ITEM_ID: _with_first(first[ITEM_ID], UNKNOWN_ID)}
        edges["list of one item"] = {
            ITEM_ID: _with_first(_filled(first[ITEM_ID], b""), first[ITEM_ID].flat[0])
        }
        edges["empty list"] = {ITEM_ID: _filled(first[ITEM_ID], b"")}
    elif kind != RETRIEVAL:
        edges["unknown item"] = {ITEM_ID: _filled(first[ITEM_ID], UNKNOWN_ID)}
    profile = [name for name in first if name.startswith(PROFILE_PREFIX)]
    if profile:
        edges["unknown profile values"] = {
            name: _with_first(_missing(first[name]), UNKNOWN_VALUE)
            if first[name].dtype == object
            else _missing(first[name])
            for name in profile
        }
        edges["no profile"] = {name: _missing(first[name]) for name in profile}
    return {name: first | changed for name, changed in edges.items()}


def joined(parts: Sequence[Arrays]) -> dict[str, np.ndarray]:
    """Rows below each other; lists are padded at the end, as in a request."""
    widest = {
        name: max(part[name].shape[1] if part[name].ndim > 1 else 0 for part in parts)
        for name in parts[0]
    }
    return {
        name: np.concatenate([_padded(part[name], name, widest[name]) for part in parts])
        for name in parts[0]
    }


def _padded(values: np.ndarray, name: str, width: int) -> np.ndarray:
    if values.ndim < 2:
        return values
    padded = np.zeros([len(values), width], values.dtype)
    if values.dtype == object:
        padded[:] = b""
    elif name.startswith(PROFILE_PREFIX):
        padded[:] = np.nan
    padded[:, : values.shape[1]] = values
    return padded


def _filled(values: np.ndarray, value: bytes) -> np.ndarray:
    return np.full(values.shape, value, dtype=object)


def _with_first(values: np.ndarray, value: bytes) -> np.ndarray:
    """A row of at least one value, which is this one."""
    changed = values if values.shape[1] else _filled(np.empty([1, 1]), b"")
    changed = changed.copy()
    changed[0, 0] = value
    return changed


def _missing(values: np.ndarray) -> np.ndarray:
    """A profile's feature without a value, at least one place wide."""
    shape = [len(values), max(1, values.shape[1])]
    if values.dtype == object:
        return np.full(shape, b"", dtype=object)
    return np.full(shape, np.nan, values.dtype)
