"""Which matrix of users and items should collaborative vectors be made from?

    python -m benchmarks.collaborative_matrix
    python -m benchmarks.collaborative_matrix model.knowledge_match.form=exact

Prints a JSON line for each candidate: validation AUC of a logistic regression on the item's mean
rating, the user's, and mean and deviation of knowledge match (ridge, as `model.knowledge_match`
says) over item vectors made from that matrix, cross-fitted by user. Before them come the two means
alone, and with random vectors. Reads the scenario's interactions and catalogue, no answers, and
works in a temporary folder.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import scipy.sparse
import scipy.sparse.linalg
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from benchmarks.measuring import print_measure
from configs.knowledge import CollaborativeVectors
from configs.loading import load_scenario, override_scenario
from configs.scenario import Scenario
from models.catalogue import Catalogue, CatalogueContents
from models.inputs import NUM_USER_NUMBERS, USER_STATISTICS, InputPreparation
from models.match import KnowledgeMatch, KnowledgeMatches
from preprocessing.beam_options import BeamOptions, silence_beam_import_logs
from preprocessing.examples import build_examples
from preprocessing.interactions.reading import open_interactions
from preprocessing.interactions.samples import user_folds
from preprocessing.interactions.shard import LogPlan, shards_of_log
from preprocessing.interactions.training_log import TrainingLog, read_training_log
from preprocessing.knowledge.control_vectors import item_vectors, stacked_matrix
from preprocessing.records.contract import USER_FOLDS
from trainer.examples import read_prepared_examples
from trainer.tables import read_model_tables

_SOURCE = "candidate"
_COLUMNS = [NUM_USER_NUMBERS, USER_STATISTICS.index("user_mean_rating")]
"""Item mean and user mean among the prepared numbers."""
_ALL_POWERS = (0.0, 0.5, 1.0)
_CANDIDATES: dict[str, tuple[float, ...]] = {
    "ratings": _ALL_POWERS,
    "used, by popularity": _ALL_POWERS,
    "used": _ALL_POWERS,
    "used x rating": (1.0,),
    "used + 0.2 ratings": (1.0,),
    "used + 0.5 ratings": (1.0,),
    "used + 1 ratings": (1.0,),
}
"""Matrix -> powers of the singular values S in the vectors V S^power."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures all candidates."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", default="configs/movielens_small.yaml", metavar="FILE.yaml")
    parser.add_argument("--width", type=int, default=64, help="of the vectors; default: 64")
    parser.add_argument("--seed", type=int, default=0, help="of SVD and random vectors")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="of the scenario")
    parsed = parser.parse_args(arguments)
    silence_beam_import_logs()
    settings = CollaborativeVectors(dimension=parsed.width, seed=parsed.seed)
    with tempfile.TemporaryDirectory() as folder:
        scenario = override_scenario(
            load_scenario(parsed.config, parsed.overrides),
            {
                "work_dir": folder,
                "data.examples": ["ctr"],
                "model.adapter": "none",
                "model.match": "none",
                "model.prior": False,
            },
        )
        build_examples(scenario)
        log = _training_log(scenario, Path(folder, "log"))
        contents = read_model_tables(scenario).catalogue
        for matrix, power, vectors in _all_vectors(log, settings):
            match = None if vectors is None else _match(scenario, contents, log.items, vectors)
            print_measure(
                "collaborative_matrix",
                matrix=matrix,
                singular_power=power,
                validation_auc=_validation_auc(scenario, contents, match),
                width=parsed.width,
                form=scenario.model.knowledge_match.form,
                seed=parsed.seed,
            )


