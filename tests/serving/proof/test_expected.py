from __future__ import annotations

import numpy as np
import pytest

from serving.proof.expected import expected_scores
from serving.proof.samples import draw_samples
from tests.runs import WrittenRun, rich_run
from tests.serving.exports import tensors


def test_scores_of_rows_are_the_models_in_the_form_of_every_signature() -> None:
    run = rich_run("din", tasks=True)
    samples = draw_samples(run.scenario, run.model, count=12, quality_rows=40)
    expected = expected_scores(run.model, samples)
    raw = tensors(samples.questions[0].raw)
    scores = run.model.probabilities(raw).numpy()
    loved = run.model.task_probabilities(raw)["loved"].numpy()
    answers = expected.answers[0]
    assert scores.std() > 0.005
    for signature in ("serving_default", "predict_examples"):
        assert set(answers[signature]) == {"score", "score_loved"}
        np.testing.assert_allclose(answers[signature]["score"], scores, rtol=0, atol=1e-6)
        np.testing.assert_allclose(answers[signature]["score_loved"], loved, rtol=0, atol=1e-6)
    assert set(answers["classify"]) == {"scores"}
    np.testing.assert_allclose(answers["classify"]["scores"], scores[:, np.newaxis], atol=1e-6)
    np.testing.assert_allclose(answers["regress"]["outputs"], scores, atol=1e-6)
    assert expected.quality["score"].shape == (40,)


@pytest.mark.parametrize("backbone", ["din", "prm"])
def test_ranked_candidates_have_the_scores_of_the_user_beside_each(backbone: str) -> None:
    run = rich_run(backbone)
    samples = draw_samples(run.scenario, run.model, count=8, quality_rows=20)
    expected = expected_scores(run.model, samples)
    for question, answers in zip(samples.questions, expected.answers, strict=True):
        if question.signatures != ("rank",):
            continue
        items = question.raw["item_id"]
        raw = {name: values for name, values in question.raw.items() if name != "item_id"}
        if backbone == "prm":
            rows = {**raw, "item_id": items[np.newaxis]}
            scores = run.model.probabilities(tensors(rows)).numpy()[0]
        else:
            repeated = {name: np.repeat(values, len(items), axis=0) for name, values in raw.items()}
            rows = {**repeated, "item_id": items}
            scores = run.model.probabilities(tensors(rows)).numpy()
        np.testing.assert_allclose(answers["rank"]["score"], scores, rtol=0, atol=1e-6)


def searched(run: WrittenRun, raw: dict[str, np.ndarray]) -> list[list[str]]:
    """The best items of users by loops over all items."""
    users = run.model.user_vectors(tensors(raw)).numpy()
    vectors = run.model.all_item_vectors()
    item_ids = run.model.inputs_preparation.catalogue.item_ids
    found = []
    for user, history in zip(users, raw["history_item_id"], strict=True):
        seen = {item.decode() for item in history}
        scores = [
            (float(user @ vector), item)
            for item, vector in zip(item_ids, vectors[1:], strict=True)
            if item not in seen
        ]
        found.append([item for _, item in sorted(scores, reverse=True)])
    return found


def test_a_search_finds_the_best_items_that_are_not_in_the_history() -> None:
    run = rich_run("two_tower")
    samples = draw_samples(run.scenario, run.model, count=8, quality_rows=20)
    expected = expected_scores(run.model, samples)
    users, _, items = samples.questions
    top_k, best = expected.answers[0]["top_k"], searched(run, dict(users.raw))
    for row, wanted in enumerate(best):
        found = [item.decode() for item in top_k["item_id"][row] if item]
        assert found == wanted[: len(found)]
        assert len(found) == min(len(wanted), top_k["item_id"].shape[1])
        assert (np.diff(top_k["score"][row][: len(found)]) <= 0).all()
        assert not top_k["score"][row][len(found) :].any()
    rows = run.model.inputs_preparation.catalogue.rows(tensors(dict(items.raw))["item_id"])
    np.testing.assert_allclose(
        expected.answers[2]["item_vectors"]["vector"],
        run.model.item_vectors(rows).numpy(),
        atol=1e-6,
    )
    assert set(expected.quality) == {"item_id", "score"}
