"""What an export is asked in its proof: examples of the validation part, and edge cases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from configs.command_line import CommandError
from configs.scenario import Scenario
from models.building import AnyModel
from models.retrieving import RetrievalModel
from preprocessing.records.contract import (
    CTR,
    ITEM_ID,
    LABEL,
    RERANK,
    RETRIEVAL,
    USER_ID,
    Feature,
)
from preprocessing.records.example_features import features_of
from preprocessing.records.layout import WorkDirectory
from preprocessing.records.parsing import parse_examples
from preprocessing.records.tfrecord_file import check_intact
from serving.export_options import DEFAULT_PROOF_SAMPLES
from serving.proof.edge_cases import UNKNOWN_ID, edge_rows, joined
from serving.request_features import request_features

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
_EXAMPLES = "predict_examples"

Arrays = Mapping[str, np.ndarray]

SIGNATURES_OF_ROWS = {
    CTR: ("serving_default", _EXAMPLES, "classify", "regress"),
    RERANK: ("serving_default", _EXAMPLES),
    RETRIEVAL: ("serving_default", "top_k", "user_vectors"),
}
"""Kind of the model -> the signatures that are asked about rows."""


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
      preprocessing.records.errors.DamagedRecords: a file is missing or damaged.
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
    questions = [
        *(
            Question(
                SIGNATURES_OF_ROWS[kind],
                _rows(rows, start, rows_at_once),
                names[start : start + rows_at_once],
            )
            for start in range(0, len(names), rows_at_once)
        ),
        Question(SIGNATURES_OF_ROWS[kind], _rows(rows, 0, 1), (f"{names[0]} alone",)),
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
