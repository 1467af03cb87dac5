"""Serves an export, ranks over gRPC and REST, and compares all scores with the checkpoint's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import tensorflow as tf

from configs.command_line import CommandError, say
from configs.scenario import Scenario
from models.ranking import RankingModel
from preprocessing.records.contract import REQUEST_FEATURES
from preprocessing.records.item_tables import read_item_attributes
from preprocessing.records.layout import WorkDirectory
from preprocessing.records.parsing import as_text, example_dataset
from serving.client import RankingClient, RestRankingClient, UserRequest
from serving.server import LocalServer
from trainer.experiments.results import RunResult
from trainer.predictions import SamplePredictions
from trainer.report.inputs import SERVING_TOLERANCE
from trainer.run_folder import RunFolder

CANDIDATES = 20
"""Ranked for one user; fewer when the catalogue has no more."""

_ROWS_PER_REQUEST = 512
_TIMEOUT_SECONDS = 60.0


@dataclass(frozen=True)
class ServingCheck:
    """Result of comparing served scores with the checkpoint's.

    Attributes:
      largest_difference: largest absolute difference.
      scores_compared: number of scores.
    """

    largest_difference: float
    scores_compared: int


def check_serving(scenario: Scenario, run: RunResult, export: Path) -> ServingCheck:
    """Starts the local server on free ports and asks it for scores.

    One test user's candidates are ranked through both transports; then every sample of the test
    part is scored over gRPC as aligned rows.

    Args:
      scenario: names the work directory and the served model's name.
      run: the exported run.
      export: model base path.

    Returns:
      The largest difference between served scores and the checkpoint's, and how many scores were
      compared.

    Raises:
      CommandError: the difference reaches `SERVING_TOLERANCE`.
    """
    _, model = RunFolder(run.folder).load_model()
    batches = [
        {feature.name: batch[feature.name].numpy() for feature in REQUEST_FEATURES}
        for batch in example_dataset(
            WorkDirectory(scenario.work_dir).examples.shards("test"), _ROWS_PER_REQUEST
        )
    ]
    name = scenario.serving.model_name
    differences = []
    with LocalServer({name: export}) as server:
        say(
            f"serving version {server.versions[name]} of '{name}': "
            f"gRPC 127.0.0.1:{server.grpc_port}, REST 127.0.0.1:{server.rest_port}"
        )
        with (
            RankingClient(f"127.0.0.1:{server.grpc_port}", name, _TIMEOUT_SECONDS) as grpc_client,
            RestRankingClient(
                f"http://127.0.0.1:{server.rest_port}", name, _TIMEOUT_SECONDS
            ) as rest_client,
        ):
            user, candidates = _user_and_candidates(scenario, batches)
            expected = _checkpoint_scores(model, user, candidates)
            over_grpc = grpc_client.rank(user, candidates)
            over_rest = rest_client.rank(user, candidates)
            differences += [np.abs(over_grpc - expected).max(), np.abs(over_rest - expected).max()]
            _print_ranking(scenario, candidates, over_grpc)
            served = np.concatenate([_score_rows(grpc_client, batch) for batch in batches])
            scores = cast(SamplePredictions, run.predictions).scores
            differences.append(np.abs(served - scores).max())
    largest = float(max(differences))
    say(
        f"largest difference between checkpoint and served scores: {largest:.2g} "
        f"({len(candidates)} candidates over gRPC and REST, {len(served)} test samples over gRPC)"
    )
    if not largest < SERVING_TOLERANCE:
        raise CommandError(
            f"served scores differ from the checkpoint's by {largest:.3g}; "
            f"allowed is less than {SERVING_TOLERANCE}"
        )
    return ServingCheck(largest, len(served) + 2 * len(candidates))


def _user_and_candidates(
    scenario: Scenario, batches: Sequence[Mapping[str, np.ndarray]]
) -> tuple[UserRequest, list[str]]:
    """The test user with the median history; candidates are held-out items and seeded others."""
    lengths = np.concatenate([(batch["history_item_id"] != b"").sum(axis=1) for batch in batches])
    users = np.concatenate([batch["user_id"] for batch in batches])
    items = np.concatenate([batch["item_id"] for batch in batches])
    row = int(np.argsort(lengths, kind="stable")[len(lengths) // 2])
    first = int(np.flatnonzero(users == users[row])[0])
    user = _request(batches[first // _ROWS_PER_REQUEST], first % _ROWS_PER_REQUEST)
    held_out = as_text(items[users == users[row]])[: CANDIDATES // 2].tolist()
    attributes = read_item_attributes(WorkDirectory(scenario.work_dir).examples.item_attributes)
    rated = {*held_out, *user.history_item_id}
    rated_items = [
        item_id
        for item_id, count in zip(attributes.item_ids, attributes.rating_count, strict=True)
        if count > 0 and item_id not in rated
    ]
    wanted = min(CANDIDATES - len(held_out), len(rated_items))
    others = np.random.default_rng(0).choice(rated_items, wanted, replace=False)
    return user, [*held_out, *others.tolist()]


def _request(batch: Mapping[str, np.ndarray], row: int) -> UserRequest:
    length = int((batch["history_item_id"][row] != b"").sum())
    return UserRequest(
        user_id=batch["user_id"][row].decode(),
        history_item_id=[item.decode() for item in batch["history_item_id"][row][:length]],
        history_rating=batch["history_rating"][row][:length].tolist(),
        user_share_liked=float(batch["user_share_liked"][row]),
        user_mean_rating=float(batch["user_mean_rating"][row]),
        user_log_count=float(batch["user_log_count"][row]),
    )


def _score_rows(client: RankingClient, batch: Mapping[str, np.ndarray]) -> np.ndarray:
    users = [_request(batch, row) for row in range(len(batch["user_id"]))]
    return client.score_rows(users, as_text(batch["item_id"]).tolist())


def _checkpoint_scores(model: RankingModel, user: UserRequest, candidates: list[str]) -> np.ndarray:
    count = len(candidates)
    raw = {
        "item_id": tf.constant(candidates),
        "user_id": tf.fill([count], user.user_id),
        "history_item_id": tf.constant([list(user.history_item_id)] * count),
        "history_rating": tf.constant([list(user.history_rating or ())] * count, tf.float32),
        "user_share_liked": tf.fill([count], user.user_share_liked),
        "user_mean_rating": tf.fill([count], user.user_mean_rating),
        "user_log_count": tf.fill([count], user.user_log_count),
    }
    return model.probabilities(raw).numpy()


def _print_ranking(scenario: Scenario, candidates: list[str], scores: np.ndarray) -> None:
    attributes = read_item_attributes(WorkDirectory(scenario.work_dir).examples.item_attributes)
    titles = dict(zip(attributes.item_ids, attributes.titles, strict=True))
    say(f"{len(candidates)} candidates for a test user, best first:")
    for rank, index in enumerate(np.argsort(-scores, kind="stable"), start=1):
        say(f"  {rank:2d}. {scores[index]:.4f}  {titles.get(candidates[index], '(unknown)')}")
