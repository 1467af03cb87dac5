"""From raw features to the inputs of a signature, in the types that the export asks for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import tensorflow as tf
from tensorflow.core.example import example_pb2

from configs.command_line import CommandError
from preprocessing.records.contract import HISTORY_ITEM_ID, NO_ID, USER_ID
from serving.id_types import IDS
from serving.runtime.definitions import signature_definitions

Arrays = Mapping[str, np.ndarray]


class SignatureForms:
    """The signatures of a SavedModel, and what they take.

    Attributes:
      definitions: signature -> its definition.
      id_type: "string" or "int64".
    """

    def __init__(self, version_folder: Path):
        """Reads the definitions.

        Raises:
          CommandError: the folder has no readable SavedModel with a graph for serving.
        """
        self.definitions = signature_definitions(version_folder)
        types = {
            info.dtype
            for definition in self.definitions.values()
            for name, info in definition.inputs.items()
            if name in IDS
        }
        self._whole_numbers = tf.int64.as_datatype_enum in types
        self.id_type = "int64" if self._whole_numbers else "string"

    def inputs(self, signature: str, raw: Arrays) -> dict[str, np.ndarray]:
        """What a signature is sent: features, or serialized tf.Examples under its only input.

        Raises:
          CommandError: ids are to be whole numbers and are not.
        """
        taken = list(self.definitions[signature].inputs)
        if not set(taken) <= set(raw):
            (name,) = taken
            return {name: serialized_examples(raw)}
        return {name: self.ids(raw[name]) if name in IDS else raw[name] for name in taken}

    def ids(self, values: np.ndarray) -> np.ndarray:
        """Raw ids in the type of the export: bytes [...] -> the same, or int64 [...].

        Raises:
          CommandError: ids are to be whole numbers and are not.
        """
        if not self._whole_numbers:
            return values
        numbers = [self._number(value) for value in values.ravel()]
        return np.array(numbers, np.int64).reshape(values.shape)

    def _number(self, value: bytes) -> int:
        try:
            return int(value) if value else NO_ID
        except ValueError as error:
            raise CommandError(
                f"the export takes ids that are whole numbers, and the data has {value!r}; set "
                "serving.id_type=string"
            ) from error


def serialized_examples(raw: Arrays) -> np.ndarray:
    """Rows as serialized tf.Examples: [n] of bytes; padding is left out of the lists.

    Ids are strings, as in training, whatever the id type of the other signatures.
    """
    examples = np.empty(len(raw[USER_ID]), dtype=object)
    is_history = raw[HISTORY_ITEM_ID] != b""
    for row in range(len(examples)):
        example = example_pb2.Example()
        for name, values in raw.items():
            of_row = values[row : row + 1].ravel()
            if name.startswith("history_"):
                of_row = of_row[is_history[row]]
            elif values.ndim == 2:
                of_row = _known(of_row)
            feature = example.features.feature[name]
            filled = feature.bytes_list if values.dtype == object else feature.float_list
            filled.value.extend(of_row.tolist())
        examples[row] = example.SerializeToString(deterministic=True)
    return examples


def _known(values: np.ndarray) -> np.ndarray:
    """A list without padding: "" or NaN."""
    return values[values != b""] if values.dtype == object else values[~np.isnan(values)]
