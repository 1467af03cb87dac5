"""Exports of runs with random weights, made once per process, and requests for them."""

from __future__ import annotations

import atexit
import functools
import itertools
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from configs.scenario import Scenario
from serving.client import UserRequest
from serving.export import ExportResult, export_run
from serving.options import ExportOptions
from tests.runs import ARMS, WrittenRun, raw_requests, write_run, written_run
from tests.scenarios import (
    CITIES,
    ITEMS,
    KNOWLEDGE_ONLY_ITEMS,
    USERS_WITH_ANSWER,
    implicit_scenario,
    rich_scenario,
)

UNPROVEN = ExportOptions(proof="none", card_part="none")
"""For tests that compare scores themselves."""

_FAST_MODELS = (("din", "ridge"), ("dcnv2", "hein"))
every_model = pytest.mark.parametrize(
    ("backbone", "arm"),
    [
        pair if pair in _FAST_MODELS else pytest.param(*pair, marks=pytest.mark.slow)
        for pair in itertools.product(("din", "dcnv2"), ARMS)
    ],
)
"""Both backbones in every arm; the fast tests take each backbone once."""

RANKING_VARIANTS: dict[str, dict[str, object]] = {
    "linear": {
        "model__adapter": "linear",
        "model__tasks": {"loved": 0.5},
        "model__match": "means",
    },
    "pca": {
        "model__adapter": "pca",
        "model__match": "ridge",
        "model__knowledge_match": {"form": "exact", "sources": ["item", "likes"]},
    },
    "mlp": {
        "model__adapter": "mlp",
        "model__mlp__units": [10, 8],
        "model__history_knowledge": True,
        "model__standardized_knowledge": True,
    },
    "moe": {
        "model__adapter": "moe",
        "model__moe__expert_units": [10, 8],
        "model__match": "ridge",
        "model__knowledge_match": {"learned": True, "dimension": 6, "sources": ["item", "likes"]},
    },
    "hein": {
        "model__backbone": "dcnv2",
        "knowledge__sources": ["item", "plain", "user"],
        "model__factor_gate": True,
        "model__zero_start": True,
        "model__match": "ridge",
        "model__knowledge_match": {"dimension": 6, "sources": ["likes", "plain"]},
        "model__prior": True,
    },
    "pq": {
        "model__adapter": "pq",
        "model__pq": {"num_codebooks": 3, "codebook_size": 4},
        "model__user_profile": False,
    },
    "replace_id": {
        "model__adapter": "replace_id",
        "knowledge__sources": ["item", "plain"],
        "model__prior": True,
    },
}
"""Name -> a ranking model over `rich_scenario`, with user profiles: every adapter, and every option
that an export treats in a way of its own."""

OTHER_VARIANTS: dict[str, dict[str, object]] = {
    "prm": {
        "model__backbone": "prm",
        "model__match": "ridge",
        "model__history_knowledge": True,
        "training__list_loss": "listwise",
    },
    "two_tower": {"model__backbone": "two_tower", "model__history_knowledge": True},
}
"""A re-ranker and a retrieval model."""

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

    def outputs(self, raw: Arrays, signature: str = "serving_default") -> Arrays:
        """What a signature of the loaded SavedModel gives."""
        outputs = self.loaded.signatures[signature](**tensors(raw))
        return {name: values.numpy() for name, values in outputs.items()}

    def scores(self, raw: Arrays, signature: str = "serving_default") -> np.ndarray:
        """Scores of the loaded SavedModel."""
        return self.outputs(raw, signature)["score"]

    def expected(self, raw: Arrays) -> np.ndarray:
        """Scores of the checkpoint's model."""
        return self.run.model.probabilities(tensors(raw)).numpy()


def tensors(raw: Arrays) -> dict[str, tf.Tensor]:
    return {name: tf.constant(values) for name, values in raw.items()}


def assert_close(scores: np.ndarray, expected: np.ndarray) -> None:
    """The scores agree, and are different enough for that to mean something."""
    assert scores.shape == expected.shape
    assert expected.size < 3 or expected.std() > 0.005
    np.testing.assert_allclose(scores, expected, atol=1e-5, rtol=0)


@functools.cache
def exported(backbone: str = "din", arm: str = "hein") -> Export:
    run = written_run(backbone, arm)
    base = exports_folder() / f"{backbone}_{arm}"
    return Export(run, base, export_run(run.folder.path, base, UNPROVEN))


def variant_scenario(name: str) -> Scenario:
    options = RANKING_VARIANTS.get(name) or OTHER_VARIANTS[name]
    run = Path(rich_scenario().work_dir) / "runs" / f"variant_{name}"
    return rich_scenario(run_dir=str(run), **options)


@functools.cache
def variant_run(name: str) -> WrittenRun:
    return write_run(variant_scenario(name))


