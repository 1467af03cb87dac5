"""Number formats and id types of an export, through Python and the C API."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from configs.loading import ConfigurationError
from models.building import AnyModel
from serving.c_api import CApiSession
from serving.export import export_run
from tests.runs import write_run, written_run
from tests.scenarios import rich_scenario
from tests.serving.exports import (
    UNPROVEN,
    Arrays,
    Export,
    exported_variant,
    one_user_request,
    profile_rows,
    serialized_examples,
    tensors,
    user_rows,
)
from tests.trainer.evaluation.test_export_retrieval import serialized
from trainer.evaluation.exports import ExportedRetrieval

IDS = ("user_id", "item_id", "history_item_id")
NO_NUMBERS = (b"never seen", "never seen")


@pytest.fixture(scope="module")
def whole_numbers(tmp_path_factory: pytest.TempPathFactory) -> Export:
    """Only items have knowledge, so that the ids of users may be anything."""
    folder = tmp_path_factory.mktemp("whole_numbers")
    run = write_run(
        rich_scenario(
            run_dir=str(folder / "run"), knowledge__sources=["item"], serving__id_type="int64"
        )
    )
    return Export(run, folder / "base", export_run(run.folder.path, folder / "base", UNPROVEN))


def with_known_ids(raw: Arrays) -> Arrays:
    """The rows without ids that are no numbers."""
    known = {**raw, "user_id": np.full(raw["user_id"].shape, b"7", object)}
    for name in IDS:
        if name in known:
            ids = [b"" if raw_id in NO_NUMBERS else raw_id for raw_id in known[name].ravel()]
            known[name] = np.array(ids, object).reshape(known[name].shape)
    return known


def as_numbers(raw: Arrays) -> Arrays:
    return {
        name: np.array([int(raw_id or -1) for raw_id in values.ravel()]).reshape(values.shape)
        if name in IDS
        else values
        for name, values in raw.items()
    }


def expected_scores(model: AnyModel, raw: Arrays) -> np.ndarray:
    return model.probabilities(tensors(raw)).numpy()


def test_ids_may_be_whole_numbers(whole_numbers: Export) -> None:
    raw = with_known_ids(profile_rows())
    expected = expected_scores(whole_numbers.run.model, raw)
    assert expected.std() > 0.01
    np.testing.assert_allclose(whole_numbers.scores(as_numbers(raw)), expected, atol=1e-5)
    examples = {"examples": serialized_examples(raw)}
    np.testing.assert_allclose(
        whole_numbers.scores(examples, "predict_examples"), expected, atol=1e-5
    )
    with CApiSession(whole_numbers.path) as session:
        actual = session.run("serving_default", as_numbers(raw))["score"]
        np.testing.assert_allclose(actual, expected, atol=1e-5)
        ranked, repeated = one_user_request(2, rows=raw)
        ranked, repeated = with_known_ids(ranked), with_known_ids(repeated)
        np.testing.assert_allclose(
            session.run("rank", as_numbers(ranked))["score"],
            expected_scores(whole_numbers.run.model, repeated),
            atol=1e-5,
        )


def test_ids_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="serving.id_type: .* user 'u1' is none"):
        export_run(
            written_run("din", "hein").folder.path,
            tmp_path,
            UNPROVEN.model_copy(update={"id_type": "int64"}),
        )
    assert not list(tmp_path.iterdir())


def test_a_search_answers_with_ids_of_its_kind(tmp_path: Path) -> None:
    scenario = rich_scenario(
        run_dir=str(tmp_path / "run"), model__backbone="two_tower", knowledge__sources=["item"]
    )
    run = write_run(scenario)
    base = tmp_path / "base"
    text, numbers = (
        Export(
            run,
            base,
            export_run(run.folder.path, base, UNPROVEN.model_copy(update={"id_type": id_type})),
        )
        for id_type in ("string", "int64")
    )
    raw = with_known_ids(user_rows())
    expected = text.outputs(raw, "top_k")
    actual = numbers.outputs(as_numbers(raw), "top_k")
    assert actual["item_id"].dtype == np.int64
    np.testing.assert_array_equal(
        actual["item_id"],
        np.where(expected["item_id"] == b"", b"-1", expected["item_id"]).astype(int),
    )
    np.testing.assert_array_equal(actual["score"], expected["score"])
    np.testing.assert_array_equal(
        numbers.outputs({"item_id": np.array([3, -1])}, "item_vectors")["vector"],
        text.outputs({"item_id": np.array([b"3", b""], object)}, "item_vectors")["vector"],
    )
    text_ranks, number_ranks = (
        ExportedRetrieval(export.loaded, scenario)(serialized()) for export in (text, numbers)
    )
    np.testing.assert_array_equal(number_ranks.among_new.better, text_ranks.among_new.better)
    np.testing.assert_array_equal(number_ranks.item_ids, text_ranks.item_ids)
    assert text_ranks.among_new.better.std() > 0


@pytest.mark.parametrize("name", [pytest.param("hein", marks=pytest.mark.slow), "replace_id"])
def test_int8_moves_scores_little_and_all_loaders_alike(name: str, tmp_path: Path) -> None:
    exact = exported_variant(name)
    result = export_run(
        exact.run.folder.path, tmp_path, UNPROVEN.model_copy(update={"augmented_dtype": "int8"})
    )
    export = Export(exact.run, tmp_path, result)
    raw = profile_rows()
    scores = export.scores(raw)
    difference = np.abs(scores - exact.expected(raw)).max()
    assert 0 < difference < 1e-2
    with CApiSession(export.path) as session:
        actual: Any = session.run("serving_default", raw)["score"]
    np.testing.assert_allclose(actual, scores, atol=1e-6)
    types = tf.train.load_checkpoint(str(export.path / "variables" / "variables"))
    stored = types.get_variable_to_dtype_map().values()
    assert tf.int8 in stored
