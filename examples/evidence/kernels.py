"""Kernels of knowledge match, compared without training a network.

Match is a kernel ridge regression of a user's earlier residuals. For a user whose ratings are in
order, one Cholesky factor K + noise I = L L' of all of them holds what the ridge says about each
rating from those before it: with z = L^-1 e the mean is (L z - diag(L) z), and the squared
deviation diag(L)^2 - noise. So validation users take seconds, and kernels can be tried each of
which would cost a model an hour. A logistic regression over means, deviations, the item's mean and
how often it was rated stands in the network's place; each half of the users is judged by the other.

Blended vectors are (n c + k m) / (n + k), with c the collaborative vector of an item with n
training ratings, and m what a ridge regression from links, titles and genres predicts for it from
the other items: collaborative vectors that fall back on links where ratings are few.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow.csv
import scipy.linalg
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import KFold, cross_val_predict

from configs.command_line import TeachingParser, add_json_option, run_command, say
from configs.loading import ConfigurationError
from configs.progress import progress
from configs.text_table import aligned
from models.reduction import mean_vector, unit_rows
from preprocessing.records.knowledge import read_knowledge

TITLES, LINKS, COLLABORATIVE = "title_genres", "links", "collaborative"
_SOURCES = (TITLES, LINKS, COLLABORATIVE)
_BLENDED = {f"blended_{ratings}": ratings for ratings in (20, 100, 400)}
_SCALES = {TITLES: 0.5, LINKS: 1.0, COLLABORATIVE: 0.5, **dict.fromkeys(_BLENDED, 0.5)}
_BIAS, _NOISE = 0.3, 1.0
_WEIGHT_OF_THE_MEAN = 5.0
_WEIGHT_OF_THE_PREDICTION = 20.0


@dataclass(frozen=True)
class Kernel:
    """k = bias + sum over terms of exp(sum over the sources of a term of (cosine - 1) / scale).

    Attributes:
      terms: (source, length scale) pairs of each term; several in a term make a product.
      noise: variance of a rating.
    """

    terms: tuple[tuple[tuple[str, float], ...], ...]
    noise: float = _NOISE


def _alone(source: str, noise: float = _NOISE, scale: float | None = None) -> Kernel:
    return Kernel((((source, scale or _SCALES[source]),),), noise)


@dataclass(frozen=True)
class KernelTrial:
    """Features of one or more kernels, judged together.

    Attributes:
      name: of the row.
      kernels: each gives a mean and a deviation.
    """

    name: str
    kernels: tuple[Kernel, ...]


def _trials() -> Iterator[KernelTrial]:
    for source in _SOURCES:
        for noise in (0.7, 1.0, 1.5):
            for scale in (0.25, 0.5, 1.0, 2.0):
                name = f"{source}, noise {noise:g}, length scale {scale:g}"
                yield KernelTrial(name, (_alone(source, noise, scale),))
    for sources in ((LINKS, TITLES), (COLLABORATIVE, TITLES), (COLLABORATIVE, TITLES, LINKS)):
        text = " + ".join(sources)
        apart = tuple(map(_alone, sources))
        summed = Kernel(tuple(((source, _SCALES[source]),) for source in sources))
        wider = tuple((source, len(sources) * _SCALES[source]) for source in sources)
        multiplied = Kernel((wider,))
        yield KernelTrial(f"{text}, a kernel each", apart)
        yield KernelTrial(f"{text}, sum of kernels", (summed,))
        yield KernelTrial(f"{text}, product of kernels", (multiplied,))
        yield KernelTrial(f"{text}, a kernel each, sum and product", (*apart, summed, multiplied))
    for blended in _BLENDED:
        for others in ((), (TITLES,), (TITLES, LINKS)):
            yield KernelTrial(
                " + ".join((blended, *others)), tuple(map(_alone, (blended, *others)))
            )


@dataclass(frozen=True)
class Ratings:
    """Validation users' ratings, and what training knows of their items.

    Attributes:
      users: [n], whose ratings stand together, in order.
      items: int [n], rows of the cosines.
      residuals: [n], rating less the item's mean in training.
      labels: [n], 1 from four stars on.
      base: [n, 3], the item's mean, log(1 + its ratings), log(1 + the user's before).
      cosines: source -> [items, items].
    """

    users: np.ndarray
    items: np.ndarray
    residuals: np.ndarray
    labels: np.ndarray
    base: np.ndarray
    cosines: Mapping[str, np.ndarray] = field(repr=False)

    @cached_property
    def rows_of_users(self) -> list[slice]:
        """The rows of each user."""
        starts = np.flatnonzero(np.r_[True, self.users[1:] != self.users[:-1]])
        ends = np.r_[starts[1:], len(self.users)]
        return [slice(*pair) for pair in zip(starts, ends, strict=True)]


def read_ratings(folder: Path) -> Ratings:
    """Reads what `python -m examples.evidence run main` has prepared.

    Raises:
      ConfigurationError: it has not.
    """
    path = folder / "data/ratings.csv.gz"
    if not path.is_file():
        raise ConfigurationError(f"no {path}; 'python -m examples.evidence run main' prepares it")
    table = pyarrow.csv.read_csv(path)
    columns = {name: table[name].to_numpy() for name in table.column_names if name != "part"}
    part = np.array(table["part"].to_pylist())
    ids, items = np.unique(columns["item_id"], return_inverse=True)
    ratings = columns["rating"].astype(np.float64)
    trained, asked = part == "train", part == "validation"
    counts = np.bincount(items[trained], minlength=len(ids))
    sums = np.bincount(items[trained], ratings[trained], len(ids))
    mean = ratings[trained].mean()
    means = (sums + _WEIGHT_OF_THE_MEAN * mean) / (counts + _WEIGHT_OF_THE_MEAN)
    base = [means[items], np.log1p(counts[items]), np.log1p(columns["position"])]
    vectors = {source: _vectors(folder, source, ids) for source in _SOURCES}
    vectors |= {
        name: blended_vectors(vectors, counts, ratings) for name, ratings in _BLENDED.items()
    }
    return Ratings(
        users=columns["user_id"][asked],
        items=items[asked],
        residuals=(ratings - means[items])[asked],
        labels=(ratings >= 4)[asked].astype(int),
        base=np.stack(base, axis=1)[asked],
        cosines={source: _cosines(rows) for source, rows in vectors.items()},
    )


def _vectors(folder: Path, source: str, ids: np.ndarray) -> np.ndarray:
    """Centred vectors of the items, float64 [items, width]; zeros where there is none."""
    knowledge = read_knowledge(folder, source, with_folds=False)
    rows = {entity: row for row, entity in enumerate(knowledge.entity_ids)}
    row_of_item = np.array([rows.get(str(item), -1) for item in ids])
    centred = (knowledge.vectors - mean_vector(knowledge.vectors)).astype(np.float64)
    return np.where((row_of_item >= 0)[:, np.newaxis], centred[row_of_item], 0.0)


def blended_vectors(
    vectors: Mapping[str, np.ndarray], counts: np.ndarray, ratings: int
) -> np.ndarray:
    """Collaborative vectors that `ratings` imagined ratings draw to what links say of the item.

    Args:
      vectors: source -> [items, width].
      counts: [items], training ratings of each item.
      ratings: how many the prediction is worth.

    Returns:
      [items, width of the collaborative vectors].
    """
    inputs = np.concatenate([unit_rows(vectors[source]) for source in (LINKS, TITLES)], axis=1)
    predicted = cross_val_predict(
        Ridge(),
        inputs,
        vectors[COLLABORATIVE],
        cv=KFold(min(10, len(inputs)), shuffle=True, random_state=0),
        params={"sample_weight": counts / (counts + _WEIGHT_OF_THE_PREDICTION)},
    )
    own, imagined = counts[:, np.newaxis], float(ratings)
    return (own * vectors[COLLABORATIVE] + imagined * predicted) / (own + imagined)


def _cosines(vectors: np.ndarray) -> np.ndarray:
    """Cosines, as the model has them: [items, items]; 0 for an item without a vector."""
    directions = unit_rows(vectors).astype(np.float64)
    return directions @ directions.T


def features(kernel: Kernel, ratings: Ratings) -> np.ndarray:
    """Mean and deviation of every rating from the user's earlier ones: [n, 2]."""
    result = np.empty([len(ratings.users), 2])
    for rows in ratings.rows_of_users:
        items = ratings.items[rows]
        pairs = np.ix_(items, items)
        matrix = np.full([len(items)] * 2, _BIAS)
        for term in kernel.terms:
            exponents = [(ratings.cosines[source][pairs] - 1) / scale for source, scale in term]
            matrix += np.exp(sum(exponents))
        matrix[np.diag_indices(len(items))] += kernel.noise
        factor = scipy.linalg.cholesky(matrix, lower=True)
        solved = scipy.linalg.solve_triangular(factor, ratings.residuals[rows], lower=True)
        diagonal = np.diag(factor)
        result[rows, 0] = factor @ solved - diagonal * solved
        result[rows, 1] = np.sqrt(np.maximum(diagonal**2 - kernel.noise, 1e-6))
    return result


