"""Requests of a load test as bytes, ready to be sent."""

from __future__ import annotations

from typing import Any

import numpy as np

from serving.client.address import ModelAddress
from serving.client.grpc_messages import predict_request
from serving.client.model_inputs import ModelInputs
from serving.client.questions import RANK, ROWS, Question, ranking_question, rows_question
from serving.client.ranking import RankingClientBase
from serving.loadtest.request_sources import RequestSource

SIGNATURES = (RANK, ROWS)


def questions_of(
    source: RequestSource, signature_name: str, candidates: int, seed: int
) -> list[Question[Any]]:
    """One question for each user of a source.

    Args:
      source: users and items.
      signature_name: "rank", or "serving_default" with the user repeated for each candidate.
      candidates: number of candidates of a question.
      seed: of the choice of candidates.
    """
    generator = np.random.default_rng([seed, candidates])
    questions: list[Question[Any]] = []
    for place, user in enumerate(source.users):
        items = source.candidates_of(place, candidates, generator)
        if signature_name == RANK:
            questions.append(ranking_question(user, items, all_tasks=False))
        else:
            questions.append(rows_question([user] * candidates, items))
    return questions


def serialized_requests(
    address: ModelAddress,
    known: ModelInputs,
    source: RequestSource,
    signature_name: str,
    candidates: int,
    seed: int,
) -> list[bytes]:
    """One request for each user of a source.

    Args:
      address: the model.
      known: how its inputs are written.
      source: users and items.
      signature_name: see `questions_of`.
      candidates: see `questions_of`.
      seed: see `questions_of`.

    Returns:
      Serialized `PredictRequest`s.
    """
    return [
        predict_request(address, question, question.inputs(known)).SerializeToString()
        for question in questions_of(source, signature_name, candidates, seed)
    ]


def check_answer(
    client: RankingClientBase, source: RequestSource, signature_name: str, candidates: int
) -> None:
    """Asks once and checks the answer, which the load itself does not.

    Raises:
      RankingError: the server refused, or answered something unusable.
    """
    items = source.candidates_of(0, candidates, np.random.default_rng(0))
    if signature_name == RANK:
        client.rank(source.users[0], items)
    else:
        client.score_rows([source.users[0]] * candidates, items)
