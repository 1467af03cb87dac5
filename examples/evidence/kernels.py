"""Sources and kernels of knowledge match, compared without training a network.

Match is a kernel ridge regression of a user's earlier residuals. For a user whose ratings are in
order, one Cholesky factor K + noise I = L L' of all of them holds what the ridge says about each
rating from those before it: with z = L^-1 e the mean is (L z - diag(L) z), and the squared
deviation diag(L)^2 - noise. So validation users take seconds, and what would cost a model an hour
each can be tried by the dozen. A logistic regression over means, deviations, the item's mean and
how often it was rated stands in the network's place; each half of the users is judged by the other.

Blended vectors are (n c + k m) / (n + k), with c the collaborative vector of an item with n
training ratings, and m what a ridge regression from links, titles and genres predicts for it from
the other items: collaborative vectors that fall back on links where ratings are few. The graph of
neighbours links every item to the twenty whose collaborative vectors have the largest cosines with
its own; joined, its weights are added to those of the LLM's links.

Kernels are exact but for the trials with landmarks, which are of low rank, as the model's are.
Learned kernels have the bias, noise, amplitudes and length scales under which the residuals of one
half of the users are likely; the regression is fitted to the same half and judged by the other. A
mean by certainty weighs each kernel's by 1 / deviation^2.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.csv
import scipy.linalg
import scipy.optimize
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import KFold, cross_val_predict

from configs.command_line import TeachingParser, add_json_option, run_command, say
from configs.loading import ConfigurationError
from configs.progress import progress
from configs.text_table import aligned
from examples.evidence.data import NAMES, POPULAR
from models.reduction import cluster_landmarks, mean_vector, nystroem_features, unit_rows
from preprocessing.links.linking import LINKS_FILE, read_links
from preprocessing.links.spectral import (
    LinkGraph,
    LinkVectors,
    graph_of_table,
    link_graph,
    spectral_vectors,
)
from preprocessing.records.knowledge import read_knowledge

RESULTS = Path("docs/evidence/kernels.json")

TITLES, LINKS, COLLABORATIVE, PROSE = "title_genres", "links", "collaborative", "prose"
_SOURCES = (TITLES, LINKS, COLLABORATIVE)
_ANSWERS = (
    *(PROSE, "links_mined", *(f"links_{names}" for names in NAMES), LINKS),
    *(f"links_popular_{share}" for share in POPULAR),
    *("links_shuffled", "links_random"),
)
_BLENDED = {f"blended_{ratings}": ratings for ratings in (20, 100, 400)}
_NEIGHBOURS, _JOINED = "neighbours", "links_joined"
_COMPONENTS = {f"links_{count}_components": count for count in (8, 16, 32, 64, 96)}
_REACHES = {
    f"links_{dimension}_damping_{damping}_smoothness_{smoothness}": (dimension, damping, smoothness)
    for dimension in (128, 256, 512)
    for damping, smoothness in ((0.9, 1), (0.98, 1), (0.9, 2), (0.95, 2), (0.97, 2), (0.9, 3))
    if (dimension, damping, smoothness) != (128, 0.9, 1)  # the links as they are
}
_TFIDF = {source: f"{source}_tfidf" for source in (TITLES, PROSE)}
_OF_LINKS = (
    *(_NEIGHBOURS, _JOINED, *_COMPONENTS, *_REACHES),
    *(one for one in _ANSWERS if one != PROSE),
)
_TOGETHER = ((LINKS, TITLES), (COLLABORATIVE, TITLES), (COLLABORATIVE, TITLES, LINKS))
_BIAS, _NOISE = 0.3, 1.0
_NUMBER_OF_NEIGHBOURS = 20
_COMPONENTS_OF_TFIDF = 256
_WEIGHT_OF_THE_MEAN = 5.0
_WEIGHT_OF_THE_PREDICTION = 20.0
_LEARNING_USERS, _LEARNING_RATINGS = 150, 200


@dataclass(frozen=True)
class Kernel:
    """k = bias + sum over terms of a exp(sum over a term's sources of (cosine - 1) / scale).

    Attributes:
      terms: (source, length scale) pairs of each term; several in a term make a product.
      noise: variance of a rating.
      bias: what all items have in common.
      amplitudes: a of each term; 1 without any.
      landmarks: of a kernel of a single source and without amplitudes, how many stand for its
        items; 0 for all of them.
    """

    terms: tuple[tuple[tuple[str, float], ...], ...]
    noise: float = _NOISE
    bias: float = _BIAS
    amplitudes: tuple[float, ...] = ()
    landmarks: int = 0

    @property
    def sources(self) -> set[str]:
        """All that the terms read."""
        return {source for term in self.terms for source, _ in term}

    def matrix(self, cosines: Mapping[str, np.ndarray]) -> np.ndarray:
        """Covariances of ratings with each other, noise among them.

        Args:
          cosines: source -> between their items [n, n].
        """
        count = len(next(iter(cosines.values())))
        matrix = np.full([count, count], self.bias)
        amplitudes = self.amplitudes or (1.0,) * len(self.terms)
        for term, amplitude in zip(self.terms, amplitudes, strict=True):
            exponent = sum((cosines[source] - 1) / scale for source, scale in term)
            matrix += amplitude * np.exp(exponent)
        matrix[np.diag_indices(count)] += self.noise
        return matrix

    def low_rank(self, directions: np.ndarray) -> np.ndarray:
        """Features whose inner products are the kernel of the landmarks, as the model has them.

        The model's features of an item without a vector are zeros, where here they are those of a
        vector that resembles no other.

        Args:
          directions: unit vectors of all items [items, width].

        Returns:
          [items, landmarks + 1], narrower with fewer distinct items.
        """
        if self.amplitudes:
            raise ValueError("a kernel with landmarks has no amplitudes")
        (((_, scale),),) = self.terms
        centre = np.zeros(directions.shape[1])
        landmarks = cluster_landmarks(directions, centre, self.landmarks)
        cosines = directions @ landmarks.T, landmarks @ landmarks.T
        return nystroem_features(*cosines, scale, self.bias).astype(np.float64)


def _scale(source: str) -> float:
    """The model's length scale."""
    return 1.0 if source in _OF_LINKS else 0.5


def _alone(source: str, noise: float = _NOISE, scale: float | None = None) -> Kernel:
    return Kernel((((source, scale or _scale(source)),),), noise)


def _each(*sources: str) -> KernelTrial:
    return KernelTrial(" + ".join(sources), tuple(map(_alone, sources)))


@dataclass(frozen=True)
class KernelTrial:
    """Features of one or more kernels, judged together.

    Attributes:
      name: of the row.
      kernels: each gives a mean and a deviation.
      by_certainty: whether there is also a mean of their means, by certainty.
      of_second: in their place where the second half of the users is fitted to; the same if empty.
    """

    name: str
    kernels: tuple[Kernel, ...]
    by_certainty: bool = False
    of_second: tuple[Kernel, ...] = ()

    @property
    def sources(self) -> set[str]:
        """All that the kernels read."""
        return set().union(*(kernel.sources for kernel in self.kernels))


def _trials() -> dict[str, list[KernelTrial]]:
    """What is compared with what -> its trials, but for learned kernels."""
    beside = (COLLABORATIVE, TITLES)
    return {
        "What the LLM was asked": [
            trial for source in _ANSWERS for trial in (_each(source), _each(source, TITLES))
        ],
        "Components of link vectors": [_each(source) for source in (*_COMPONENTS, LINKS)],
        "Damping and smoothness of links, and their components": [
            trial
            for source in (LINKS, *_REACHES)
            for trial in (_each(source), _each(*beside, source))
        ],
        "Landmarks": [
            trial
            for sources in (*((source,) for source in _SOURCES), *_TOGETHER)
            for trial in _trials_of_landmarks(sources)
        ],
        "Encoders": [
            trial
            for source, tfidf in _TFIDF.items()
            for trial in (
                *(_each(source), _each(source, LINKS), _each(tfidf), _each(tfidf, LINKS)),
                *(_each(*beside, text, LINKS) for text in (source, tfidf) if text not in beside),
            )
        ],
        "Kernels of several sources": [
            trial for sources in _TOGETHER for trial in _joint_trials(sources)
        ],
        "Collaborative vectors that fall back on links": [
            _each(blended, *others)
            for blended in _BLENDED
            for others in ((), (TITLES,), (TITLES, LINKS))
        ],
        "Graphs of collaborative neighbours": [
            _each(*beside, *others)
            for others in ((_NEIGHBOURS,), (_NEIGHBOURS, LINKS), (_JOINED,), (_JOINED, LINKS))
        ],
        "Noise and length scale": [
            KernelTrial(
                f"{source}, noise {noise:g}, length scale {scale:g}",
                (_alone(source, noise, scale),),
            )
            for source in _SOURCES
            for noise in (0.7, 1.0, 1.5)
            for scale in (0.25, 0.5, 1.0, 2.0)
        ],
    }


def _joint_trials(sources: Sequence[str]) -> Iterator[KernelTrial]:
    text = " + ".join(sources)
    apart = tuple(map(_alone, sources))
    summed = Kernel(tuple(((source, _scale(source)),) for source in sources))
    multiplied = Kernel((tuple((source, len(sources) * _scale(source)) for source in sources),))
    yield KernelTrial(f"{text}, a kernel each", apart)
    yield KernelTrial(f"{text}, a kernel each and their mean by certainty", apart, True)
    yield KernelTrial(f"{text}, sum of kernels", (summed,))
    yield KernelTrial(f"{text}, product of kernels", (multiplied,))
    yield KernelTrial(f"{text}, a kernel each, sum and product", (*apart, summed, multiplied))


def _trials_of_landmarks(sources: Sequence[str]) -> Iterator[KernelTrial]:
    text = " + ".join(sources)

    def trial(landmarks: str, of_links: int, of_others: int) -> KernelTrial:
        counts = [of_links if source == LINKS else of_others for source in sources]
        kernels = (
            replace(_alone(source), landmarks=count)
            for source, count in zip(sources, counts, strict=True)
        )
        return KernelTrial(f"{text}, {landmarks} landmarks", tuple(kernels))

    for count in (64, 128, 256, 512):
        yield trial(str(count), count, count)
    yield trial("without", 0, 0)
    if LINKS in sources and len(sources) > 1:
        yield trial("the model's 128 for links and 64 other", 128, 64)


def _learned_trials(ratings: Ratings) -> Iterator[KernelTrial]:
    """Learned kernels of each source alone, and of several together."""
    halves = [ratings.of(ratings.in_first_half), ratings.of(~ratings.in_first_half)]

    def learned(*sources: str) -> list[Kernel]:
        return [learned_kernel(sources, half) for half in halves]

    def trial(name: str, *kernels: Sequence[Kernel]) -> KernelTrial:
        of_first, of_second = zip(*kernels, strict=True)
        return KernelTrial(name, of_first, of_second=of_second)

    alone = {source: learned(source) for source in _SOURCES}
    for source, kernels in alone.items():
        yield trial(source, kernels)
    for sources in _TOGETHER:
        text, summed = " + ".join(sources), learned(*sources)
        apart = [alone[source] for source in sources]
        yield trial(f"{text}, a kernel each", *apart)
        yield trial(f"{text}, sum of kernels", summed)
        yield trial(f"{text}, a kernel each and sum", *apart, summed)


@dataclass(frozen=True)
class Ratings:
    """Validation users' ratings, and what training knows of their items.

    Attributes:
      users: [n], whose ratings stand together, in order.
      items: int [n], rows of the cosines.
      residuals: [n], rating less the item's mean in training.
      labels: [n], 1 from four stars on.
      base: [n, 3], the item's mean, log(1 + its ratings), log(1 + the user's before).
      directions: source -> unit vectors of the items, float64 [items, width]; zeros for none.
    """

    users: np.ndarray
    items: np.ndarray
    residuals: np.ndarray
    labels: np.ndarray
    base: np.ndarray
    directions: Mapping[str, np.ndarray] = field(repr=False)

    @cached_property
    def rows_of_users(self) -> list[slice]:
        """The rows of each user."""
        starts = np.flatnonzero(np.r_[True, self.users[1:] != self.users[:-1]])
        ends = np.r_[starts[1:], len(self.users)]
        return [slice(*pair) for pair in zip(starts, ends, strict=True)]

    @cached_property
    def in_first_half(self) -> np.ndarray:
        """Whose rows are of every other user: bool [n]."""
        return np.isin(self.users, np.unique(self.users)[::2])

    def of(self, rows: np.ndarray) -> Ratings:
        """Those of some rows."""
        names = ("users", "items", "residuals", "labels", "base")
        return replace(self, **{name: getattr(self, name)[rows] for name in names})


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
    vectors = _all_vectors(folder, ids, counts)
    return Ratings(
        users=columns["user_id"],
        items=items,
        residuals=ratings - means[items],
        labels=(ratings >= 4).astype(int),
        base=np.stack(base, axis=1),
        directions={source: unit_rows(rows).astype(np.float64) for source, rows in vectors.items()},
    ).of(asked)


def _all_vectors(folder: Path, ids: np.ndarray, counts: np.ndarray) -> dict[str, np.ndarray]:
    """Vectors of the items of every source that is prepared, and of those made from them here."""
    prepared = [source for source in _ANSWERS if (folder / "knowledge" / source).is_dir()]
    vectors = {source: _vectors(folder, source, ids) for source in {*_SOURCES, *prepared}}
    vectors |= {
        name: blended_vectors(vectors, counts, ratings) for name, ratings in _BLENDED.items()
    }
    vectors |= {name: vectors[LINKS][:, :count] for name, count in _COMPONENTS.items()}
    graph = graph_of_table(read_links(folder / "links" / LINKS / LINKS_FILE))
    own = graph.items.to_pylist()
    wide = spectral_vectors(graph, max(dimension for dimension, *_ in _REACHES.values()))
    vectors |= {
        name: _centred(own, reaching_vectors(wide, *reach)[: len(own)], ids)
        for name, reach in _REACHES.items()
    }
    neighbours, joined = neighbour_vectors(vectors[COLLABORATIVE], ids, graph)
    vectors |= {_NEIGHBOURS: neighbours, _JOINED: joined}
    return vectors | {
        _TFIDF[source]: tfidf_vectors(texts, ids) for source, texts in _texts(folder).items()
    }


def _texts(folder: Path) -> dict[str, dict[str, str]]:
    """Source -> film -> its text, of sources that are texts."""
    catalogue = (folder / "data/movies.dat").read_text(encoding="latin-1").splitlines()
    films = [line.split("::") for line in catalogue]
    texts = {TITLES: {film: f"{title} {genres}" for film, title, genres in films}}
    prose = folder / "data/prose/answers.jsonl"
    if prose.is_file():
        answers = map(json.loads, prose.read_text(encoding="utf-8").splitlines())
        texts[PROSE] = {answer["entity_id"]: answer["answer"] for answer in answers}
    return texts


def tfidf_vectors(texts: Mapping[str, str], ids: np.ndarray) -> np.ndarray:
    """Centred leading components of the texts' TF-IDF weights: [items, components]."""
    weights = TfidfVectorizer(sublinear_tf=True).fit_transform(texts.values())
    components = min(_COMPONENTS_OF_TFIDF, *weights.shape)
    vectors = TruncatedSVD(components, random_state=0).fit_transform(weights)
    return _centred(list(texts), vectors, ids)


def _vectors(folder: Path, source: str, ids: np.ndarray) -> np.ndarray:
    """Centred vectors of the items, float64 [items, width]; zeros where there is none."""
    knowledge = read_knowledge(folder, source, with_folds=False)
    return _centred(knowledge.entity_ids, knowledge.vectors, ids)


def _centred(entities: Sequence[str], vectors: np.ndarray, ids: np.ndarray) -> np.ndarray:
    rows = {entity: row for row, entity in enumerate(entities)}
    row_of_item = np.array([rows.get(str(item), -1) for item in ids])
    centred = (vectors - mean_vector(vectors)).astype(np.float64)
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


def reaching_vectors(
    links: LinkVectors, dimension: int, damping: float, smoothness: float
) -> np.ndarray:
    """The vectors that `spectral_vectors` would make with another damping and smoothness.

    Args:
      links: vectors of the graph, as many at least.
      dimension: leading eigenpairs that are taken.
      damping: the nearer to 1, the farther links of links reach.
      smoothness: the larger, the less a single link counts beside what many share.

    Returns:
      [nodes, dimension].
    """
    reaching = replace(links, damping=damping, smoothness=smoothness)
    return (links.vectors * (links.lengths / reaching.lengths))[:, :dimension]


def neighbour_vectors(
    collaborative: np.ndarray, ids: np.ndarray, links: LinkGraph
) -> tuple[np.ndarray, np.ndarray]:
    """Spectral vectors of the graph of neighbours, and of that graph joined with links.

    Args:
      collaborative: [items, width].
      ids: [items].
      links: the graph of the LLM's links.

    Returns:
      Two arrays [items, width], centred.
    """
    directions = unit_rows(collaborative)
    cosines = directions @ directions.T
    np.fill_diagonal(cosines, -np.inf)
    count = min(_NUMBER_OF_NEIGHBOURS, len(ids) - 1)
    nearest = np.argsort(-cosines, axis=1, kind="stable")[:, :count]
    own = links.items.to_pylist()
    node_of = {item: node for node, item in enumerate(own)}
    nodes = np.array([node_of.get(str(item), -1) for item in ids])
    pairs = np.stack(
        [
            np.repeat(nodes, count),
            nodes[nearest].ravel(),
            np.tile(np.arange(count), len(ids)),
        ]
    )
    pairs = pairs[:, (pairs[:2] >= 0).all(axis=0)]
    neighbours = link_graph(links.items, links.outside, *pairs)
    joined = replace(
        links,
        weights=links.weights + neighbours.weights,
        degrees=links.degrees + neighbours.degrees,
    )
    made = [spectral_vectors(graph).vectors[: len(own)] for graph in (neighbours, joined)]
    first, second = (_centred(own, vectors, ids) for vectors in made)
    return first, second


def features(kernel: Kernel, ratings: Ratings) -> np.ndarray:
    """Mean and deviation of every rating from the user's earlier ones: [n, 2]."""
    result = np.empty([len(ratings.users), 2])
    for rows, matrix in zip(ratings.rows_of_users, _covariances(kernel, ratings), strict=True):
        factor = scipy.linalg.cholesky(matrix, lower=True)
        solved = scipy.linalg.solve_triangular(factor, ratings.residuals[rows], lower=True)
        diagonal = np.diag(factor)
        result[rows, 0] = factor @ solved - diagonal * solved
        result[rows, 1] = np.sqrt(np.maximum(diagonal**2 - kernel.noise, 1e-6))
    return result


def _covariances(kernel: Kernel, ratings: Ratings) -> Iterator[np.ndarray]:
    """Of each user, between all ratings, noise among them."""
    if not kernel.landmarks:
        yield from map(kernel.matrix, _cosines(kernel.sources, ratings))
        return
    (source,) = kernel.sources
    features_of_items = kernel.low_rank(ratings.directions[source])
    for rows in ratings.rows_of_users:
        own = features_of_items[ratings.items[rows]]
        yield own @ own.T + kernel.noise * np.eye(len(own))


def _cosines(sources: Iterable[str], ratings: Ratings) -> Iterator[dict[str, np.ndarray]]:
    """Of each user, source -> between the items of all ratings."""
    for rows in ratings.rows_of_users:
        directions = {source: ratings.directions[source][ratings.items[rows]] for source in sources}
        yield {source: of_source @ of_source.T for source, of_source in directions.items()}


def learned_kernel(sources: Sequence[str], ratings: Ratings) -> Kernel:
    """The kernel with a term for each source under which residuals are likely.

    At most 30 steps of L-BFGS over the logarithms of bias, noise, amplitudes and length scales,
    each kept between 0.001 and 20, lower the negative log marginal likelihood, of each user
    z' z / 2 + sum log diag(L) (Rasmussen and Williams, "Gaussian Processes for Machine Learning",
    2006, eq. 5.8 without its constant).

    Args:
      sources: in the order of the terms.
      ratings: to learn from; of the first 150 users the first 200 are read.
    """
    first = [
        np.arange(len(ratings.users))[rows][:_LEARNING_RATINGS]
        for rows in ratings.rows_of_users[:_LEARNING_USERS]
    ]
    ratings = ratings.of(np.concatenate(first))
    of_users = list(zip(ratings.rows_of_users, _cosines(sources, ratings), strict=True))

    def kernel_of(logarithms: np.ndarray) -> Kernel:
        bias, noise, *others = np.exp(logarithms).tolist()
        amplitudes, scales = others[: len(sources)], others[len(sources) :]
        terms = tuple(((source, scale),) for source, scale in zip(sources, scales, strict=True))
        return Kernel(terms, noise, bias, tuple(amplitudes))

    def unlikeliness(logarithms: np.ndarray) -> float:
        kernel, total = kernel_of(logarithms), 0.0
        for rows, cosines in of_users:
            factor = scipy.linalg.cholesky(kernel.matrix(cosines), lower=True)
            solved = scipy.linalg.solve_triangular(factor, ratings.residuals[rows], lower=True)
            total += solved @ solved / 2 + np.log(np.diag(factor)).sum()
        return total / len(ratings.users)

    ones = [1.0] * len(sources)
    start = np.log([_BIAS, _NOISE, *ones, *map(_scale, sources)])
    bounds = [(math.log(0.001), math.log(20))] * len(start)
    found = scipy.optimize.minimize(
        unlikeliness, start, method="L-BFGS-B", bounds=bounds, options={"maxiter": 30}
    )
    return kernel_of(found.x)


def judged(
    columns: Sequence[np.ndarray], ratings: Ratings, of_second: Sequence[np.ndarray] = ()
) -> float:
    """AUC of a logistic regression over features and what is known of item and user.

    Args:
      columns: features [n, k].
      ratings: each half of their users is judged by the regression that is fitted to the other.
      of_second: features where it is fitted to the second half; the same if empty.
    """
    scores = np.empty(len(ratings.users))
    first = ratings.in_first_half
    for half, known in ((first, columns), (~first, of_second or columns)):
        inputs = np.concatenate([ratings.base, *known], axis=1)
        inputs = (inputs - inputs.mean(axis=0)) / inputs.std(axis=0)
        model = LogisticRegression(max_iter=500).fit(inputs[half], ratings.labels[half])
        scores[~half] = model.decision_function(inputs[~half])
    return float(roc_auc_score(ratings.labels, scores))


def probe(ratings: Ratings) -> dict[str, Any]:
    """Tries everything whose vectors there are.

    Returns:
      "without": the AUC of what is known without knowledge; "groups": title -> trial -> AUC;
      "learned": the kernels of both halves.
    """
    number = len(_SOURCES) + 3 * len(_TOGETHER)
    learned = list(progress(_learned_trials(ratings), desc="learning", unit="trial", total=number))
    all_trials = [
        (title, trial)
        for title, group in (_trials() | {"Learned kernels": learned}).items()
        for trial in group
        if trial.sources <= set(ratings.directions)
    ]
    columns: dict[Kernel, np.ndarray] = {}
    groups: dict[str, dict[str, float]] = {}
    for title, trial in progress(all_trials, desc="kernels", unit="trial"):
        for kernel in (*trial.kernels, *trial.of_second):
            if kernel not in columns:
                columns[kernel] = features(kernel, ratings)
        known = [columns[kernel] for kernel in trial.kernels]
        if trial.by_certainty:
            known.append(by_certainty(known))
        of_second = [columns[kernel] for kernel in trial.of_second]
        groups.setdefault(title, {})[trial.name] = round(judged(known, ratings, of_second), 5)
    return {
        "without": round(judged((), ratings), 5),
        "groups": groups,
        "learned": [
            _described(kernel)
            for trial in learned
            if len(trial.kernels) == 1
            for kernel in (*trial.kernels, *trial.of_second)
        ],
    }


def by_certainty(known: Sequence[np.ndarray]) -> np.ndarray:
    """Mean of the kernels' means, each weighed by 1 / deviation^2: [n, 1]."""
    means, deviations = np.stack(known, axis=2).swapaxes(0, 1)
    return np.average(means, axis=1, weights=deviations**-2.0)[:, np.newaxis]


def _described(kernel: Kernel) -> dict[str, Any]:
    return {
        "bias": round(kernel.bias, 4),
        "noise": round(kernel.noise, 4),
        "sources": {
            source: {"amplitude": round(amplitude, 4), "length_scale": round(scale, 4)}
            for ((source, scale),), amplitude in zip(kernel.terms, kernel.amplitudes, strict=True)
        },
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Probes everything and returns the exit code."""
    parser = TeachingParser(prog="python -m examples.evidence.kernels", description=__doc__)
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("out/evidence/movielens_1m"),
        metavar="DIR",
        help="what 'python -m examples.evidence run controls' has prepared (default %(default)s); "
        "after 'run main' alone, answers of other questions are left out",
    )
    parser.add_argument(
        "--results",
        type=Path,
        default=RESULTS.parent,
        metavar="DIR",
        help=f"gets {RESULTS.name} (default %(default)s), of which 'python -m examples.evidence "
        "pages' makes a page",
    )
    add_json_option(parser)
    return run_command(_run, parser.parse_args(arguments))


def _run(arguments: argparse.Namespace) -> Mapping[str, object]:
    from trainer.report.inputs import machine_text

    found = probe(read_ratings(arguments.out))
    document = {"made_on": date.today().isoformat(), "machine": machine_text(), **found}
    path = arguments.results / RESULTS.name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    for title, trials in found["groups"].items():
        lines = [[f"{auc:.5f}", name] for name, auc in trials.items()]
        say("\n".join([title, *aligned(["AUC", "kernels"], lines, numbers=range(1)), ""]))
    say(f"results: {path}")
    return document


if __name__ == "__main__":
    sys.exit(main())
