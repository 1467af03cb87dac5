"""Models and ready batches over made-up data of the size of MovieLens-1M, for benchmarks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from configs.scenario import Scenario
from examples.synthetic import GENRES
from models.building import ModelTables, build_model
from models.catalogue import CatalogueContents, CategoricalColumn
from models.inputs import match_features
from models.ranking import RankingModel

NUM_ITEMS, NUM_USERS = 3706, 6040
_BATCHES = 4

Features = dict[str, tf.Tensor]


@dataclass(frozen=True)
class RandomKnowledge:
    """Random knowledge vectors, one answer per entity."""

    entity_ids: list[str]
    vectors: np.ndarray

    @property
    def extraction(self) -> list[str]:
        """Every answer is individual."""
        return ["individual"] * len(self.entity_ids)

    @property
    def group_ids(self) -> list[str]:
        """No entity has a group."""
        return [""] * len(self.entity_ids)


def synthetic_tables(dimension: int, seed: int) -> ModelTables:
    """A catalogue with genres, and knowledge of every item and user."""
    random = np.random.default_rng(seed)
    items = [f"i{number}" for number in range(NUM_ITEMS)]
    users = [f"u{number}" for number in range(NUM_USERS)]
    counts = random.integers(1, 300, size=[NUM_ITEMS, 10]).astype(np.float64)

    def records(ids: list[str]) -> RandomKnowledge:
        return RandomKnowledge(ids, random.normal(size=[len(ids), dimension]).astype(np.float32))

    genres = [[GENRES[number % len(GENRES)]] for number in range(NUM_ITEMS)]
    catalogue = CatalogueContents(
        item_ids=items,
        trained_item_ids=items,
        categorical={"genres": CategoricalColumn(GENRES, genres)},
        numeric={},
        rating_sum_by_fold=counts * 3.5,
        rating_count_by_fold=counts,
    )
    return ModelTables(catalogue, {"item": records(items), "user": records(users)})


def synthetic_scenario(
    sources: Sequence[str] = ("item", "user"), **model_options: object
) -> Scenario:
    """A scenario of a model; only its section `model` counts, and what an adapter reads."""
    return Scenario.model_validate(
        {
            "name": "benchmark",
            "work_dir": "out/benchmark",
            "data": {"interactions": {"path": "-"}, "catalogue": {"path": "-"}},
            "knowledge": {
                "sources": list(sources),
                "answers": {
                    "item": {"entity": "item", "individual": ["-"]},
                    "user": {"entity": "user", "individual": ["-"]},
                },
            },
            "model": model_options,
        }
    )


def raw_batches(batch_size: int, history: int, seed: int) -> list[Features]:
    """Requests of random users; items are drawn by a popularity that falls as in real logs."""
    random = np.random.default_rng(seed)
    popularity = 1 / np.sqrt(np.arange(1, NUM_ITEMS + 1))
    popularity /= popularity.sum()

    def item_ids(size: list[int]) -> np.ndarray:
        drawn = random.choice(NUM_ITEMS, size, p=popularity)
        return np.char.add("i", drawn.astype(str))

    batches = []
    for _ in range(_BATCHES):
        users = random.integers(0, NUM_USERS, batch_size)
        statistics = random.uniform(size=[3, batch_size]).astype(np.float32)
        batches.append(
            {
                "user_id": tf.constant(np.char.add("u", users.astype(str))),
                "item_id": tf.constant(item_ids([batch_size])),
                "history_item_id": tf.constant(item_ids([batch_size, history])),
                "history_rating": tf.constant(
                    random.integers(1, 6, [batch_size, history]), tf.float32
                ),
                "user_share_liked": tf.constant(statistics[0]),
                "user_mean_rating": tf.constant(statistics[1] * 5),
                "user_log_count": tf.constant(statistics[2] * 5),
            }
        )
    return batches


class TrainingStep:
    """Trains a model on ready batches, which it keeps in memory, over and over.

    Attributes:
      batch_size: samples of a step.
      distinct: source -> distinct knowledge rows of a batch, on average.
    """

    def __init__(
        self, model: RankingModel, batches: list[Features], match_in_step: bool, seed: int
    ):
        """Prepares the batches and compiles the step.

        Args:
          model: the model.
          batches: raw features.
          match_in_step: whether knowledge match is computed in every step, as in serving, and not
            once before training.
          seed: of the labels.
        """
        self._model = model
        self._matches = model.inputs_preparation.matches if match_in_step else None
        prepare = tf.function(model.inputs_preparation.__call__, autograph=False)
        self._batches = [prepare(batch) for batch in batches]
        if match_in_step:
            inputs = model.inputs_preparation.match_inputs
            for prepared, raw in zip(self._batches, batches, strict=True):
                prepared |= tf.function(inputs, autograph=False)(raw)
        random = np.random.default_rng(seed)
        self.batch_size = len(batches[0]["user_id"])
        self._labels = tf.constant(random.integers(0, 2, self.batch_size), tf.float32)
        self.distinct = {
            name.split("/", 1)[1]: float(
                np.mean([len(np.unique(prepared[name])) for prepared in self._batches])
            )
            for name in self._batches[0]
            if name.startswith("knowledge_row/")
        }
        model.compile(optimizer=tf.keras.optimizers.Adam(epsilon=1e-8, jit_compile=False))
        self._train = tf.function(self._one_step)
        self()

    def __call__(self) -> None:
        """Runs one step on each batch."""
        for batch in self._batches:
            self._train(batch)

    @property
    def samples(self) -> int:
        """Samples of one call."""
        return self.batch_size * len(self._batches)

    def _one_step(self, batch: Features) -> None:
        if self._matches is not None:
            batch = {**batch, "match": match_features(self._matches, batch)}
        self._model.train_step((batch, self._labels))


def training_step(
    options: Mapping[str, Any],
    tables: ModelTables,
    batches: list[Features],
    match_in_step: bool,
    seed: int,
) -> TrainingStep:
    """A compiled training step of a fresh model with these options."""
    tf.keras.utils.set_random_seed(seed)
    model = build_model(synthetic_scenario(**options), tables)
    model(batches[0])
    return TrainingStep(model, batches, match_in_step, seed)
