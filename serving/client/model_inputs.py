"""What a client knows of a model's inputs."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Mapping
from typing import Self

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
    """

    profile: ProfileKinds = dataclasses.field(default_factory=dict)
    integers: frozenset[str] = frozenset()

    @classmethod
    def of_kinds(cls, kinds: Mapping[str, InputKind]) -> Self:
        """What a signature's inputs say.

        Args:
          kinds: input -> kind of its values.
        """
        strings = {name: kind is InputKind.STRINGS for name, kind in kinds.items()}
        integers = {name for name, kind in kinds.items() if kind is InputKind.INTEGERS}
        return cls(input_kinds(strings), frozenset(integers))


STRINGS_WITHOUT_PROFILE = ModelInputs()
"""What a client takes for granted until a model tells otherwise: ids are strings, no profile."""
