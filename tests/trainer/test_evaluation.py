from __future__ import annotations

import numpy as np
import pytest

from configs.command_line import CommandError
from configs.loading import ConfigurationError
from models.retrieving import RetrievalModel
from tests.runs import raw_requests, rich_run, shared_store, written_run
from tests.scenarios import tiny_scenario
from trainer.evaluation.runs import FactorizedTopK, kind_of, predict_run, read_run, require_one_kind
from trainer.examples import PreparedExamples
from trainer.model_kinds import predictor_of
from trainer.predictions import SamplePredictions
from trainer.run_folder import RunFolderError


def test_a_runs_predictions_are_its_models_scores() -> None:
    run = written_run()
    predictions = predict_run(run.folder.path, "test", shared_store())
    assert isinstance(predictions, SamplePredictions)
    raw = raw_requests(run.scenario)
    expected = run.model.probabilities(raw).numpy()
    np.testing.assert_allclose(predictions.scores, expected, atol=1e-6)
    assert predictions.user_ids.tolist() == [user.decode() for user in raw["user_id"].numpy()]
    assert predictions.item_ids.tolist() == [item.decode() for item in raw["item_id"].numpy()]


def test_without_a_store_the_result_is_the_same() -> None:
    path = written_run().folder.path
    again, first = predict_run(str(path), "test"), predict_run(path, "test", shared_store())
    assert again.table().equals(first.table())


def test_a_run_is_read_with_the_examples_of_the_part() -> None:
    run = written_run()
    scenario, model, examples = read_run(run.folder.path, "validation", shared_store())
    assert scenario == run.scenario
    assert examples is shared_store().examples(scenario, model, "validation")


@pytest.mark.parametrize(
    ("backbone", "kind"), [("din", "ctr"), ("prm", "rerank"), ("two_tower", "retrieval")]
)
def test_the_kind_follows_from_the_backbone(backbone: str, kind: str) -> None:
    assert kind_of(tiny_scenario(model__backbone=backbone)) == kind


def test_a_backbone_that_does_not_exist_has_no_kind() -> None:
    with pytest.raises(ConfigurationError, match="'dim'"):
        kind_of(tiny_scenario(model__backbone="dim"))


def test_runs_of_different_kinds_are_refused_by_name() -> None:
    runs = [rich_run("prm").folder.path, rich_run("two_tower").folder.path]
    with pytest.raises(CommandError) as raised:
        require_one_kind(runs)
    message = str(raised.value)
    assert f"{runs[0]}: rerank\n" in message and f"{runs[1]}: retrieval\n" in message
    require_one_kind(runs[:1] * 2)


def test_a_missing_run_is_refused(tmp_path) -> None:
    with pytest.raises(RunFolderError, match="holds no finished run"):
        require_one_kind([tmp_path])
    with pytest.raises(ConfigurationError, match="there is no file or folder '.*absent'"):
        require_one_kind([tmp_path / "absent"])


def examples_between(examples: PreparedExamples, start: int, end: int | None) -> PreparedExamples:
    return PreparedExamples(
        features={name: values[start:end] for name, values in examples.features.items()},
        labels=examples.labels[start:end],
        user_ids=examples.user_ids[start:end],
        item_ids=examples.item_ids[start:end],
    )


def test_it_is_the_share_of_ranks_below_k() -> None:
    run = rich_run("two_tower")
    assert isinstance(run.model, RetrievalModel)
    examples = shared_store().examples(run.scenario, run.model, "test")
    metric = FactorizedTopK(run.model)
    for part in (examples_between(examples, 0, 40), examples_between(examples, 40, None)):
        metric.add(part)
    shares = metric.shares()
    vectors = run.model.all_item_vectors()
    users = run.model.user_vectors(dict(examples.features)).numpy()
    rows = examples.features["item_row"]
    scores = users @ vectors[1:].T
    own = np.take_along_axis(scores, rows[:, np.newaxis] - 1, axis=1)
    ranks = (scores > own).sum(axis=1)
    assert rows.min() > 0
    expected = {str(k): (ranks < k).mean() for k in (1, 5, 10, 50)}
    assert shares == pytest.approx(expected)
    assert 0 < shares["10"] < 1
    metrics = predictor_of(run.model).predict(examples).metrics()
    assert {f"recall_at_{k}": share for k, share in shares.items()}.items() <= {
        key: pytest.approx(value, abs=1e-6) for key, value in metrics.items()
    }.items()
