"""The leading eigenpairs of a large sparse symmetric matrix, the same to the bit in every run.

Small matrices are decomposed whole. Larger ones go through Chebyshev-filtered subspace iteration
(Zhou, Saad, Tiago and Chelikowsky 2006): a polynomial of the matrix blows up what lies above the
block's smallest Ritz value, a Rayleigh-Ritz step turns the block towards eigenvectors, and those
that satisfy the tolerance are set aside. One block of float32 vectors is all that grows with the
number of eigenpairs; a Lanczos basis is at least twice as wide, orthogonalised vector by vector.

Work is cut into blocks of rows of a fixed size, each done by one thread, and sums over blocks are
taken in their order; so the number of cores decides no bit.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import scipy.linalg
import scipy.sparse
from scipy.sparse.csgraph import reverse_cuthill_mckee
from threadpoolctl import threadpool_limits

_DENSE_ROWS = 1000
_GUARDS = 32
"""Vectors beyond those asked for: the gap to the first vector outside sets the speed."""
_ROWS = 16384
_COLUMNS = 64
"""Columns that are filtered at a time; the filter needs two more arrays of this width."""
_GROWTH = 1e4
"""How much more the filter raises eigenvalue 1 than the smallest it keeps; float32 holds 1e7."""
_MAXIMUM_DEGREE = 40
_FIRST_CUT = 0.3
_WELL_CONDITIONED = 1e-8
_TURNS = 4
_SAME_HEIGHT = 1e-3

T = TypeVar("T")


@dataclass(frozen=True)
class Eigenpairs:
    """Eigenpairs, the largest eigenvalue first.

    Attributes:
      values: [count] float64.
      vectors: [rows, count] float32, orthonormal. The first of a column's highest components, with
        those that are lower by less than a thousandth, is positive.
      residuals: [count] float64, the norms of S u - w u.
      products: products of the matrix with the whole block of vectors that it took.
    """

    values: np.ndarray
    vectors: np.ndarray
    residuals: np.ndarray
    products: float


def leading_eigenpairs(
    matrix: scipy.sparse.csr_matrix,
    count: int,
    constants: np.ndarray,
    tolerance: float,
    maximum_products: int,
) -> Eigenpairs:
    """Known eigenvectors of eigenvalue 1, then those of the largest eigenvalues beside them.

    Args:
      matrix: [rows, rows] float32, symmetric, with eigenvalues in [-1, 1].
      count: eigenpairs; fewer when the matrix has fewer rows.
      constants: [rows, at most count] float32, orthonormal eigenvectors of eigenvalue 1.
      tolerance: a vector is done when its residual is at most this.
      maximum_products: products of the matrix with a whole block after which the vectors are
        returned as they are; their residuals say what they lack.
    """
    count = min(count, matrix.shape[0])
    with threadpool_limits(1):
        if matrix.shape[0] <= max(_DENSE_ROWS, 4 * (count + _GUARDS)):
            pairs = _dense(matrix, count, constants)
        else:
            with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as threads:
                subspace = _Subspace(matrix, count, constants, threads)
                pairs = subspace.iterate(tolerance, maximum_products)
    _fix_signs(pairs.vectors)
    return pairs


def _fix_signs(vectors: np.ndarray) -> None:
    for column in vectors.T:
        heights = np.abs(column)
        if column[np.argmax(heights >= (1 - _SAME_HEIGHT) * heights.max())] < 0:
            column *= -1


def _dense(matrix: scipy.sparse.csr_matrix, count: int, constants: np.ndarray) -> Eigenpairs:
    """Eigenpairs by LAPACK in float64; known vectors are moved out of the way, to eigenvalue -2."""
    whole = matrix.toarray().astype(np.float64)
    first = constants.astype(np.float64)
    values, vectors = scipy.linalg.eigh(whole - 3 * (first @ first.T))
    rest = count - first.shape[1]
    values = np.concatenate([np.ones(first.shape[1]), values[::-1][:rest]])
    vectors = np.concatenate([first, vectors[:, ::-1][:, :rest]], axis=1)
    residuals = np.linalg.norm(whole @ vectors - vectors * values, axis=0)
    return Eigenpairs(values, vectors.astype(np.float32), residuals, 1.0)


class _Subspace:
    """A block of vectors on its way to the leading eigenvectors.

    Attributes:
      vectors: [rows, count + guards], rows in an order of its own; the first `locked` are done.
      values: [count + guards], Ritz values of the columns.
      residuals: [count + guards], as last measured.
      products: products of the matrix with the whole block so far.
    """

    def __init__(
        self,
        matrix: scipy.sparse.csr_matrix,
        count: int,
        constants: np.ndarray,
        threads: ThreadPoolExecutor,
    ) -> None:
        rows, width = matrix.shape[0], count + _GUARDS
        # Rows that are multiplied together lie together: a quarter less time in a large catalogue.
        self._order = reverse_cuthill_mckee(matrix, symmetric_mode=True)
        matrix = matrix[self._order][:, self._order]
        self.count = count
        self.locked = constants.shape[1]
        self.products = 0.0
        self._threads = threads
        self._blocks = [slice(start, min(start + _ROWS, rows)) for start in range(0, rows, _ROWS)]
        self._matrix_blocks = [_rows_of(matrix, block) for block in self._blocks]
        self.vectors = np.empty((rows, width), np.float32)
        self.vectors[:, : self.locked] = constants[self._order]
        generator = np.random.default_rng(0)
        for block in self._blocks:
            start = self.vectors[block, self.locked :]
            start[...] = generator.standard_normal(start.shape, np.float32)
        self.values = np.ones(width)
        self.residuals = np.zeros(width)

    def iterate(self, tolerance: float, maximum_products: int) -> Eigenpairs:
        """Filters and rotates until `count` vectors satisfy the tolerance."""
        cut = _FIRST_CUT
        while self.locked < self.count and self.products < maximum_products:
            for columns in self._panels():
                self._filter(columns, cut)
            self._rotate()
            for columns in self._panels():
                self._measure_residuals(columns)
            # Locked up to the first unfinished vector: those after it may still mix with it.
            unfinished = self.residuals[self.locked : self.count] > tolerance
            self.locked += int(np.argmax(unfinished)) if unfinished.any() else len(unfinished)
            cut = float(self.values[-1])
        best = np.argsort(-self.values[: self.count], kind="stable")
        vectors = np.empty((len(self.vectors), self.count), np.float32)
        for block in self._blocks:
            vectors[self._order[block]] = self.vectors[block, best]
        return Eigenpairs(self.values[best], vectors, self.residuals[best], self.products)

    def _panels(self) -> Iterator[slice]:
        width = self.vectors.shape[1]
        for start in range(self.locked, width, _COLUMNS):
            yield slice(start, min(start + _COLUMNS, width))

    def _over_rows(self, work: Callable[[int, slice], T]) -> list[T]:
        """Results of the blocks of rows, in their order."""
        return list(self._threads.map(work, range(len(self._blocks)), self._blocks))

    def _sum_over_rows(self, work: Callable[[int, slice], np.ndarray]) -> np.ndarray:
        return functools.reduce(np.add, self._over_rows(work))

    def _filter(self, columns: slice, cut: float) -> None:
        """Multiplies by the Chebyshev polynomial that is small from -1 to `cut`.

        T_m = 2 x T_(m-1) - T_(m-2) of x = (2 S + 1 - cut) / (1 + cut), of the degree at which
        eigenvalue 1 grows as much as float32 bears beside the smallest that is kept.
        """
        stretch, shift = 2 / (1 + cut), (1 - cut) / (1 + cut)
        growth = np.arccosh(max(stretch + shift, 1 + 1e-6))
        degree = int(np.clip(np.log(2 * _GROWTH) / growth, 2, _MAXIMUM_DEGREE))
        panel = np.ascontiguousarray(self.vectors[:, columns])
        other = np.zeros_like(panel)
        self._step(panel, other, stretch, shift)
        for _ in range(degree - 1):
            panel, other = other, panel
            self._step(panel, other, 2 * stretch, 2 * shift)
        self.vectors[:, columns] = other
        self._count(degree, columns)

    def _step(self, panel: np.ndarray, other: np.ndarray, stretch: float, shift: float) -> None:
        """Puts (stretch S + shift) panel - other in the place of `other`."""

        def work(number: int, block: slice) -> None:
            product = self._matrix_blocks[number] @ panel
            product *= np.float32(stretch)
            product += np.float32(shift) * panel[block]
            product -= other[block]
            other[block] = product

        self._over_rows(work)

    def _rotate(self) -> None:
        """Rayleigh-Ritz among the unfinished vectors, orthogonal to the locked."""
        for _ in range(2 if self.locked else 0):
            self._leave_out_locked()
        for _ in range(_TURNS):
            overlaps, images = self._overlaps(), self._images()
            lengths = np.sqrt(np.diag(overlaps))
            scale = 1 / np.where(lengths > 0, lengths, 1)
            overlaps, images = (scale[:, None] * array * scale for array in (overlaps, images))
            sizes, basis = np.linalg.eigh(overlaps)
            basis /= np.sqrt(np.maximum(sizes, 1e-14 * sizes[-1]))
            values, turns = np.linalg.eigh(basis.T @ images @ basis)
            self.values[self.locked :] = values[::-1]
            self._turn(scale[:, None] * (basis @ turns[:, ::-1]))
            if sizes[0] > _WELL_CONDITIONED * sizes[-1]:
                return

    def _leave_out_locked(self) -> None:
        locked = self.locked

        def overlap(_: int, block: slice) -> np.ndarray:
            rows = self.vectors[block].astype(np.float64)
            return rows[:, :locked].T @ rows[:, locked:]

        part = self._sum_over_rows(overlap).astype(np.float32)

        def subtract(_: int, block: slice) -> None:
            rows = self.vectors[block]
            rows[:, locked:] -= rows[:, :locked] @ part

        self._over_rows(subtract)

    def _overlaps(self) -> np.ndarray:
        """X^T X of the unfinished vectors X."""

        def work(_: int, block: slice) -> np.ndarray:
            rows = self.vectors[block, self.locked :].astype(np.float64)
            return rows.T @ rows

        return self._sum_over_rows(work)

    def _images(self) -> np.ndarray:
        """X^T S X of the unfinished vectors X."""
        images = []
        for columns in self._panels():
            panel = np.ascontiguousarray(self.vectors[:, columns])

            def work(number: int, block: slice, panel: np.ndarray = panel) -> np.ndarray:
                image = self._matrix_blocks[number] @ panel
                return self.vectors[block, self.locked :].astype(np.float64).T @ image

            images.append(self._sum_over_rows(work))
            self._count(1, columns)
        whole = np.concatenate(images, axis=1)
        return (whole + whole.T) / 2

    def _turn(self, rotation: np.ndarray) -> None:
        narrow = rotation.astype(np.float32)

        def work(_: int, block: slice) -> None:
            self.vectors[block, self.locked :] = self.vectors[block, self.locked :] @ narrow

        self._over_rows(work)

    def _measure_residuals(self, columns: slice) -> None:
        panel = np.ascontiguousarray(self.vectors[:, columns])
        values = self.values[columns].astype(np.float32)

        def work(number: int, block: slice) -> np.ndarray:
            missing = self._matrix_blocks[number] @ panel - panel[block] * values
            return np.square(missing, dtype=np.float64).sum(axis=0)

        self.residuals[columns] = np.sqrt(self._sum_over_rows(work))
        self._count(1, columns)

    def _count(self, products: int, columns: slice) -> None:
        self.products += products * (columns.stop - columns.start) / self.vectors.shape[1]


def _rows_of(matrix: scipy.sparse.csr_matrix, block: slice) -> scipy.sparse.csr_matrix:
    """Rows of a matrix, without a copy of their numbers."""
    bounds = matrix.indptr[block.start : block.stop + 1]
    entries = slice(bounds[0], bounds[-1])
    return scipy.sparse.csr_matrix(
        (matrix.data[entries], matrix.indices[entries], bounds - bounds[0]),
        shape=(len(bounds) - 1, matrix.shape[1]),
    )
