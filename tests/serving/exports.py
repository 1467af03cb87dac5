"""Exports of runs with random weights, made once per process, and requests for them."""

from __future__ import annotations

import atexit
import functools
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from serving.export import ExportResult, export_run
from tests.runs import ARMS, WrittenRun, raw_requests, written_run
from tests.scenarios import ITEMS, KNOWLEDGE_ONLY_ITEMS, USERS_WITH_ANSWER

MODELS = tuple((backbone, arm) for backbone in ("din", "dcnv2") for arm in ARMS)
"""Every backbone in every arm."""

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Export:
    """A run, its model base path and its exported version."""

    run: WrittenRun
    base: Path
    result: ExportResult

    @property
    def path(self) -> Path:
        """The version folder."""
        return Path(self.result["path"])

    @functools.cached_property
    def loaded(self) -> Any:
        """The SavedModel, loaded in Python."""
        return tf.saved_model.load(str(self.path))

    def scores(self, raw: Arrays, signature: str = "serving_default") -> np.ndarray:
        """Scores of the loaded SavedModel."""
        outputs = self.loaded.signatures[signature](
            **{name: tf.constant(values) for name, values in raw.items()}
        )
        return outputs["score"].numpy()

    def expected(self, raw: Arrays) -> np.ndarray:
        """Scores of the checkpoint's model."""
        inputs = {name: tf.constant(values) for name, values in raw.items()}
        return self.run.model.probabilities(inputs).numpy()


def assert_close(scores: np.ndarray, expected: np.ndarray) -> None:
    """The scores agree, and are different enough for that to mean something."""
    assert scores.shape == expected.shape
    assert expected.size < 3 or expected.std() > 0.005
    np.testing.assert_allclose(scores, expected, atol=1e-5, rtol=0)


@functools.cache
def exported(backbone: str = "din", arm: str = "hein") -> Export:
    run = written_run(backbone, arm)
    base = exports_folder() / f"{backbone}_{arm}"
    return Export(run, base, export_run(run.folder.path, base))


@functools.cache
def exports_folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="exports_"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


@functools.cache
def request_rows() -> Arrays:
    """Aligned rows: test samples, and users and items that were never seen, in every combination.

    Histories are padded at the end; the last rows have none.
    """
    raw = {
        name: values.numpy()[:12] for name, values in raw_requests(written_run().scenario).items()
    }
    items, ratings = raw["history_item_id"].copy(), raw["history_rating"].copy()
    items[-3:], ratings[-3:] = b"", 0
    items[5, 2] = b"never seen"
    for name in ("user_share_liked", "user_mean_rating", "user_log_count"):
        raw[name] = np.where(np.arange(12) < 9, raw[name], np.float32(0))
    candidates = [ITEMS[0], ITEMS[-1], *KNOWLEDGE_ONLY_ITEMS, "never seen", ""]
    users = [USERS_WITH_ANSWER[0], "stranger", ""]
    return {
        **raw,
        "item_id": np.array([item.encode() for item in candidates * 2], dtype=object),
        "user_id": np.array([user.encode() for user in users * 4], dtype=object),
        "history_item_id": items,
        "history_rating": ratings,
    }


def one_user_request(row: int, candidates: int = 7) -> tuple[Arrays, Arrays]:
    """A request of `rank`, and the same with the user written out for every candidate."""
    rows = request_rows()
    items = np.array([*ITEMS[:candidates], "never seen"][-candidates:], dtype=object)
    shared = {name: values[row : row + 1] for name, values in rows.items()}
    repeated = {name: np.repeat(values, candidates, axis=0) for name, values in shared.items()}
    return {**shared, "item_id": items}, {**repeated, "item_id": items}


def serialized_examples(raw: Arrays) -> np.ndarray:
    """Rows as serialized tf.Examples; padding is left out of the histories."""
    examples = []
    for row in range(len(raw["item_id"])):
        known = raw["history_item_id"][row] != b""
        features = {
            "user_id": _bytes([raw["user_id"][row]]),
            "item_id": _bytes([raw["item_id"][row]]),
            "history_item_id": _bytes(raw["history_item_id"][row][known]),
            "history_rating": _floats(raw["history_rating"][row][known]),
        }
        for name in ("user_share_liked", "user_mean_rating", "user_log_count"):
            features[name] = _floats([raw[name][row]])
        example = tf.train.Example(features=tf.train.Features(feature=features))
        examples.append(example.SerializeToString())
    return np.array(examples, dtype=object)


def _bytes(values: Any) -> tf.train.Feature:
    return tf.train.Feature(bytes_list=tf.train.BytesList(value=list(values)))


def _floats(values: Any) -> tf.train.Feature:
    return tf.train.Feature(float_list=tf.train.FloatList(value=list(values)))
