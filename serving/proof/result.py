"""The result of a proof: loaders, largest differences and their bounds, quality on both sides."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from configs.command_line import CommandError
from preprocessing.records.contract import ITEM_ID, LABEL
from serving.c_api import CApiSession, signature_definitions
from serving.proof.kinds import Arrays
from serving.proof.samples import ProofSamples, SignatureForms
from serving.request_features import SCORE
from trainer.metric_sums import ScoreSums


def finite(value: Any) -> Any:
    """A tree of JSON values with null in the place of numbers that are infinite or none at all."""
    if isinstance(value, dict):
        return {name: finite(inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


SCORE_BOUNDS = {"float32": 1e-5, "float16": 1e-3, "int8": 3e-2}
"""Number format -> largest difference of a score from the checkpoint's."""

LOADER_BOUND = 1e-6
"""Largest difference of a score between two ways to load and ask the same SavedModel.

They run the same operations on the same numbers; what is left is the order of sums, which depends
on threads and on how the graph is optimised.
"""


def scaled(bound: float, largest: float) -> float:
    """A bound for numbers that are no probabilities, such as inner products of vectors.

    Args:
      bound: for numbers between 0 and 1.
      largest: the largest expected number in magnitude.
    """
    return bound * max(1.0, largest)


@dataclass(frozen=True)
class Gap:
    """The largest difference in the answer of a signature.

    Attributes:
      difference: in magnitude; infinite where something is not comparable.
      bound: what is allowed.
      text: which output of which sample differs by how much.
    """

    difference: float
    bound: float
    text: str

    @property
    def is_within(self) -> bool:
        """Whether the bound is kept."""
        return self.difference <= self.bound


def largest_gap(expected: Arrays, actual: Arrays, bound: float, names: Sequence[str]) -> Gap:
    """Compares the answer of a signature.

    Item ids are those of a search; they may differ where scores tie within the bound.

    Args:
      expected: output -> values, [n, ...] each.
      actual: likewise.
      bound: for numbers between 0 and 1; that of larger numbers grows with them.
      names: of the n samples.
    """
    if expected.keys() != actual.keys():
        text = f"outputs are {', '.join(sorted(actual))} and not {', '.join(sorted(expected))}"
        return Gap(np.inf, bound, text)
    gaps = [
        _number_gap(name, values, actual[name], bound, names)
        for name, values in expected.items()
        if name != ITEM_ID
    ]
    if ITEM_ID in expected and all(gap.is_within for gap in gaps):
        gaps.append(_item_gap(expected, actual, bound, names))
    return max(gaps, key=lambda gap: (gap.difference > gap.bound, gap.difference))


def _number_gap(
    output: str, expected: np.ndarray, actual: np.ndarray, bound: float, names: Sequence[str]
) -> Gap:
    if expected.shape != actual.shape:
        text = f"{output} has shape {list(actual.shape)} and not {list(expected.shape)}"
        return Gap(np.inf, bound, text)
    if not expected.size:
        return Gap(0.0, bound, "nothing to compare")
    differences = np.abs(expected.astype(np.float64) - actual)
    differences = np.where(np.isnan(differences), np.inf, differences)
    largest = np.unravel_index(int(np.argmax(differences)), differences.shape)
    index = tuple(map(int, largest))
    difference = float(differences[index])
    bound = scaled(bound, float(np.abs(expected).max()))
    text = (
        f"{output} of {names[index[0]]}: {expected[index]:.7g} expected, "
        f"{actual[index]:.7g} found, a difference of {difference:.3g} where {bound:.3g} is allowed"
    )
    return Gap(difference, bound, text)


