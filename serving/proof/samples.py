"""What an export is asked in its proof, examples and edge cases, and what it must answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import tensorflow as tf
from tensorflow.core.example import example_pb2

from configs.command_line import CommandError
from configs.scenario import Scenario
from models.building import AnyModel
from preprocessing.records.contract import (
    HISTORY_ITEM_ID,
    HISTORY_RATING,
    ITEM_ID,
    LABEL,
    NO_ID,
    PROFILE_PREFIX,
    USER_ID,
    USER_LOG_COUNT,
    USER_MEAN_RATING,
    USER_SHARE_LIKED,
    Feature,
    features_of,
)
from preprocessing.records.layout import WorkDirectory
from preprocessing.records.parsing import parse_examples
from preprocessing.records.tfrecord_file import check_intact
from serving.c_api import signature_definitions
from serving.id_index import IDS
from serving.options import DEFAULT_PROOF_SAMPLES, ServerOptions
from serving.proof.kinds import UNKNOWN_ID, Arrays, ProofRequest, filled_with, with_first
from serving.request_features import request_features
from serving.serving_module import SERVING_MODULES


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
            row_values = values[row : row + 1].ravel()
            if name.startswith("history_"):
                row_values = row_values[is_history[row]]
            elif values.ndim == 2:
                row_values = _without_padding(row_values)
            feature = example.features.feature[name]
            filled = feature.bytes_list if values.dtype == object else feature.float_list
            filled.value.extend(row_values.tolist())
        examples[row] = example.SerializeToString(deterministic=True)
    return examples


def _without_padding(values: np.ndarray) -> np.ndarray:
    """A list without padding: "" or NaN."""
    return values[values != b""] if values.dtype == object else values[~np.isnan(values)]


UNKNOWN_VALUE = b"a value that no data has"


def edge_rows(rows: Arrays, kind: str) -> dict[str, dict[str, np.ndarray]]:
    """Rows that differ from the first of some rows in what their names say.

    Args:
      rows: features of requests, [n, ...] each, n at least 1.
      kind: of the model.

    Returns:
      Name -> features, [1, ...] each.
    """
    first = {name: values[:1].copy() for name, values in rows.items()}
    nobody = {USER_ID: filled_with(first[USER_ID], UNKNOWN_ID)}
    numbers = (HISTORY_RATING, USER_SHARE_LIKED, USER_MEAN_RATING, USER_LOG_COUNT)
    no_history = {
        HISTORY_ITEM_ID: filled_with(first[HISTORY_ITEM_ID], b""),
        # A model of implicit feedback reads none that is made from ratings.
        **{name: np.zeros_like(first[name]) for name in numbers if name in first},
    }
    edges = {
        "unknown user": nobody,
        "unknown item in the history": {
            HISTORY_ITEM_ID: with_first(first[HISTORY_ITEM_ID], UNKNOWN_ID)
        },
        "empty history": no_history,
        "unknown user with empty history": nobody | no_history,
        "no user id": {USER_ID: filled_with(first[USER_ID], b"")},
    }
    edges |= {
        name: {ITEM_ID: items}
        for name, items in SERVING_MODULES[kind].proof.item_edges(first[ITEM_ID]).items()
    }
    profile = [name for name in first if name.startswith(PROFILE_PREFIX)]
    if profile:
        edges["unknown profile values"] = {
            name: with_first(_missing(first[name]), UNKNOWN_VALUE)
            if first[name].dtype == object
            else _missing(first[name])
            for name in profile
        }
        edges["no profile"] = {name: _missing(first[name]) for name in profile}
    return {name: first | changed for name, changed in edges.items()}


def joined(parts: Sequence[Arrays]) -> dict[str, np.ndarray]:
    """Rows below each other; lists are padded at the end, as in a request."""
    widest = {
        name: max(part[name].shape[1] if part[name].ndim > 1 else 0 for part in parts)
        for name in parts[0]
    }
    return {
        name: np.concatenate([_padded(part[name], name, widest[name]) for part in parts])
        for name in parts[0]
    }


def _padded(values: np.ndarray, name: str, width: int) -> np.ndarray:
    if values.ndim < 2:
        return values
    padded = np.zeros([len(values), width], values.dtype)
    if values.dtype == object:
        padded[:] = b""
    elif name.startswith(PROFILE_PREFIX):
        padded[:] = np.nan
    padded[:, : values.shape[1]] = values
    return padded


def _missing(values: np.ndarray) -> np.ndarray:
    """A profile's feature without a value, at least one place wide."""
    shape = [len(values), max(1, values.shape[1])]
    if values.dtype == object:
        return np.full(shape, b"", dtype=object)
    return np.full(shape, np.nan, values.dtype)


