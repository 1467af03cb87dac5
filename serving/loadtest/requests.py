"""Requests of a load test: from a file, from real examples, or drawn, as bytes ready to be sent."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from configs.command_line import CommandError
from configs.loading import load_scenario
from preprocessing.records import contract
from preprocessing.records.contract import DamagedRecords
from preprocessing.records.layout import WorkDirectory
from preprocessing.records.tfrecord_file import read_records
from preprocessing.records.wire import Values, decode_example
from serving.client.errors import ModelAddress, ProfileError, RankingError
from serving.client.grpc_client import predict_request
from serving.client.inputs import (
    ModelInputs,
    ProfileValue,
    RawId,
    UserRequest,
    rank_inputs,
    require_profile_fits,
)
from serving.client.ranking import RankingClientBase
from serving.client.requests import (
    RANK,
    ROWS,
    SignatureCall,
    parse_request,
    ranking_call,
    rows_call,
)

SIGNATURES = (RANK, ROWS)


def signature_calls(
    source: RequestSource, signature_name: str, candidates: int, seed: int
) -> list[SignatureCall[Any]]:
    """One call for each user of a source.

    Args:
      source: users and items.
      signature_name: "rank", or "serving_default" with the user repeated for each candidate.
      candidates: number of candidates of a call.
      seed: of the choice of candidates.
    """
    generator = np.random.default_rng([seed, candidates])
    calls: list[SignatureCall[Any]] = []
    for index, user in enumerate(source.users):
        items = source.candidates_of(index, candidates, generator)
        if signature_name == RANK:
            calls.append(ranking_call(user, items, all_tasks=False))
        else:
            calls.append(rows_call([user] * candidates, items))
    return calls


def serialized_requests(
    address: ModelAddress,
    model_inputs: ModelInputs,
    source: RequestSource,
    signature_name: str,
    candidates: int,
    seed: int,
) -> list[bytes]:
    """One request for each user of a source.

    Args:
      address: the model.
      model_inputs: how its inputs are written.
      source: users and items.
      signature_name: see `signature_calls`.
      candidates: see `signature_calls`.
      seed: see `signature_calls`.

    Returns:
      Serialized `PredictRequest`s.
    """
    return [
        predict_request(address, call, call.inputs(model_inputs)).SerializeToString()
        for call in signature_calls(source, signature_name, candidates, seed)
    ]


def check_response(
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


_HISTORY_LENGTH = 30
_RATINGS = np.arange(0.5, 5.5, 0.5)


@dataclasses.dataclass(frozen=True)
class RequestSource:
    """Users, and items to rank for them.

    Attributes:
      description: where they come from.
      users: who ask.
      candidates: items that a user's request names itself, one list per user; may be empty.
      items: what lists of candidates are filled up with.
      locations: where each user's request stands, for messages.
    """

    description: str
    users: Sequence[UserRequest]
    candidates: Sequence[Sequence[RawId]]
    items: Sequence[RawId]
    locations: Sequence[str] = ()

    def require_usable(self, model_inputs: ModelInputs) -> None:
        """Makes sure that every request can be written for a model.

        Args:
          model_inputs: how its inputs are written.

        Raises:
          CommandError: one cannot; the message names it.
        """
        for index, user in enumerate(self.users):
            try:
                inputs = rank_inputs(user, self.candidates[index], model_inputs)
                require_profile_fits(inputs, model_inputs.profile)
            except (RankingError, ValueError) as error:
                where = self.locations[index] if self.locations else self.description
                reason = (
                    f"field 'profile.{error.attribute}' {error.reason}"
                    if isinstance(error, ProfileError)
                    else error
                )
                raise CommandError(f"{where}: {reason}") from error

    def candidates_of(self, index: int, count: int, generator: np.random.Generator) -> list[RawId]:
        """Candidates of a user: those named, then any items, which repeat if there are too few.

        Args:
          index: the user's.
          count: how many.
          generator: chooses the items.
        """
        named = list(self.candidates[index][:count])
        missing = count - len(named)
        repeat = missing > len(self.items)
        chosen = generator.choice(len(self.items), missing, replace=repeat).tolist()
        return named + [self.items[index] for index in chosen]


def requests_of_file(path: str, positive_rating: float | None) -> RequestSource:
    """Requests as `predict` takes them, one JSON object a line.

    Args:
      path: the file.
      positive_rating: see `parse_request`.

    Raises:
      CommandError: a line is malformed; the message names it.
      OSError: the file cannot be read.
    """
    users, lists, locations = [], [], []
    # Only a line feed ends a line: texts may hold what else Unicode calls an end.
    lines = Path(path).read_bytes().split(b"\n")
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            user, candidates = parse_request(json.loads(line), positive_rating)
        except (CommandError, ValueError, RecursionError) as error:
            raise CommandError(f"{path}, line {number}: {error}") from error
        users.append(user)
        lists.append(candidates or [])
        locations.append(f"{path}, line {number}")
    named = [*lists, *(user.history_item_id for user in users)]
    items: list[RawId] = sorted({item for ids in named for item in ids}, key=str)
    if not items:
        raise CommandError(f"{path}: no request names an item, neither candidates nor history")
    return RequestSource(f"requests of {path}", users, lists, items, locations)


def requests_of_examples(folder: str, count: int) -> RequestSource:
    """Users of a work directory's test examples, each as at the first sample, and all items.

    Args:
      folder: a work directory, or the folder of a run made from one.
      count: number of users, if there are as many.

    Raises:
      CommandError: there are no examples.
    """
    work_directory = _work_directory_of(Path(folder))
    users: dict[RawId, UserRequest] = {}
    try:
        for user in _users_of(work_directory.examples.shards("test")):
            users.setdefault(user.user_id, user)
            if len(users) >= count:
                break
    except DamagedRecords as error:
        raise CommandError(str(error)) from error
    if not users:
        raise CommandError(f"{folder}: its test part has no examples")
    return RequestSource(
        f"test examples of {folder}",
        list(users.values()),
        [()] * len(users),
        _item_ids(work_directory.examples.item_attributes),
    )


def synthetic_requests(users: int, items: int, count: int, seed: int) -> RequestSource:
    """Users and items numbered from 1, with random histories.

    Args:
      users: number of users to draw from.
      items: number of items to draw from.
      count: number of requests.
      seed: of what is drawn.
    """
    generator = np.random.default_rng(seed)
    drawn = [
        UserRequest.from_history(
            str(generator.integers(1, users + 1)),
            [str(item) for item in generator.integers(1, items + 1, _HISTORY_LENGTH)],
            generator.choice(_RATINGS, _HISTORY_LENGTH).tolist(),
        )
        for _ in range(count)
    ]
    return RequestSource(
        f"made-up ids of {users} users and {items} items",
        drawn,
        [()] * count,
        range(1, items + 1),
    )


def _work_directory_of(folder: Path) -> WorkDirectory:
    config = folder / "config.yaml"
    if config.is_file() and not (folder / "examples").is_dir():
        return WorkDirectory(load_scenario(config).work_dir)
    return WorkDirectory(folder)


def _users_of(shards: Sequence[Path]) -> Iterator[UserRequest]:
    for shard in shards:
        for number, record in enumerate(read_records(shard), start=1):
            try:
                user = _user_of(decode_example(record))
            except (ValueError, KeyError, IndexError) as error:
                raise DamagedRecords(
                    f"{shard}: record {number}: not an example that a request can be made from "
                    f"({error})"
                ) from error
            yield user


def _user_of(example: dict[str, Values]) -> UserRequest:
    profile: dict[str, ProfileValue] = {}
    for name, values in example.items():
        if name.startswith(contract.PROFILE_PREFIX) and len(values):
            texts = [value.decode() for value in values if isinstance(value, bytes)]
            profile[name.removeprefix(contract.PROFILE_PREFIX)] = texts or float(values[0])
    return UserRequest(
        user_id=_texts(example[contract.USER_ID])[0],
        history_item_id=_texts(example.get(contract.HISTORY_ITEM_ID, [])),
        history_rating=[float(rating) for rating in example.get(contract.HISTORY_RATING, [])],
        user_share_liked=float(example[contract.USER_SHARE_LIKED][0]),
        user_mean_rating=float(example[contract.USER_MEAN_RATING][0]),
        user_log_count=float(example[contract.USER_LOG_COUNT][0]),
        profile=profile,
    )


def _texts(values: Values) -> list[str]:
    return [value.decode() for value in values]


def _item_ids(path: Path) -> list[RawId]:
    import pyarrow.parquet

    return pyarrow.parquet.read_table(path, columns=[contract.ITEM_ID])[
        contract.ITEM_ID
    ].to_pylist()
