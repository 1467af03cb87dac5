"""What can be asked of a served model, and a ranking request as people write it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, TypeVar

import numpy as np

from configs.command_line import CommandError
from serving.client.errors import RankingError
from serving.client.inputs import (
    InputKind,
    ModelInputs,
    ProfileValue,
    RawId,
    UserRequest,
    history_statistics,
    rank_inputs,
    require_profile_fits,
    row_inputs,
    user_inputs,
)
from serving.client.responses import (
    ITEM_ID,
    SCORE,
    Arrays,
    RankingAnswer,
    Reply,
    RetrievedItems,
    read_ranking,
    read_retrieved_items,
)

_REQUIRED = ("user_id",)
# The model reads numbers as floats of 32 bits.
_LARGEST_NUMBER = 3.4e38
_OPTIONAL = (
    "candidates",
    "history_item_id",
    "history_rating",
    "user_share_liked",
    "user_mean_rating",
    "user_log_count",
    "profile",
)


def parse_request(
    document: object, positive_rating: float | None = None
) -> tuple[UserRequest, list[str] | None]:
    """Reads a request from a JSON document.

    Statistics that are missing are computed from the given history. A history without ratings is
    implicit feedback.

    Args:
      document: the parsed JSON.
      positive_rating: a rating of at least this counts as positive in statistics that are missing;
        None leaves it to the model.

    Returns:
      The user, and the candidates' ids; None when the request names no candidates.

    Raises:
      CommandError: the request is malformed; the message names the field.
    """
    if not isinstance(document, dict):
        raise CommandError("the request must be a JSON object")
    unknown = sorted(document.keys() - {*_REQUIRED, *_OPTIONAL})
    if unknown:
        fields = ", ".join((*_REQUIRED, *_OPTIONAL))
        raise CommandError(f"field '{unknown[0]}' is not known; the fields are {fields}")
    for field in _REQUIRED:
        if field not in document:
            raise CommandError(f"field '{field}' is missing")
    candidates = _identifiers(document, "candidates") if "candidates" in document else None
    if candidates == []:
        raise CommandError(
            "field 'candidates' is empty; name at least one item to rank, or leave the field out "
            "to retrieve items"
        )
    history_item_id = _identifiers(document, "history_item_id")
    history_rating = None
    if "history_rating" in document:
        history_rating = [
            _number(value, f"history_rating[{position}]")
            for position, value in enumerate(_list(document, "history_rating"))
        ]
    if history_rating is not None and len(history_item_id) != len(history_rating):
        raise CommandError(
            f"fields 'history_item_id' ({len(history_item_id)} values) and 'history_rating' "
            f"({len(history_rating)} values) must have the same length"
        )
    statistics = history_statistics(len(history_item_id), history_rating, positive_rating)
    for field in statistics:
        if document.get(field) is not None:
            statistics[field] = _number(document[field], field)
    user_id = _identifier(document["user_id"], "user_id")
    profile = _profile(document)
    try:
        user = UserRequest(user_id, history_item_id, history_rating, **statistics, profile=profile)
    except ValueError as error:
        raise CommandError(f"field {error}") from error
    return user, candidates


def _profile(document: dict[str, object]) -> dict[str, ProfileValue]:
    profile = document.get("profile", {})
    if not isinstance(profile, dict):
        raise CommandError(
            f"field 'profile' must be an object of user attributes. Received: {profile!r}"
        )
    return {name: _attribute(value, f"profile.{name}") for name, value in profile.items()}


def _attribute(value: object, field: str) -> ProfileValue:
    if value is None:
        return None
    if isinstance(value, (int, float)):
        return _number(value, field)
    texts = []
    for text in value if isinstance(value, list) else [value]:
        if not isinstance(text, str):
            raise CommandError(
                f"field '{field}' must be a number, a string or a list of strings. Received: "
                f"{value!r}"
            )
        # An empty text is no value.
        if text:
            texts.append(_unicode(text, field))
    return texts


def _list(document: dict[str, object], field: str) -> list[object]:
    values = document.get(field, [])
    if not isinstance(values, list):
        raise CommandError(f"field '{field}' must be a list. Received: {values!r}")
    return values


def _identifiers(document: dict[str, object], field: str) -> list[str]:
    values = _list(document, field)
    return [_identifier(value, f"{field}[{position}]") for position, value in enumerate(values)]


def _identifier(value: object, field: str) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str) or not value:
        raise CommandError(
            f"field '{field}' must be an id, a string that is not empty. Received: {value!r}"
        )
    return _unicode(value, field)


def _unicode(text: str, field: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise CommandError(f"field '{field}' is not valid Unicode. Received: {text!r}") from error
    return text


def _number(value: object, field: str) -> float:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        if abs(value) <= _LARGEST_NUMBER:
            return float(value)
    raise CommandError(f"field '{field}' must be a finite number. Received: {value!r}")


RANK = "rank"
ROWS = "serving_default"
RETRIEVE = "top_k"
Response = TypeVar("Response")


@dataclasses.dataclass(frozen=True)
class SignatureCall(Generic[Response]):
    """One call of a signature.

    Attributes:
      signature_name: the signature.
      inputs: what is known of the model's inputs -> the tensors to send.
      outputs: names of the outputs that the answer needs.
      read: makes the answer of the outputs.
      all_outputs: whether the answer has all outputs of the signature, beside those it needs.
      local_response: the answer where no server is needed for it.
    """

    signature_name: str
    inputs: Callable[[ModelInputs], Arrays]
    outputs: Sequence[str]
    read: Callable[[Reply], Response]
    all_outputs: bool = False
    local_response: Response | None = None


def ranking_call(
    user: UserRequest, candidates: Sequence[RawId], all_tasks: bool
) -> SignatureCall[RankingAnswer]:
    """Asks for the scores of candidates for one user.

    Args:
      user: who asks.
      candidates: raw item ids.
      all_tasks: whether to ask for the scores of further tasks too.
    """
    count = len(candidates)
    return SignatureCall(
        RANK,
        lambda model_inputs: rank_inputs(user, candidates, model_inputs),
        [SCORE],
        lambda reply: read_ranking(reply, count),
        all_tasks,
        None if count else _nothing_ranked(),
    )


def rows_call(users: Sequence[UserRequest], items: Sequence[RawId]) -> SignatureCall[RankingAnswer]:
    """Asks for the scores of aligned rows of a user and an item."""
    count = len(items)
    return SignatureCall(
        ROWS,
        lambda model_inputs: row_inputs(users, items, model_inputs),
        [SCORE],
        lambda reply: read_ranking(reply, count),
        local_response=_nothing_ranked() if len(users) == count == 0 else None,
    )


def retrieval_call(user: UserRequest) -> SignatureCall[RetrievedItems]:
    """Asks a retrieval model for the best of all items."""
    return SignatureCall(
        RETRIEVE,
        lambda model_inputs: user_inputs([user], model_inputs),
        [ITEM_ID, SCORE],
        read_retrieved_items,
    )


def inputs_after_refusal(
    call: SignatureCall[Any],
    refusal: RankingError,
    model_inputs: ModelInputs,
    kinds: Mapping[str, InputKind],
) -> tuple[ModelInputs, Arrays]:
    """What to ask a second time, after a model refused the tensors.

    Args:
      call: what was sent.
      refusal: why it was refused.
      model_inputs: what the refused tensors were made with.
      kinds: what the model says of its inputs.

    Returns:
      What is known now, and the tensors made with it.

    Raises:
      ProfileError: the model does not read an attribute, or reads another kind of values.
      RankingError: an id does not fit the model, or the refusal had another reason.
    """
    stated = ModelInputs.of_kinds(kinds)
    inputs = call.inputs(stated)
    require_profile_fits(inputs, stated.profile)
    if stated == model_inputs:
        raise refusal
    return stated, inputs


def _nothing_ranked() -> RankingAnswer:
    return RankingAnswer(np.zeros(0, dtype=np.float32), {}, None)