QUALITY_ROWS = 20_000
"""Validation rows on which checkpoint and export are compared in what they are worth."""

_SEED = 0
_PART = "validation"


@dataclass(frozen=True)
class ProofSamples:
    """All that an export is asked.

    Attributes:
      requests: what is asked.
      num_examples: examples of the validation part among the rows.
      edge_cases: names of the other rows.
      quality_rows: examples of the validation part, [n, ...] each: features and labels.
      rows_at_once: rows of one request.
    """

    requests: tuple[ProofRequest, ...]
    num_examples: int
    edge_cases: tuple[str, ...]
    quality_rows: Arrays
    rows_at_once: int = 1024


def draw_samples(
    scenario: Scenario,
    model: AnyModel,
    count: int = DEFAULT_PROOF_SAMPLES,
    quality_rows: int = QUALITY_ROWS,
) -> ProofSamples:
    """Draws the samples of a proof.

    Examples are drawn at random, with a fixed seed, from the first `quality_rows` of the part,
    whose files hold users in the order of a hash.

    Args:
      scenario: the run's.
      model: its model.
      count: number of examples.
      quality_rows: validation rows for the comparison of quality; candidates of re-rankers.

    Raises:
      CommandError: the validation part is empty.
      preprocessing.records.contract.DamagedRecords: a file is missing or damaged.
    """
    form = SERVING_MODULES[model.kind]
    proof = form.proof(model)
    features = request_features(model.inputs_preparation, model.kind)
    num_rows = max(1, proof.num_quality_rows(quality_rows, scenario))
    read = _read(scenario, model.kind, features, num_rows)
    num_read = len(read[USER_ID])
    random = np.random.default_rng(_SEED)
    drawn = np.sort(random.choice(num_read, min(count, num_read), replace=False))
    asked = {feature.name: read[feature.name][drawn] for feature in features}
    edges = edge_rows(asked, model.kind)
    names = (*(f"{_PART} example {number}" for number in drawn), *edges)
    rows = joined([asked, *edges.values()])
    inputs = {name: values for name, values in rows.items() if name in proof.row_inputs}
    at_once = min(proof.rows_at_once, _most_rows(scenario, inputs))

    def rows_request(start: int, number: int) -> ProofRequest:
        raw = {name: values[start : start + number] for name, values in inputs.items()}
        return ProofRequest(form.row_signatures, raw, names[start : start + number])

    requests = (
        *(rows_request(start, at_once) for start in range(0, len(names), at_once)),
        replace(rows_request(0, 1), names=(f"{names[0]} alone",)),
        *proof.further_requests(rows, names),
    )
    return ProofSamples(requests, len(drawn), tuple(edges), read, at_once)


def _most_rows(scenario: Scenario, inputs: Arrays) -> int:
    """Rows of which export and local server take the candidates in one request."""
    most = ServerOptions().max_request_rows
    if scenario.serving.largest_request is not None:
        most = min(most, scenario.serving.largest_request)
    lists = inputs.get(ITEM_ID)
    return max(1, most // lists.shape[1]) if lists is not None and lists.ndim > 1 else most


@dataclass(frozen=True)
class ExpectedScores:
    """What an export must say.

    Attributes:
      outputs: for each request signature -> output -> values; item ids are strings of bytes.
      quality: output -> values of the quality rows, of `serving_default`.
    """

    outputs: tuple[dict[str, Arrays], ...]
    quality: Arrays


def expected_scores(model: AnyModel, samples: ProofSamples) -> ExpectedScores:
    """Asks the trained model what an export is asked."""
    proof = SERVING_MODULES[model.kind].proof(model)
    outputs = tuple(proof.expected_outputs(request) for request in samples.requests)
    return ExpectedScores(outputs, proof.default_outputs(samples.quality_rows))


def _read(
    scenario: Scenario, kind: str, features: Sequence[Feature], count: int
) -> dict[str, np.ndarray]:
    """The first examples of the part: features and labels by name."""
    example_features = {feature.name: feature for feature in features_of(kind, scenario.data)}
    read = {feature.name: feature for feature in features}
    read |= {name: example_features[name] for name in (ITEM_ID, LABEL) if name in example_features}
    files = WorkDirectory(scenario.work_dir).examples.shards(_PART, kind)
    for file in files:
        check_intact(file)
    dataset = tf.data.TFRecordDataset([str(file) for file in files], compression_type="GZIP")
    serialized = list(dataset.take(count).as_numpy_iterator())
    if not serialized:
        raise CommandError(
            f"{files[0].parent} has no examples, so nothing can show that the export scores as "
            "its checkpoint does; export with --proof none"
        )
    parsed = parse_examples(tf.constant(serialized), list(read.values()))
    return {name: values.numpy() for name, values in parsed.items()}