def judged(columns: Sequence[np.ndarray], ratings: Ratings) -> float:
    """AUC of a logistic regression over features and what is known of item and user."""
    inputs = np.concatenate([ratings.base, *columns], axis=1)
    inputs = (inputs - inputs.mean(axis=0)) / inputs.std(axis=0)
    in_first = np.isin(ratings.users, np.unique(ratings.users)[::2])
    scores = np.empty(len(inputs))
    for half in (in_first, ~in_first):
        model = LogisticRegression(max_iter=500).fit(inputs[half], ratings.labels[half])
        scores[~half] = model.decision_function(inputs[~half])
    return float(roc_auc_score(ratings.labels, scores))


def probe(ratings: Ratings) -> list[dict[str, object]]:
    """The AUC of every trial, and first that of what is known without knowledge."""
    columns: dict[Kernel, np.ndarray] = {}
    rows: list[dict[str, object]] = [{"trial": "none", "auc": round(judged((), ratings), 5)}]
    for trial in progress([*_trials()], desc="kernels", unit="trial"):
        for kernel in trial.kernels:
            if kernel not in columns:
                columns[kernel] = features(kernel, ratings)
        auc = judged([columns[kernel] for kernel in trial.kernels], ratings)
        rows.append({"trial": trial.name, "auc": round(auc, 5)})
    return rows


def main(arguments: Sequence[str] | None = None) -> int:
    """Probes everything and returns the exit code."""
    parser = TeachingParser(prog="python -m examples.evidence.kernels", description=__doc__)
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("out/evidence/movielens_1m"),
        metavar="DIR",
        help="what 'python -m examples.evidence run main' has prepared (default %(default)s)",
    )
    add_json_option(parser)
    return run_command(_run, parser.parse_args(arguments))


def _run(arguments: argparse.Namespace) -> Mapping[str, object]:
    rows = probe(read_ratings(arguments.out))
    lines = [[f"{row['auc']:.5f}", str(row["trial"])] for row in rows]
    say("\n".join(aligned(["AUC", "kernels"], lines, numbers=range(1))))
    return {"validation": rows}


if __name__ == "__main__":
    sys.exit(main())
