"""Small catalogues, knowledge records, requests and models for the tests of models/."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import tensorflow as tf

from configs.scenario import Scenario
from models.adapters.base import KnowledgeAdapter
from models.building import ModelTables, build_model
from models.catalogue import CatalogueContents, CategoricalColumn
from models.profiles import ProfileAttribute
from models.ranking import RankingModel

ITEM_IDS = ("10", "20", "30", "40", "50", "60")
# In another order than the catalogue, and without "40" and "60", which are new items.
TRAINED_ITEM_IDS = ("30", "10", "50", "20")
USER_IDS = ("ann", "bob", "cem")
POSITIVE_RATING = 4.0
NUM_FOLDS = 3

Tensors = dict[str, tf.Tensor]


@dataclass
class Records:
    """Knowledge records as a reader returns them."""

    entity_ids: Sequence[str]
    vectors: np.ndarray
    extraction: Sequence[str] = field(default=())
    group_ids: Sequence[str] = field(default=())


def catalogue_contents() -> CatalogueContents:
    """Six items with genres (one unknown genre, one item without any) and a year (one missing)."""
    return CatalogueContents(
        item_ids=ITEM_IDS,
        trained_item_ids=TRAINED_ITEM_IDS,
        categorical={
            "genres": CategoricalColumn(
                vocabulary=("Action", "Comedy", "Drama"),
                values=(
                    ["Action"],
                    ["Action", "Comedy", "Drama"],
                    ["Comedy"],
                    [],
                    ["Drama", "Western"],
                    ["Drama"],
                ),
            )
        },
        numeric={"year": np.array([1990.0, 2000.0, np.nan, 1980.0, 2010.0, 1995.0])},
        rating_sum_by_fold=np.array(
            [[8.0, 0, 5], [3, 4, 0], [0, 10, 2], [0, 0, 0], [1, 1, 1], [0, 0, 0]]
        ),
        rating_count_by_fold=np.array(
            [[2.0, 0, 1], [1, 1, 0], [0, 3, 1], [0, 0, 0], [1, 1, 1], [0, 0, 0]]
        ),
    )


def knowledge_records(entity_ids: Sequence[str], dimension: int, seed: int) -> Records:
    """Random vectors, one individual answer per id."""
    vectors = np.random.default_rng(seed).normal(size=[len(entity_ids), dimension])
    count = len(entity_ids)
    return Records(entity_ids, vectors.astype(np.float32), ("individual",) * count, ("",) * count)


PROFILES = {
    "jobs": ProfileAttribute("categorical", ("cook", "pilot")),
    "age": ProfileAttribute("numeric"),
}


def model_tables(with_profiles: bool = False) -> ModelTables:
    """Catalogue and knowledge; item "60" and user "cem" have no knowledge."""
    return ModelTables(
        catalogue_contents(),
        {
            "item": knowledge_records(ITEM_IDS[:-1], dimension=8, seed=1),
            "plot": knowledge_records(ITEM_IDS[1:], dimension=8, seed=3),
            "user": knowledge_records(USER_IDS[:-1], dimension=8, seed=2),
        },
        PROFILES if with_profiles else {},
    )


def small_scenario(sources: Sequence[str] = ("item", "user"), **model_options: Any) -> Scenario:
    """A scenario of a tiny model; `model_options` replace keys of its model section."""
    return Scenario.model_validate(
        {
            "name": "small",
            "work_dir": "out/small",
            "data": {
                "interactions": {"path": "ratings.csv"},
                "catalogue": {"path": "movies.csv"},
                "positive_rating": POSITIVE_RATING,
                "labels": {"loved": {"minimum_rating": 5}, "bought": {"column": "bought"}},
            },
            "knowledge": {
                "sources": sources,
                "answers": {
                    "item": {"entity": "item", "individual": ["items.jsonl"]},
                    "plot": {"entity": "item", "individual": ["plots.jsonl"]},
                    "user": {"entity": "user", "individual": ["users.jsonl"]},
                },
            },
            "model": {
                "embedding_dimension": 4,
                "attention_history_length": 3,
                "top_units": (6, 5),
                "dropout_rate": 0.0,
                "id_dropout_rate": 0.0,
                "knowledge_dropout_rate": 0.0,
                "hein": {
                    "num_shared_experts": 1,
                    "num_dedicated_experts": 2,
                    "expert_units": (5, 4),
                },
                "knowledge_match": {"dimension": 4, "history_length": 5},
            }
            | model_options,
        }
    )


def small_model(seed: int = 0, with_profiles: bool = False, **options: Any) -> RankingModel:
    """A built model with reproducible weights, none of which is zero.

    TensorFlow's seed, which dropout alone needs, is left as it is: to set it throws all operations
    away that are ready to run.
    """
    model = build_model(small_scenario(**options), model_tables(with_profiles))
    model(raw_features(2))
    randomise(model.trainable_weights, seed, scale=0.15)
    return model


def randomise(weights: Sequence[tf.Variable], seed: int, scale: float = 0.4) -> None:
    """Replaces weights by random numbers, so that no bias or default is zero by accident."""
    random = np.random.default_rng(seed)
    for weight in weights:
        weight.assign(random.normal(size=weight.shape, scale=scale).astype(np.float32))


def raw_features(count: int, length: int = 6, users: int | None = None, seed: int = 0) -> Tensors:
    """Requests with known and unknown ids: `count` candidates, `users` users (as many, or 1).

    Histories have lengths of 0 to `length`, padded in front.
    """
    random = np.random.default_rng(seed)
    users = count if users is None else users
    ids = random.choice([*ITEM_IDS, "unseen"], size=[users, length])
    padding = np.arange(length) < random.integers(0, length + 1, size=[users, 1])
    ratings = random.integers(1, 11, size=[users, length]) / 2
    return {
        "user_id": tf.constant(random.choice([*USER_IDS, "stranger"], size=users)),
        "item_id": tf.constant(random.choice([*ITEM_IDS, "unseen"], size=count)),
        "history_item_id": tf.constant(np.where(padding, "", ids)),
        "history_rating": tf.constant(np.where(padding, 0.0, ratings), tf.float32),
        "user_share_liked": tf.constant(random.uniform(size=users), tf.float32),
        "user_mean_rating": tf.constant(random.uniform(1, 5, size=users), tf.float32),
        "user_log_count": tf.constant(random.uniform(0, 4, size=users), tf.float32),
        "profile_jobs": tf.constant(random.choice(["cook", "pilot", "poet", ""], [users, 2])),
        "profile_age": tf.constant(random.choice([20.0, 45.0, np.nan], [users, 1]), tf.float32),
    }


def repeated_user(features: Tensors) -> Tensors:
    """The same request with the one user's features written out for every candidate."""
    count = len(features["item_id"])
    return {
        name: value if name == "item_id" else tf.repeat(value, count, axis=0)
        for name, value in features.items()
    }


def named_weights(layer: tf.Module) -> dict[str, np.ndarray]:
    """Values of a layer's own weights by the last part of their names."""
    return {
        weight.name.split("/")[-1].removesuffix(":0"): weight.numpy() for weight in layer.weights
    }


def gradients_of(function: Callable[[], tf.Tensor], weights: Sequence[tf.Variable]) -> list[Any]:
    """Dense gradients of a scalar function, None where a weight has no influence."""
    with tf.GradientTape() as tape:
        value = function()
    return [
        None if gradient is None else tf.convert_to_tensor(gradient).numpy()
        for gradient in tape.gradient(value, weights)
    ]


def relu(values: np.ndarray) -> np.ndarray:
    return np.maximum(values, 0)


def sigmoid(values: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-values))


def softmax(values: np.ndarray) -> np.ndarray:
    exponentials = np.exp(values - values.max(axis=-1, keepdims=True))
    return exponentials / exponentials.sum(axis=-1, keepdims=True)


def augmented_tables(adapter: KnowledgeAdapter) -> dict[str, np.ndarray]:
    return {source: adapter.augmented_table(source) for source in adapter.sources}