def _item_gap(expected: Arrays, actual: Arrays, bound: float, names: Sequence[str]) -> Gap:
    """Which items a search finds. An item may stand elsewhere where its expected score allows it.

    An item that was not expected at all must score like the last of those that were.
    """
    scores, actual_scores = expected[SCORE], actual[SCORE]
    allowed = 2 * scaled(bound, float(np.abs(scores).max(initial=0)))
    for row in np.flatnonzero((expected[ITEM_ID] != actual[ITEM_ID]).any(axis=1)).tolist():
        score_of = dict(zip(expected[ITEM_ID][row].tolist(), scores[row].tolist(), strict=True))
        last = scores[row, -1]
        for index, item in enumerate(actual[ITEM_ID][row].tolist()):
            difference = abs(score_of.get(item, last) - actual_scores[row, index])
            if difference > allowed:
                text = (
                    f"item {item!r} at place {index + 1} of {names[row]}: "
                    f"{expected[ITEM_ID][row, index]!r} expected, and their scores do not tie"
                )
                return Gap(np.inf, bound, text)
    return Gap(0.0, bound, "the same items")


Ask = Callable[[str, Arrays], Arrays]
"""Signature and inputs -> outputs; strings are bytes in arrays of objects."""

Ways = Mapping[str, Ask]
"""Name of a way to ask -> the way."""


@contextmanager
def python_loader(version_folder: Path) -> Iterator[Ways]:
    """`tf.saved_model.load`, as the local server uses it too."""
    model = tf.saved_model.load(str(version_folder))

    def ask(signature: str, inputs: Arrays) -> Arrays:
        tensors = {name: tf.constant(values) for name, values in inputs.items()}
        outputs = model.signatures[signature](**tensors)
        return {name: values.numpy() for name, values in outputs.items()}

    yield {"python": ask}


@contextmanager
def session_loader(version_folder: Path) -> Iterator[Ways]:
    """`tf.compat.v1.saved_model.load` in a session of TensorFlow 1."""
    definitions = signature_definitions(version_folder)
    with tf.compat.v1.Session(graph=tf.Graph()) as session:
        tf.compat.v1.saved_model.load(session, [tf.saved_model.SERVING], str(version_folder))

        def ask(signature: str, inputs: Arrays) -> Arrays:
            definition = definitions[signature]
            fetched = {name: info.name for name, info in definition.outputs.items()}
            fed = {definition.inputs[name].name: values for name, values in inputs.items()}
            return session.run(fetched, fed)

        yield {"session": ask}


@contextmanager
def c_api_loader(version_folder: Path) -> Iterator[Ways]:
    """`TF_LoadSessionFromSavedModel`, by which TensorFlow Serving loads."""
    with CApiSession(version_folder) as session:
        yield {"c_api": session.run}


_FIRST = 10


@dataclass(frozen=True)
class Quality:
    """The same metric of checkpoint and export.

    Attributes:
      metric: "auc"; of retrieval models "new_items_recall_at_10", the share of rows whose item is
        among the first ten of those that are not in the history.
      checkpoint: of the trained model; NaN where the rows are of one class.
      export: of the SavedModel.
      rows: validation rows; candidates of a re-ranker.
    """

    metric: str
    checkpoint: float
    export: float
    rows: int

    @property
    def cost(self) -> float:
        """What the export loses."""
        return self.checkpoint - self.export


def compare_quality(
    samples: ProofSamples, expected: Arrays, forms: SignatureForms, ask: Ask
) -> Quality:
    """Asks the export about the quality rows.

    Args:
      samples: has the rows.
      expected: what the checkpoint says about them.
      forms: the export's.
      ask: the SavedModel in Python.
    """
    rows, batch = samples.quality_rows, samples.rows_at_once
    gaps = [
        ask(
            "serving_default",
            forms.inputs(
                "serving_default",
                {name: values[start : start + batch] for name, values in rows.items()},
            ),
        )
        for start in range(0, len(rows[ITEM_ID]), batch)
    ]
    scores = np.concatenate([answer[SCORE] for answer in gaps])
    if LABEL not in rows:
        items = np.concatenate([answer[ITEM_ID] for answer in gaps])
        return Quality(
            "new_items_recall_at_10",
            _recall(rows[ITEM_ID], expected[ITEM_ID]),
            _recall(forms.ids(rows[ITEM_ID]), items),
            len(scores),
        )
    # Lists are padded with empty ids.
    is_row = rows[ITEM_ID] != b""
    labels = rows[LABEL][is_row]
    return Quality(
        "auc",
        _auc(labels, expected[SCORE][is_row]),
        _auc(labels, scores[is_row]),
        len(labels),
    )


