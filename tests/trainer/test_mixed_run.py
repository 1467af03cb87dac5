from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tests.runs import shared_store
from tests.scenarios import tiny_scenario
from tests.trainer.remembering import remember_models
from trainer.evaluation.runs import predict_run
from trainer.model_kinds import predictor_of
from trainer.training import train


def test_a_run_in_mixed_precision_is_served_in_float32_and_scores_alike(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = remember_models(monkeypatch)
    scenario = tiny_scenario(
        run_dir=str(tmp_path / "run"),
        model__match="ridge",
        training__precision="mixed_bfloat16",
    )
    result = train(scenario, shared_store(), progress=False)
    assert tf.keras.mixed_precision.global_policy().name == "float32"
    (mixed,) = models
    assert {weight.dtype for weight in mixed.trainable_weights} == {tf.float32}
    examples = shared_store().examples(scenario, mixed, "validation")
    in_training = predictor_of(mixed).predict(examples)
    again = predict_run(result["run"], "validation", shared_store())
    np.testing.assert_allclose(again.scores, in_training.scores, atol=1e-2)
    assert np.abs(again.scores - in_training.scores).max() > 0
    metrics = again.metrics()
    for name in ("auc", "logloss"):
        assert metrics[name] == pytest.approx(result["validation"][name], abs=1e-2)
