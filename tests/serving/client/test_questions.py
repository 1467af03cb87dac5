from __future__ import annotations

import numpy as np
import pytest

from serving.client.answers import Reply
from serving.client.errors import ProfileError, RankingError
from serving.client.inputs import STRINGS_WITHOUT_PROFILE, InputKind, ModelInputs, UserRequest
from serving.client.requests import (
    inputs_after_refusal,
    ranking_question,
    retrieval_question,
    rows_question,
)

USER = UserRequest("7", ["11"], [4.0], 1.0, 4.0, 0.7)
REFUSAL = RankingError("INVALID_ARGUMENT", "no")
IDS = {"user_id": InputKind.STRINGS, "item_id": InputKind.INTEGERS}


def test_questions_name_signature_and_outputs() -> None:
    rank = ranking_question(USER, ["5", "6"], all_tasks=False)
    assert (rank.signature_name, rank.outputs, rank.all_outputs) == ("rank", ["score"], False)
    assert ranking_question(USER, ["5"], all_tasks=True).all_outputs
    rows = rows_question([USER, USER], ["5", "6"])
    assert (rows.signature_name, rows.outputs) == ("serving_default", ["score"])
    retrieve = retrieval_question(USER)
    assert (retrieve.signature_name, retrieve.outputs) == ("top_k", ["item_id", "score"])
    assert "item_id" not in retrieve.inputs(STRINGS_WITHOUT_PROFILE)
    reply = Reply({"score": np.float32([0.5, 0.25])}, 3)
    assert rank.read(reply).version == rows.read(reply).version == 3


def test_nothing_to_rank_is_answered_at_once() -> None:
    for question in (ranking_question(USER, [], True), rows_question([], [])):
        assert question.known_answer is not None
        assert question.known_answer.scores.shape == (0,)
    for question in (ranking_question(USER, ["5"], True), rows_question([USER], ["5"])):
        assert question.known_answer is None
    # As many users as items are needed also when there is none of the one.
    with pytest.raises(ValueError, match="1 users, 0 items"):
        rows_question([USER], []).inputs(STRINGS_WITHOUT_PROFILE)


def test_a_refused_question_is_asked_again_in_the_models_way() -> None:
    question = ranking_question(USER, ["5"], all_tasks=False)
    found, inputs = inputs_after_refusal(question, REFUSAL, STRINGS_WITHOUT_PROFILE, IDS)
    assert found == ModelInputs(integers=frozenset({"item_id"}))
    assert inputs["item_id"].dtype == np.int64
    # The same inputs would be refused again, for a reason that they have nothing to do with.
    with pytest.raises(RankingError) as caught:
        inputs_after_refusal(question, REFUSAL, found, IDS)
    assert caught.value is REFUSAL


def test_what_does_not_fit_the_model_is_said_in_place_of_the_refusal() -> None:
    user = UserRequest.from_history("7", [], [], profile={"age": 30})
    question = ranking_question(user, ["5"], all_tasks=False)
    with pytest.raises(ProfileError, match="'age' is not one"):
        inputs_after_refusal(question, REFUSAL, STRINGS_WITHOUT_PROFILE, IDS)
    question = ranking_question(USER, ["tt5"], all_tasks=False)
    with pytest.raises(RankingError, match="whole numbers"):
        inputs_after_refusal(question, REFUSAL, STRINGS_WITHOUT_PROFILE, IDS)
