"""What an export is asked in its proof: examples of the validation part, and edge cases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tensorflow as tf
from tensorflow.core.example import example_pb2

from configs.command_line import CommandError
from configs.scenario import Scenario
from models.building import AnyModel
from models.retrieving import RetrievalModel
from preprocessing.records.contract import (
    CTR,
    HISTORY_ITEM_ID,
    HISTORY_RATING,
    ITEM_ID,
    LABEL,
    NO_ID,
    PROFILE_PREFIX,
    RERANK,
    RETRIEVAL,
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
from serving.id_tables import IDS
from serving.options import DEFAULT_PROOF_SAMPLES
from serving.request_features import request_features
from serving.runtime.definitions import signature_definitions
from serving.serving_module import SERVING_MODULES

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


UNKNOWN_ID = b"9223372036854775806"
"""An id that no data has, in a form that ids which are whole numbers can have too."""

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
    nobody = {USER_ID: _filled(first[USER_ID], UNKNOWN_ID)}
    numbers = (HISTORY_RATING, USER_SHARE_LIKED, USER_MEAN_RATING, USER_LOG_COUNT)
    no_history = {
        HISTORY_ITEM_ID: _filled(first[HISTORY_ITEM_ID], b""),
        # A model of implicit feedback reads none that is made from ratings.
        **{name: np.zeros_like(first[name]) for name in numbers if name in first},
    }
    edges = {
        "unknown user": nobody,
        "unknown item in the history": {
            HISTORY_ITEM_ID: _with_first(first[HISTORY_ITEM_ID], UNKNOWN_ID)
        },
        "empty history": no_history,
        "unknown user with empty history": nobody | no_history,
        "no user id": {USER_ID: _filled(first[USER_ID], b"")},
    }
    if kind == RERANK:
        edges["unknown item in the list"] = {ITEM_ID: _with_first(first[ITEM_ID], UNKNOWN_ID)}
        edges["list of one item"] = {
            ITEM_ID: _with_first(_filled(first[ITEM_ID], b""), first[ITEM_ID].flat[0])
        }
        edges["empty list"] = {ITEM_ID: _filled(first[ITEM_ID], b"")}
    elif kind != RETRIEVAL:
        edges["unknown item"] = {ITEM_ID: _filled(first[ITEM_ID], UNKNOWN_ID)}
    profile = [name for name in first if name.startswith(PROFILE_PREFIX)]
    if profile:
        edges["unknown profile values"] = {
            name: _with_first(_missing(first[name]), UNKNOWN_VALUE)
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


def _filled(values: np.ndarray, value: bytes) -> np.ndarray:
    return np.full(values.shape, value, dtype=object)


def _with_first(values: np.ndarray, value: bytes) -> np.ndarray:
    """A row of at least one value, which is this one."""
    changed = values if values.shape[1] else _filled(np.empty([1, 1]), b"")
    changed = changed.copy()
    changed[0, 0] = value
    return changed


def _missing(values: np.ndarray) -> np.ndarray:
    """A profile's feature without a value, at least one place wide."""
    shape = [len(values), max(1, values.shape[1])]
    if values.dtype == object:
        return np.full(shape, b"", dtype=object)
    return np.full(shape, np.nan, values.dtype)


QUALITY_ROWS = 20_000
"""Validation rows on which checkpoint and export are compared in what they are worth."""

_QUALITY_SEARCHES = 2_000
"""The same of retrieval models, each of whose rows is a search among all items."""

_QUALITY_SCORES = 2 * 10**9
"""Scores that those searches may compute together, which millions of items make many."""

_SCORES_AT_ONCE = 2**26
_ROWS_AT_ONCE = 1024
_RANKED_ROWS = ("unknown user", "unknown user with empty history")
"""Edge cases that are asked of `rank` too, beside one example."""

_RANKED_CANDIDATES = 100
_ITEM_VECTORS = 500
_SEED = 0
_PART = "validation"


@dataclass(frozen=True)
class Question:
    """One request, in the form in which several signatures take it.

    Attributes:
      signatures: the signatures that are asked.
      raw: feature -> values as in the examples: strings are bytes in arrays of objects.
      names: what each row of the answer is about, for messages.
    """

    signatures: tuple[str, ...]
    raw: Arrays
    names: tuple[str, ...]


