"""User links beside trained models: which items an LLM says that a user would love, or not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import cast

import numpy as np
import pyarrow as pa
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression

from configs.scenario import Scenario
from examples.movielens_small.link_probe import user_link_features
from preprocessing.links.linking import LINKS_FILE, read_links
from preprocessing.links.step import link
from preprocessing.records.knowledge import read_knowledge
from preprocessing.records.layout import WorkDirectory
from trainer.evaluation.runs import predict_run
from trainer.experiments.results import ExperimentResult, RunResult
from trainer.predictions import Predictions, SamplePredictions

_ITEM_LINKS, _USER_LINKS = "links", "user_links"
_SMALLEST = 1e-7
"""Smallest probability, so that its logit is finite."""

Features = Callable[[SamplePredictions], np.ndarray]
"""What answers about the users of samples say of the candidates: [samples, features]."""


def with_user_links(
    scenario: Scenario, result: ExperimentResult, arms: Sequence[str], ending: str
) -> ExperimentResult:
    """Adds further arms: models of some arms with user links beside them, one run for each.

    No model reads user links. A logistic regression on a model's logit and on what the links of
    the user say of the candidate (`user_link_features`) is fitted on the validation part, and its
    scores stand for the model's on the test part.

    Args:
      scenario: has the sources `links`, which is encoded, and `user_links`.
      result: of ranking models.
      arms: whose models are taken.
      ending: of the further arms' names.
    """
    link(scenario, sources=[_USER_LINKS])
    features = _features(scenario)
    return replace(
        result,
        runs=[
            *result.runs,
            *(
                with_features(
                    run, predict_run(run.folder, "validation"), features, run.knowledge + ending
                )
                for run in result.runs
                if run.knowledge in arms
            ),
        ],
    )


def _features(scenario: Scenario) -> Features:
    vectors = read_knowledge(scenario.work_dir, _ITEM_LINKS)
    links = read_links(
        WorkDirectory(scenario.work_dir).links(_USER_LINKS).path / LINKS_FILE, "user"
    )
    row_of = {item: row for row, item in enumerate(vectors.entity_ids, start=1)}
    # A link may lead to an item that has no vector itself.
    has_vector = [item is None or item in row_of for item in links["linked"].to_pylist()]
    links = links.filter(pa.array(has_vector))

    def features_of(predictions: SamplePredictions) -> np.ndarray:
        rows = np.array([row_of.get(item, 0) for item in predictions.item_ids])
        return user_link_features(
            vectors.vectors, links, vectors.entity_ids, predictions.user_ids, rows
        )

    return features_of


def with_features(
    run: RunResult, validation: Predictions, features: Features, arm: str
) -> RunResult:
    """A run as the regression on its model's logit and the features scores the parts.

    Args:
      run: of a ranking model.
      validation: what its model says about the validation part, on which it is fitted.
      features: of samples.
      arm: name of the result.
    """
    parts = [cast(SamplePredictions, part) for part in (validation, run.predictions)]
    columns = [
        np.column_stack([logit(np.clip(part.scores, _SMALLEST, 1 - _SMALLEST)), features(part)])
        for part in parts
    ]
    regression = LogisticRegression(max_iter=1000).fit(columns[0], parts[0].labels)
    scored = [
        replace(part, scores=expit(regression.decision_function(inputs)))
        for part, inputs in zip(parts, columns, strict=True)
    ]
    return replace(
        run,
        knowledge=arm,
        predictions=scored[1],
        validation=scored[0].metrics(),
        test=scored[1].metrics(),
    )
