"""What can be asked of a served model, whatever the transport and whether or not it waits."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, TypeVar

import numpy as np

from serving.client.answers import (
    ITEM_ID,
    SCORE,
    Arrays,
    RankingAnswer,
    Reply,
    RetrievedItems,
    read_ranking,
    read_retrieved_items,
)
from serving.client.errors import RankingError
from serving.client.identifiers import RawId
from serving.client.model_inputs import InputKind, ModelInputs
from serving.client.profile_inputs import require_profile_fits
from serving.client.user_request import UserRequest, rank_inputs, row_inputs, user_inputs

RANK = "rank"
ROWS = "serving_default"
RETRIEVE = "top_k"
Answer = TypeVar("Answer")


@dataclasses.dataclass(frozen=True)
class Question(Generic[Answer]):
    """One call of a signature.

    Attributes:
      signature_name: the signature.
      inputs: what is known of the model's inputs -> the tensors to send.
      outputs: names of the outputs that the answer needs.
      read: makes the answer of the outputs.
      all_outputs: whether the answer has all outputs of the signature, beside those it needs.
      known_answer: the answer where no server is needed for it.
    """

    signature_name: str
    inputs: Callable[[ModelInputs], Arrays]
    outputs: Sequence[str]
    read: Callable[[Reply], Answer]
    all_outputs: bool = False
    known_answer: Answer | None = None


def ranking_question(
    user: UserRequest, candidates: Sequence[RawId], all_tasks: bool
) -> Question[RankingAnswer]:
    """Asks for the scores of candidates for one user.

    Args:
      user: who asks.
      candidates: raw item ids.
      all_tasks: whether to ask for the scores of further tasks too.
    """
    count = len(candidates)
    return Question(
        RANK,
        lambda known: rank_inputs(user, candidates, known),
        [SCORE],
        lambda reply: read_ranking(reply, count),
        all_tasks,
        None if count else _nothing_ranked(),
    )


def rows_question(users: Sequence[UserRequest], items: Sequence[RawId]) -> Question[RankingAnswer]:
    """Asks for the scores of aligned rows of a user and an item."""
    count = len(items)
    return Question(
        ROWS,
        lambda known: row_inputs(users, items, known),
        [SCORE],
        lambda reply: read_ranking(reply, count),
        known_answer=_nothing_ranked() if len(users) == count == 0 else None,
    )


def retrieval_question(user: UserRequest) -> Question[RetrievedItems]:
    """Asks a retrieval model for the best of all items."""
    return Question(
        RETRIEVE,
        lambda known: user_inputs([user], known),
        [ITEM_ID, SCORE],
        read_retrieved_items,
    )


def inputs_after_refusal(
    question: Question[Any],
    refusal: RankingError,
    known: ModelInputs,
    kinds: Mapping[str, InputKind],
) -> tuple[ModelInputs, Arrays]:
    """What to ask a second time, after a model refused the tensors.

    Args:
      question: the question.
      refusal: why it was refused.
      known: what the refused tensors were made with.
      kinds: what the model says of its inputs.

    Returns:
      What is known now, and the tensors made with it.

    Raises:
      ProfileError: the model does not read an attribute, or reads another kind of values.
      RankingError: an id does not fit the model, or the refusal had another reason.
    """
    found = ModelInputs.of_kinds(kinds)
    inputs = question.inputs(found)
    require_profile_fits(inputs, found.profile)
    if found == known:
        raise refusal
    return found, inputs


def _nothing_ranked() -> RankingAnswer:
    return RankingAnswer(np.zeros(0, dtype=np.float32), {}, None)
