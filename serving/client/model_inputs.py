"""What a client knows of a model's inputs."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Mapping
from typing import Self

from preprocessing.records.contract import HISTORY_ITEM_ID, HISTORY_RATING
from serving.client.profile_inputs import ProfileKinds, input_kinds


class InputKind(enum.Enum):
    """The kind of values that an input takes."""

    STRINGS = "strings"
    INTEGERS = "integers"
    NUMBERS = "numbers"


@dataclasses.dataclass(frozen=True)
class ModelInputs:
    """How a request is written for a model.

    Attributes:
      profile: attributes of the user that the model reads.
      integers: inputs of int64, among them `user_id` and `item_id` where a model's ids are whole
        numbers.
      ratings: whether the model reads the ratings of the history, which one of implicit feedback
        does not; None where that is not known.
    """

    profile: ProfileKinds = dataclasses.field(default_factory=dict)
    integers: frozenset[str] = frozenset()
    ratings: bool | None = None

    @classmethod
    def of_kinds(cls, kinds: Mapping[str, InputKind]) -> Self:
        """What a signature's inputs say.

        Args:
          kinds: input -> kind of its values.
        """
        strings = {name: kind is InputKind.STRINGS for name, kind in kinds.items()}
        integers = {name for name, kind in kinds.items() if kind is InputKind.INTEGERS}
        ratings = HISTORY_RATING in kinds if HISTORY_ITEM_ID in kinds else None
        return cls(input_kinds(strings), frozenset(integers), ratings)


STRINGS_WITHOUT_PROFILE = ModelInputs()
"""What a client takes for granted until a model tells otherwise: ids are strings, no profile."""
