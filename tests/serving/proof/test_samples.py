from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from configs.command_line import CommandError
from preprocessing.records.layout import WorkDirectory
from preprocessing.records.parsing import example_dataset
from preprocessing.records.tfrecord_file import write_records
from serving.proof import samples as samples_module
from serving.proof.samples import UNKNOWN_ID, draw_samples
from tests.runs import random_model, rich_run, written_run
from tests.scenarios import copied_scenario, list_files_anew


def validation(run: object, kind: str = "ctr") -> dict[str, np.ndarray]:
    files = WorkDirectory(run.scenario.work_dir).examples.shards("validation", kind)  # type: ignore[attr-defined]
    (batch,) = example_dataset(files, 4096)
    return {name: values.numpy() for name, values in batch.items()}


def test_examples_of_the_validation_part_are_asked_and_then_edges() -> None:
    run = written_run()
    samples = draw_samples(run.scenario, run.model, count=20)
    part = validation(run)
    rows, alone, *ranked = samples.questions
    assert samples.num_examples == 20
    assert rows.signatures == ("serving_default", "predict_examples", "classify", "regress")
    assert rows.names[20:] == samples.edge_cases
    assert len(rows.names) == len(rows.raw["user_id"]) == 20 + len(samples.edge_cases)
    for row, name in enumerate(rows.names[:20]):
        number = int(name.removeprefix("validation example "))
        for feature in ("user_id", "item_id", "user_mean_rating", "history_item_id"):
            np.testing.assert_array_equal(rows.raw[feature][row], part[feature][number])
    assert alone.names == (f"{rows.names[0]} alone",)
    assert {len(values) for values in alone.raw.values()} == {1}
    assert [question.signatures for question in ranked] == [("rank",)] * 3
    for question in ranked:
        candidates = question.raw["item_id"]
        assert len(question.raw["user_id"]) == 1
        assert len(set(candidates)) == len(candidates) == len(question.names) > 10
        assert candidates[-1] == UNKNOWN_ID
        assert b"" not in candidates


def test_the_same_samples_are_drawn_again_and_no_more_than_there_are() -> None:
    run = written_run()
    first, second = (draw_samples(run.scenario, run.model, count=10_000) for _ in range(2))
    assert first.num_examples == len(validation(run)["user_id"])
    for name, values in first.questions[0].raw.items():
        np.testing.assert_array_equal(values, second.questions[0].raw[name])


def test_rows_for_quality_are_the_first_of_the_part() -> None:
    run = written_run()
    samples = draw_samples(run.scenario, run.model, count=5, quality_rows=30)
    part = validation(run)
    for name in ("user_id", "item_id", "label"):
        np.testing.assert_array_equal(samples.quality_rows[name], part[name][:30])


def test_lists_are_asked_of_a_reranker() -> None:
    run = rich_run("prm")
    samples = draw_samples(run.scenario, run.model, count=6, quality_rows=100)
    rows, _, *ranked = samples.questions
    assert rows.signatures == ("serving_default", "predict_examples")
    assert rows.raw["item_id"].ndim == 2
    assert "profile_city" in rows.raw
    assert len(samples.quality_rows["item_id"]) == 100 // run.scenario.data.rerank.length
    for question in ranked:
        assert question.raw["item_id"].ndim == 1
        assert question.raw["item_id"][-1] == UNKNOWN_ID


def test_users_and_items_are_asked_of_a_search() -> None:
    run = rich_run("two_tower")
    samples = draw_samples(run.scenario, run.model, count=6)
    users, alone, items = samples.questions
    assert users.signatures == alone.signatures == ("serving_default", "top_k", "user_vectors")
    assert "item_id" not in users.raw
    assert items.signatures == ("item_vectors",)
    assert list(items.raw) == ["item_id"]
    assert "item_id" in samples.quality_rows


def test_searches_among_many_items_are_asked_in_smaller_requests(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = rich_run("two_tower")
    num_items = run.model.num_items
    monkeypatch.setattr(samples_module, "_SCORES_AT_ONCE", 4 * num_items + 1)
    monkeypatch.setattr(samples_module, "_QUALITY_SCORES", 9 * num_items)
    samples = draw_samples(run.scenario, run.model, count=6)
    whole = draw_samples(run.scenario, run.model, count=6, quality_rows=9)
    *parts, alone, items = samples.questions
    assert samples.rows_at_once == 4
    assert [len(part.names) for part in parts][:2] == [4, 4]
    assert len(whole.questions) == len(parts) + 2
    assert sum(len(part.names) for part in parts) == 6 + len(samples.edge_cases)
    assert len(alone.names) == 1
    assert items.signatures == ("item_vectors",)
    assert len(samples.quality_rows["user_id"]) == 9


def test_a_part_without_examples_proves_nothing(tmp_path: Path) -> None:
    scenario = copied_scenario(tmp_path, model__adapter="none")
    for file in WorkDirectory(scenario.work_dir).examples.shards("validation"):
        write_records(file, [])
    list_files_anew(WorkDirectory(scenario.work_dir).examples)
    with pytest.raises(CommandError, match="has no examples, .* export with --proof none"):
        draw_samples(scenario, random_model(scenario))