def candidate_matrix(
    name: str, user_of_row: np.ndarray, item_of_row: np.ndarray, ratings: np.ndarray, items: int
) -> scipy.sparse.csr_matrix:
    """A matrix to be factored, with a column for each item.

    C is used or not, R are the rating residuals, both as
    `preprocessing.knowledge.control_vectors` defines and scales them:

        ratings               R
        used                  C
        used, by popularity   1 / sqrt(users of the item x items of the user) where used
        used x rating         C times the rating
        used + w ratings      C upon w R

    Args:
      name: one of these.
      user_of_row: [rows] numbers of users.
      item_of_row: [rows] numbers of items below `items`.
      ratings: [rows], not all alike.
      items: number of items.
    """
    stacked = stacked_matrix(user_of_row, item_of_row, ratings, items)
    used, rated = stacked[::2], stacked[1::2]
    rated = rated * (scipy.sparse.linalg.norm(used) / scipy.sparse.linalg.norm(rated))
    if name == "ratings":
        return rated
    if name == "used":
        return used
    if name == "used, by popularity":
        pattern = used.sign()
        user_counts, item_counts = (np.asarray(pattern.sum(axis=axis)).ravel() for axis in (1, 0))
        scales = (
            scipy.sparse.diags(1 / np.sqrt(np.maximum(number, 1)))
            for number in (user_counts, item_counts)
        )
        left, right = scales
        return (left @ pattern @ right).tocsr()
    if name == "used x rating":
        _, user = np.unique(user_of_row, return_inverse=True)
        sums, counts = (
            scipy.sparse.csr_matrix((values, (user, item_of_row)), shape=used.shape)
            for values in (ratings, np.ones(len(ratings)))
        )
        return used.multiply(sums).multiply(counts.power(-1.0)).tocsr()
    weight = float(name.removeprefix("used + ").removesuffix(" ratings"))
    return scipy.sparse.vstack([used, weight * rated], format="csr")


def _training_log(scenario: Scenario, folder: Path) -> TrainingLog:
    folder.mkdir()
    reader = open_interactions(scenario.data, scenario.split)
    shards = shards_of_log(reader, scenario.data)
    plan = LogPlan(scenario.data, scenario.split, reader, shards, str(folder))
    return read_training_log(plan, BeamOptions()).log


def _all_vectors(
    log: TrainingLog, settings: CollaborativeVectors
) -> Iterator[tuple[str, float | None, np.ndarray | None]]:
    """Matrix, power, and vectors [sets, items, width]: from all users, then without each fold's."""
    yield "none", None, None
    size = [1, len(log.items), settings.dimension]
    yield "random vectors", None, np.random.default_rng(settings.seed).standard_normal(size)
    for name, powers in _CANDIDATES.items():
        vectors = np.stack(list(_cross_fitted(name, log, settings)))
        singular = np.linalg.norm(vectors, axis=1, keepdims=True)
        for power in powers:
            yield name, power, vectors / np.where(singular > 0, singular, 1.0) ** (1.0 - power)


def _cross_fitted(
    name: str, log: TrainingLog, settings: CollaborativeVectors
) -> Iterator[np.ndarray]:
    fold_of_row = user_folds(log.users)[log.user_of_row]
    for fold in (None, *range(USER_FOLDS)):
        rows = np.ones(len(fold_of_row), bool) if fold is None else fold_of_row != fold
        matrix = candidate_matrix(
            name, log.user_of_row[rows], log.item_of_row[rows], log.ratings[rows], len(log.items)
        )
        yield item_vectors(matrix, settings)


def _match(
    scenario: Scenario, contents: CatalogueContents, item_ids: Sequence[str], vectors: np.ndarray
) -> KnowledgeMatches:
    row_of_item = {item_id: row for row, item_id in enumerate(item_ids, start=1)}
    rows = np.array([0, *(row_of_item.get(item_id, 0) for item_id in contents.item_ids)])
    everybody, *folds = vectors
    match = KnowledgeMatch.from_vectors(
        "ridge", everybody, scenario.model.knowledge_match, fold_vectors=folds
    )
    return KnowledgeMatches({_SOURCE: match}, {_SOURCE: rows})


def _validation_auc(
    scenario: Scenario, contents: CatalogueContents, match: KnowledgeMatches | None
) -> float:
    preparation = InputPreparation(
        Catalogue(contents),
        item_knowledge_rows={},
        user_knowledge_index={},
        attention_history_length=1,
        positive_rating=scenario.data.liked_from,
        matches=match,
        match_history_length=scenario.model.knowledge_match.history_length,
    )
    features, labels = [], []
    for part in ("train", "validation"):
        examples = read_prepared_examples(scenario, preparation, part)
        numbers = examples.features["numeric"][:, _COLUMNS]
        features.append(np.concatenate([numbers, examples.features["match"]], axis=1))
        labels.append(examples.labels)
    # Nothing is known of an item without vector: it gets the mean.
    mean, deviation = np.nanmean(features[0], axis=0), np.nanstd(features[0], axis=0)
    train, validation = (np.nan_to_num((part - mean) / deviation) for part in features)
    regression = LogisticRegression().fit(train, labels[0])
    return float(roc_auc_score(labels[1], regression.predict_proba(validation)[:, 1]))


if __name__ == "__main__":
    main()