@functools.cache
def exported_variant(name: str) -> Export:
    run = variant_run(name)
    base = exports_folder() / f"variant_{name}"
    return Export(run, base, export_run(run.folder.path, base, UNPROVEN))


@functools.cache
def exported_implicit() -> Export:
    """A model of implicit feedback, which reads no ratings, and its proof."""
    run_dir = Path(implicit_scenario().work_dir) / "runs" / "implicit"
    run = write_run(implicit_scenario(run_dir=str(run_dir), model__match="means"))
    base = exports_folder() / "implicit"
    options = ExportOptions(proof="quick", proof_samples=20, card_part="none")
    return Export(run, base, export_run(run.folder.path, base, options))


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


@functools.cache
def profile_rows(with_profile: bool = True) -> Arrays:
    """`request_rows` with profiles: cities known, unknown and none, ages known and not."""
    if not with_profile:
        return request_rows()
    cities = [[CITIES[0], ""], [CITIES[1], CITIES[2]], ["Atlantis", CITIES[1]], ["", ""]]
    ages = [30.0, np.nan, 51.0, 19.0, np.nan, 44.0]
    return {
        **request_rows(),
        "profile_city": np.array(cities * 3).astype("S").astype(object),
        "profile_age": np.array(ages * 2, np.float32)[:, np.newaxis],
    }


def variant_rows(name: str) -> Arrays:
    """Aligned rows for a ranking model."""
    return profile_rows(RANKING_VARIANTS[name].get("model__user_profile", True) is True)


def list_rows() -> Arrays:
    """Lists of up to six candidates of five users, for a re-ranker; the fourth list is empty."""
    lists = [ITEMS[:6], ITEMS[6:9], ["never seen", *ITEMS[-3:]], [], [KNOWLEDGE_ONLY_ITEMS[0]]]
    rows = {name: values[[0, 1, 4, 5, 10]] for name, values in profile_rows().items()}
    items = np.full([len(lists), 6], b"", dtype=object)
    for row, candidates in enumerate(lists):
        items[row, : len(candidates)] = [item.encode() for item in candidates]
    return {**rows, "item_id": items}


def user_rows() -> Arrays:
    """Users, for a retrieval model."""
    return {name: values for name, values in profile_rows().items() if name != "item_id"}


def one_user_request(
    row: int, candidates: int = 7, rows: Arrays | None = None
) -> tuple[Arrays, Arrays]:
    """A request of `rank`, and the same with the user written out for every candidate."""
    rows = request_rows() if rows is None else rows
    items = np.array([*ITEMS[:candidates], "never seen"][-candidates:], dtype=object)
    shared = {name: values[row : row + 1] for name, values in rows.items()}
    repeated = {name: np.repeat(values, candidates, axis=0) for name, values in shared.items()}
    return {**shared, "item_id": items}, {**repeated, "item_id": items}


def user_of(raw: Arrays, row: int) -> UserRequest:
    """The user of a row, as a client knows one."""
    known = raw["history_item_id"][row] != b""
    profile: dict[str, Any] = {}
    if "profile_city" in raw:
        profile["city"] = [city.decode() for city in raw["profile_city"][row] if city]
        if np.isfinite(raw["profile_age"][row, 0]):
            profile["age"] = float(raw["profile_age"][row, 0])
    return UserRequest(
        user_id=raw["user_id"][row].decode(),
        history_item_id=[item.decode() for item in raw["history_item_id"][row][known]],
        history_rating=raw["history_rating"][row][known].tolist(),
        user_share_liked=float(raw["user_share_liked"][row]),
        user_mean_rating=float(raw["user_mean_rating"][row]),
        user_log_count=float(raw["user_log_count"][row]),
        profile=profile,
    )


def serialized_examples(raw: Arrays) -> np.ndarray:
    """Rows as serialized tf.Examples; padding is left out of the lists."""
    examples = []
    for row in range(len(raw["user_id"])):
        known_history = raw["history_item_id"][row] != b""
        features = {}
        for name, values in raw.items():
            row_values = np.atleast_1d(values[row])
            if name.startswith("history_"):
                row_values = row_values[known_history]
            elif values.ndim == 2:
                row_values = [value for value in row_values if value and value == value]
            features[name] = _bytes(row_values) if values.dtype == object else _floats(row_values)
        example = tf.train.Example(features=tf.train.Features(feature=features))
        examples.append(example.SerializeToString())
    return np.array(examples, dtype=object)


def _bytes(values: Any) -> tf.train.Feature:
    return tf.train.Feature(bytes_list=tf.train.BytesList(value=list(values)))


def _floats(values: Any) -> tf.train.Feature:
    return tf.train.Feature(float_list=tf.train.FloatList(value=list(values)))
