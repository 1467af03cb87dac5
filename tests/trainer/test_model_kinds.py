from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tests.runs import WrittenRun, raw_requests, rich_run, shared_store, written_run
from trainer import model_kinds
from trainer.examples import PreparedExamples
from trainer.model_kinds import NotFiniteError, predictor_of, reason_of
from trainer.predictions import ListPredictions, RetrievalPredictions, SamplePredictions


def examples_of(run: WrittenRun, part: str = "test") -> PreparedExamples:
    return shared_store().examples(run.scenario, run.model, part)


@pytest.mark.parametrize("arm", ["hein", "ridge"])
def test_scores_are_the_models_probabilities_of_raw_features(arm: str) -> None:
    run = written_run("din", arm)
    examples = examples_of(run)
    predictions = predictor_of(run.model).predict(examples)
    assert isinstance(predictions, SamplePredictions)
    assert predictions.scores.shape == (len(examples),)
    assert predictions.scores.dtype == np.float32
    assert predictions.scores.std() > 0.01
    expected = run.model.probabilities(raw_requests(run.scenario)).numpy()
    np.testing.assert_allclose(predictions.scores, expected, atol=1e-6)
    assert predictions.task_scores == {}


def test_further_tasks_have_labels_and_scores_of_their_own() -> None:
    run = rich_run("din", tasks=True)
    examples = examples_of(run)
    predictions = predictor_of(run.model).predict(examples)
    assert isinstance(predictions, SamplePredictions)
    logits = run.model(dict(examples.features), training=False).numpy()
    np.testing.assert_allclose(predictions.scores, 1 / (1 + np.exp(-logits[:, 0])), atol=1e-6)
    loved = predictions.task_scores["loved"]
    np.testing.assert_allclose(loved, 1 / (1 + np.exp(-logits[:, 1])), atol=1e-6)
    np.testing.assert_array_equal(predictions.labels, examples.labels[:, 0])
    np.testing.assert_array_equal(predictions.task_labels["loved"], examples.labels[:, 1])


def test_a_re_ranker_scores_every_candidate_of_every_list() -> None:
    run = rich_run("prm")
    examples = examples_of(run)
    predictions = predictor_of(run.model).predict(examples)
    assert isinstance(predictions, ListPredictions)
    expected = run.model.probabilities(dict(examples.features)).numpy()
    np.testing.assert_allclose(predictions.scores, expected, atol=1e-5)
    assert predictions.scores.shape == examples.labels.shape
    assert predictions.scores[predictions.mask].std() > 0.01
    np.testing.assert_array_equal(predictions.mask, examples.features["candidate_mask"])


def test_ranks_of_retrieval_are_those_of_all_inner_products() -> None:
    run = rich_run("two_tower")
    examples = examples_of(run)
    predictions = predictor_of(run.model).predict(examples)
    assert isinstance(predictions, RetrievalPredictions)
    count = run.model.inputs_preparation.catalogue.num_items
    users = run.model.user_vectors(dict(examples.features)).numpy()
    items = run.model.item_vectors(tf.range(1, count + 1)).numpy()
    scores = users @ items.T
    own = scores[np.arange(len(examples)), examples.features["item_row"] - 1][:, np.newaxis]
    np.testing.assert_allclose(predictions.among_all.better, (scores > own + 1e-6).sum(axis=1))
    assert predictions.among_all.better.max() > predictions.among_new.better.max()


def first_examples(examples: PreparedExamples, count: int) -> PreparedExamples:
    return PreparedExamples(
        features={name: values[:count] for name, values in examples.features.items()},
        labels=examples.labels[:count],
        user_ids=examples.user_ids[:count],
        item_ids=examples.item_ids[:count],
        history_rows=None if examples.history_rows is None else examples.history_rows[:count],
    )


@pytest.mark.parametrize("kind", ["ctr", "rerank", "retrieval"])
def test_batch_boundaries_lose_and_reorder_nothing(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = {
        "ctr": lambda: written_run("din", "hein"),
        "rerank": lambda: rich_run("prm"),
        "retrieval": lambda: rich_run("two_tower"),
    }[kind]()
    examples = examples_of(run)
    column = "rank" if kind == "retrieval" else "score"
    predictor = predictor_of(run.model)
    whole = predictor.predict(examples).table().to_pandas()
    monkeypatch.setattr(model_kinds, "_BATCH", 20)
    for count in (19, 20, 41):
        table = predictor.predict(first_examples(examples, count)).table().to_pandas()
        expected = whole[whole.list_id < count] if kind == "rerank" else whole[:count]
        assert table.item_id.tolist() == expected.item_id.tolist()
        np.testing.assert_allclose(table[column], expected[column], atol=1e-5)


@pytest.mark.parametrize("backbone", ["din", "prm", "two_tower"])
def test_a_predictor_sees_the_present_weights_and_leaves_the_model_as_it_is(backbone: str) -> None:
    run = rich_run(backbone)
    examples, attributes = examples_of(run), set(vars(run.model))
    predictor = predictor_of(run.model)
    before = predictor.predict(examples).table()
    weights = run.model.trainable_weights
    original = [weight.numpy() for weight in weights]
    random = np.random.default_rng(7)
    for weight in weights:
        weight.assign_add(random.normal(scale=0.5, size=weight.shape).astype(np.float32))
    try:
        assert not predictor.predict(examples).table().equals(before)
    finally:
        for weight, value in zip(weights, original, strict=True):
            weight.assign(value)
    assert predictor.predict(examples).table().equals(before)
    assert set(vars(run.model)) == attributes


@pytest.mark.parametrize("backbone", ["din", "prm", "two_tower"])
def test_a_score_that_is_not_finite_is_an_error(backbone: str) -> None:
    run = rich_run(backbone)
    weights = run.model.trainable_weights
    original = [weight.numpy() for weight in weights]
    for weight in weights:
        weight.assign(np.full(weight.shape, np.nan))
    try:
        with pytest.raises(NotFiniteError, match=r"not finite.*training.learning_rate"):
            predictor_of(run.model).predict(examples_of(run))
    finally:
        for weight, value in zip(weights, original, strict=True):
            weight.assign(value)


class Halving(tf.keras.layers.Layer):
    """Refuses odd widths when it is called."""

    def call(self, values: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        if values.shape[-1] % 2:
            raise ValueError("the width must be even.\nReceived: `width=3`\n\nA long lecture.")
        return values[:, ::2]


def test_the_text_of_keras_is_cut_off() -> None:
    outer = tf.keras.Sequential([Halving(name="halving")])
    with pytest.raises(ValueError, match="Call arguments received by layer") as caught:
        outer(tf.ones([2, 3]))
    assert str(caught.value).startswith("Exception encountered when calling")
    assert reason_of(caught.value) == "the width must be even. Received: `width=3`"


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (
            ValueError("no such backbone. Did you mean 'din'?"),
            "no such backbone. Did you mean 'din'?",
        ),
        (TypeError("first\n\nsecond"), "first"),
        (ValueError(), "ValueError"),
    ],
)
def test_other_errors_keep_their_first_paragraph(error: Exception, reason: str) -> None:
    assert reason_of(error) == reason


def test_the_places_of_a_kernel_in_the_runtime_are_left_out() -> None:
    with pytest.raises(tf.errors.NotFoundError, match=r"\[Op:ReadFile\]") as caught:
        tf.io.read_file("absent/file")
    assert reason_of(caught.value) == "absent/file; No such file or directory"