def _auc(labels: np.ndarray, scores: np.ndarray) -> float:
    if not np.isfinite(scores).all():
        return math.nan
    return float(ScoreSums.of_part(labels, scores).pairs.auc()[0])


def _recall(chosen: np.ndarray, retrieved: np.ndarray) -> float:
    """Share of rows whose item is among the first items found: [n], [n, k]."""
    return float((retrieved[:, :_FIRST] == chosen[:, np.newaxis]).any(axis=1).mean())


_SHOWN_FAILURES = 10


class ProofError(CommandError):
    """An export does not score as its checkpoint does."""


@dataclass(frozen=True)
class ProofFailure:
    """One thing that a proof found wrong.

    Attributes:
      way: how the export was loaded and asked; "" where it was not.
      signature: what was asked; "" where the export could not be loaded at all.
      text: which sample differs by how much.
    """

    way: str
    signature: str
    text: str

    def __str__(self) -> str:
        """One line for people."""
        return ", ".join(part for part in (self.way, self.signature, self.text) if part)


Differences = dict[str, dict[str, float]]
"""Way -> signature -> largest difference of a score."""


@dataclass(frozen=True)
class Proof:
    """What was asked and how far the answers were from what they should be.

    Attributes:
      number_format: of the stored vectors.
      id_type: of the ids in requests: string or int64.
      extent: full or quick.
      examples: validation examples that were asked.
      edge_cases: names of the further rows.
      bound: largest difference from the checkpoint that is allowed, for scores between 0 and 1.
      bound_between_loaders: the same between two ways to ask the same SavedModel.
      to_checkpoint: largest differences from the checkpoint.
      between_loaders: largest differences from the SavedModel in Python.
      quality: what checkpoint and export are worth; None where the export could not be loaded.
      failures: empty where the proof holds.
      seconds: wall time of the proof.
    """

    number_format: str
    id_type: str
    extent: str
    examples: int
    edge_cases: tuple[str, ...]
    bound: float
    bound_between_loaders: float
    to_checkpoint: Differences
    between_loaders: Differences
    quality: Quality | None
    failures: tuple[ProofFailure, ...]
    seconds: float

    @property
    def largest_difference(self) -> float:
        """Largest difference from the checkpoint on any way, of any signature."""
        return max(
            max(way_differences.values(), default=0)
            for way_differences in self.to_checkpoint.values()
        )

    def require(self) -> None:
        """Makes sure that the proof holds.

        Raises:
          ProofError: it does not; the message says on which way, of which signature and sample.
        """
        if not self.failures:
            return
        lines = [f"  {failure}" for failure in self.failures[:_SHOWN_FAILURES]]
        if len(self.failures) > len(lines):
            lines.append(f"  ... and {len(self.failures) - len(lines)} more")
        raise ProofError(
            "the export does not score as its checkpoint does, so nothing is published:\n"
            + "\n".join(lines)
        )

    def to_json(self) -> dict[str, Any]:
        """The proof as JSON values; what is not a number or infinite is null."""
        tree = asdict(self)
        tree["edge_cases"] = list(self.edge_cases)
        tree["failures"] = [asdict(failure) for failure in self.failures]
        tree["seconds"] = round(self.seconds, 2)
        if self.quality is not None:
            tree["quality"]["cost"] = self.quality.cost
        return finite(tree)

    def summary(self) -> str:
        """One line for people."""
        ways = ", ".join(self.to_checkpoint)
        text = (
            f"proof ({ways}): {self.examples} validation examples and {len(self.edge_cases)} edge "
            f"cases, largest difference from the checkpoint {self.largest_difference:.2g} (allowed "
            f"{self.bound:g} in {self.number_format})"
        )
        if self.quality is None:
            return text
        quality = self.quality
        return (
            f"{text}; {quality.metric} on {quality.rows:,} validation rows "
            f"{quality.checkpoint:.6f} in the checkpoint, {quality.export:.6f} in the export"
        )
