from __future__ import annotations

import numpy as np

from serving.export import serving_module
from tests.runs import random_model
from tests.scenarios import rich_scenario
from tests.serving.exports import (
    list_rows,
    one_user_request,
    profile_rows,
    serialized_examples,
    tensors,
    variant_scenario,
)


def test_tasks_are_scored_beside_the_label() -> None:
    model = random_model(variant_scenario("linear"))
    raw = tensors(profile_rows())
    label = model.probabilities(raw).numpy()
    loved = model.task_probabilities(raw)["loved"].numpy()
    scores = serving_module(model).scores(raw)
    assert list(scores) == ["score", "score_loved"]
    assert label.std() > 0.005 and loved.std() > 0.005
    np.testing.assert_allclose(scores["score"], label, atol=1e-6)
    np.testing.assert_allclose(scores["score_loved"], loved, atol=1e-6)


def test_one_users_features_serve_all_candidates() -> None:
    module = serving_module(random_model(variant_scenario("hein")))
    for row in (0, 10):
        ranked, repeated = (tensors(raw) for raw in one_user_request(row, rows=profile_rows()))
        np.testing.assert_allclose(
            module.scores(ranked)["score"], module.scores(repeated)["score"], atol=1e-6
        )


def test_examples_may_lack_profiles() -> None:
    module = serving_module(random_model(rich_scenario(model__adapter="none")))
    rows = profile_rows()
    unknown = {
        **rows,
        "profile_city": np.full([12, 1], b"", dtype=object),
        "profile_age": np.full([12, 1], np.nan, np.float32),
    }
    without = {name: values for name, values in rows.items() if not name.startswith("profile_")}
    expected = module.scores(tensors(unknown))["score"].numpy()
    assert expected.std() > 0.01
    assert np.abs(module.scores(tensors(rows))["score"].numpy() - expected).max() > 1e-3
    signature = module.signatures()["predict_examples"]
    examples = tensors({"examples": serialized_examples(without)})["examples"]
    np.testing.assert_allclose(signature(examples=examples)["score"], expected, atol=1e-6)


def test_a_list_alone_scores_as_among_others() -> None:
    model = random_model(variant_scenario("prm"))
    raw = list_rows()
    expected = model.probabilities(tensors(raw)).numpy()
    assert expected.std() > 0.01
    module = serving_module(model)
    np.testing.assert_allclose(module.scores(tensors(raw))["score"], expected, atol=1e-6)
    for row in range(len(expected)):
        one = {name: values[row : row + 1] for name, values in raw.items()}
        scores = module.list_scores(tensors({**one, "item_id": raw["item_id"][row]}))["score"]
        np.testing.assert_allclose(scores, expected[row], atol=1e-6)
        assert not scores.numpy()[raw["item_id"][row] == b""].any()
