from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from models.retrieving import RetrievalModel
from tests.runs import rich_run, shared_store
from trainer import examples as examples_module
from trainer.evaluation.runs import run_scores
from trainer.examples import PreparedExamples
from trainer.model_kinds import predictor_of


@pytest.mark.parametrize("backbone", ["din", "prm", "two_tower"])
def test_a_part_in_batches_has_the_predictions_of_the_whole(
    backbone: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = rich_run(backbone)
    examples = shared_store().examples(run.scenario, run.model, "test")
    whole = predictor_of(run.model).predict(examples).table()
    monkeypatch.setattr(examples_module, "_READ_BATCH", 13)
    seen: list[PreparedExamples] = []
    scores = run_scores(run.scenario, run.model, "test", seen.append)
    assert (scores.kind, list(scores.tasks), scores.part) == (run.model.kind, [], "test")
    tables = list(scores.tables())
    assert len(tables) == len(seen) > 2
    actual = pa.concat_tables(tables)
    assert actual.num_rows == whole.num_rows
    for name in whole.column_names:
        if name == "score":
            np.testing.assert_allclose(actual[name], whole[name], atol=1e-6)
        else:
            assert actual[name].to_pylist() == whole[name].to_pylist()


def test_further_tasks_are_named() -> None:
    run = rich_run("din", tasks=True)
    scores = run_scores(run.scenario, run.model, "validation")
    assert list(scores.tasks) == ["loved"]
    assert "score_loved" in next(iter(scores.tables())).column_names


def test_items_are_computed_once_for_all_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    run = rich_run("two_tower")
    assert isinstance(run.model, RetrievalModel)
    computed = []
    original = type(run.model).all_item_vectors
    monkeypatch.setattr(
        type(run.model),
        "all_item_vectors",
        lambda model: computed.append(model) or original(model),
    )
    monkeypatch.setattr(examples_module, "_READ_BATCH", 13)
    assert len(list(run_scores(run.scenario, run.model, "test").tables())) > 2
    assert len(computed) == 1
