"""Random histories, and the formulas of knowledge match in plain NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np

from configs.model import Match
from models.match import KnowledgeMatch

ITEMS, VECTOR_WIDTH = 12, 6
History = dict[str, np.ndarray]
VARIANTS: list[dict[str, Any]] = [
    {"kind": "means", "learned": False},
    {"kind": "means", "learned": True},
    {"kind": "ridge", "learned": False},
    {"kind": "ridge", "learned": True},
    {"kind": "ridge", "learned": False, "form": "exact"},
    {"kind": "ridge", "learned": True, "form": "exact"},
]


def variant_name(variant: dict[str, Any]) -> str:
    learned = "learned" if variant["learned"] else "fixed"
    return f"{variant['kind']}-{variant.get('form', 'low_rank')}-{learned}"


def item_vectors(seed: int = 5) -> np.ndarray:
    """Vectors of table rows 1..ITEMS; the fourth is missing."""
    vectors = np.random.default_rng(seed).normal(size=[ITEMS, VECTOR_WIDTH]) + 2
    vectors[3] = 0
    return vectors.astype(np.float32)


def matcher(
    kind: str, vectors: np.ndarray | None = None, folds: Any = (), **options: Any
) -> KnowledgeMatch:
    """A match whose low-rank form is exact, because every vector is a landmark."""
    options = {"dimension": ITEMS} | options
    vectors = item_vectors() if vectors is None else vectors
    return KnowledgeMatch.from_vectors(kind, vectors, Match(**options), folds)


def histories(users: int, length: int, seed: int = 1) -> History:
    """Random histories with padding, repeated items and items without knowledge."""
    random = np.random.default_rng(seed)
    return {
        "history_rows": random.integers(0, ITEMS + 1, size=[users, length]).astype(np.int32),
        "history_residuals": random.normal(size=[users, length]).astype(np.float32),
        "history_liked": random.integers(0, 2, size=[users, length]).astype(np.float32),
        "history_mask": random.uniform(size=[users, length]) < 0.8,
    }


def candidate_rows(*shape: int) -> np.ndarray:
    return np.random.default_rng(2).integers(0, ITEMS + 1, size=shape).astype(np.int32)


def plain_features(
    kind: str,
    candidate: int,
    rows: np.ndarray,
    residuals: np.ndarray,
    liked: np.ndarray,
    mask: np.ndarray,
    vectors: np.ndarray | None = None,
) -> list[float]:
    """The formulas, for one candidate and one history."""
    vectors = (item_vectors() if vectors is None else vectors).astype(np.float64)
    present = np.any(vectors != 0, axis=1)
    centred = np.where(present[:, None], vectors - vectors[present].mean(axis=0), 0)
    table = np.concatenate([np.zeros([1, centred.shape[1]]), centred])
    known = np.concatenate([[False], present])
    if not known[candidate]:
        return [0.0] * (6 if kind == "means" else 2)
    real = mask & known[rows]
    rows, residuals, liked = rows[real], residuals[real], liked[real]
    if kind == "ridge":
        return _plain_ridge(_cosines(table, np.eye(table.shape[1])), candidate, rows, residuals)
    # Cosines of whitened vectors, whatever the basis: x' C^-1 y, scaled to length 1.
    inverse_covariance = np.linalg.pinv(table.T @ table / present.sum())
    root = np.linalg.cholesky(inverse_covariance)
    return _plain_means(table @ root, candidate, rows, residuals, liked)


def _cosines(table: np.ndarray, metric: np.ndarray) -> np.ndarray:
    products = table @ metric @ table.T
    lengths = np.sqrt(np.maximum(np.diag(products), 1e-300))
    return products / np.outer(lengths, lengths)


def _plain_ridge(
    cosines: np.ndarray, candidate: int, rows: np.ndarray, residuals: np.ndarray
) -> list[float]:
    kernel = 0.3 + np.exp((cosines - 1) / 0.5)
    among = kernel[np.ix_(rows, rows)] + np.eye(len(rows))
    solved = np.linalg.solve(among, np.stack([residuals, kernel[rows, candidate]], axis=1))
    mean, explained = kernel[rows, candidate] @ solved
    return [mean, np.sqrt(1.3 - explained)]


def _plain_means(
    whitened: np.ndarray,
    candidate: int,
    rows: np.ndarray,
    residuals: np.ndarray,
    liked: np.ndarray,
) -> list[float]:
    lengths = np.sqrt((whitened**2).sum(axis=1, keepdims=True))
    unit = whitened / np.maximum(lengths, 1e-300)
    cosines = unit[rows] @ unit[candidate]
    features = []
    for length_scale in (0.1, 0.25):
        weights = np.exp((cosines - 1) / length_scale)
        features.append(weights @ residuals / weights.sum() if len(rows) else 0.0)
    sides = [liked == 1, liked == 0]
    for side in sides:
        direction = unit[rows[side]].sum(axis=0)
        length = np.sqrt(direction @ direction)
        features.append(unit[candidate] @ direction / length if side.any() else 0.0)
    return features + [cosines[side].max(initial=-9) if side.any() else 0.0 for side in sides]