@dataclass(frozen=True)
class ProofSamples:
    """All that an export is asked.

    Attributes:
      kind: of the model: ctr, rerank or retrieval.
      features: what a request carries.
      questions: the requests.
      num_examples: examples of the validation part among the rows.
      edge_cases: names of the other rows.
      quality_rows: examples of the validation part, [n, ...] each: features and labels.
      rows_at_once: rows of one request; a search holds the scores of all items for each.
    """

    kind: str
    features: tuple[Feature, ...]
    questions: tuple[Question, ...]
    num_examples: int
    edge_cases: tuple[str, ...]
    quality_rows: Arrays
    rows_at_once: int = _ROWS_AT_ONCE


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
    kind, rows_at_once = model.kind, _ROWS_AT_ONCE
    features = request_features(model.inputs_preparation, kind)
    limits = {CTR: quality_rows, RERANK: quality_rows // scenario.data.rerank.length}
    if isinstance(model, RetrievalModel):
        searches = _QUALITY_SCORES // model.num_items
        limits[RETRIEVAL] = min(quality_rows, _QUALITY_SEARCHES, searches)
        rows_at_once = min(_ROWS_AT_ONCE, max(1, _SCORES_AT_ONCE // model.num_items))
    read = _read(scenario, kind, features, max(1, limits[kind]))
    num_read = len(read[USER_ID])
    random = np.random.default_rng(_SEED)
    drawn = np.sort(random.choice(num_read, min(count, num_read), replace=False))
    asked = {feature.name: read[feature.name][drawn] for feature in features}
    edges = edge_rows(asked, kind)
    names = (*(f"{_PART} example {number}" for number in drawn), *edges)
    rows = joined([asked, *edges.values()])
    if kind == RETRIEVAL:
        items = rows.pop(ITEM_ID)
        of_kind = [_vectors_of_items(items)]
    else:
        of_kind = _ranked(rows, names, kind)
    signatures = SERVING_MODULES[kind].row_signatures
    questions = [
        *(
            Question(
                signatures,
                _rows(rows, start, rows_at_once),
                names[start : start + rows_at_once],
            )
            for start in range(0, len(names), rows_at_once)
        ),
        Question(signatures, _rows(rows, 0, 1), (f"{names[0]} alone",)),
        *of_kind,
    ]
    return ProofSamples(
        kind, features, tuple(questions), len(drawn), tuple(edges), read, rows_at_once
    )


def _read(
    scenario: Scenario, kind: str, features: Sequence[Feature], count: int
) -> dict[str, np.ndarray]:
    """The first examples of the part: features and labels by name."""
    known = {feature.name: feature for feature in features_of(kind, scenario.data)}
    read = {feature.name: feature for feature in features}
    read |= {name: known[name] for name in (ITEM_ID, LABEL) if name in known}
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


def _ranked(rows: Arrays, names: Sequence[str], kind: str) -> list[Question]:
    """Requests of `rank`: one user and many candidates."""
    is_known = (rows[ITEM_ID] != b"") & (rows[ITEM_ID] != UNKNOWN_ID)
    items = np.unique(rows[ITEM_ID][is_known])
    questions = []
    for row in [0, *map(names.index, _RANKED_ROWS)]:
        if kind == RERANK:
            listed = rows[ITEM_ID][row]
            candidates = np.append(listed[listed != b""], UNKNOWN_ID)
        else:
            candidates = np.append(items[:_RANKED_CANDIDATES], UNKNOWN_ID)
        raw = {**_rows(rows, row, 1), ITEM_ID: candidates}
        asked = tuple(f"candidate {place} of {names[row]}" for place in range(len(candidates)))
        questions.append(Question(("rank",), raw, asked))
    return questions


def _vectors_of_items(items: np.ndarray) -> Question:
    distinct = np.append(np.unique(items)[:_ITEM_VECTORS], UNKNOWN_ID)
    names = tuple(f"item {item.decode(errors='replace')}" for item in distinct)
    return Question(("item_vectors",), {ITEM_ID: distinct}, names)


def _rows(rows: Arrays, start: int, count: int) -> dict[str, np.ndarray]:
    return {name: values[start : start + count] for name, values in rows.items()}
