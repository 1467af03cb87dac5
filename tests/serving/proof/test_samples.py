from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from configs.command_line import CommandError
from configs.loading import override_scenario
from models.building import AnyModel
from preprocessing.records.contract import REQUEST_FEATURES, FeatureType, profile_feature
from preprocessing.records.layout import WorkDirectory
from preprocessing.records.parsing import example_dataset, parse_examples
from preprocessing.records.tfrecord_file import write_records
from serving.proof import kinds
from serving.proof import samples as samples_module
from serving.proof.kinds import UNKNOWN_ID
from serving.proof.samples import (
    UNKNOWN_VALUE,
    SignatureForms,
    _read,
    draw_samples,
    edge_rows,
    expected_scores,
    joined,
    serialized_examples,
)
from serving.serving_module import SERVING_MODULES
from tests.runs import WrittenRun, random_model, rich_run, written_run
from tests.scenarios import ITEMS, USERS, copied_scenario, list_files_anew
from tests.serving.exports import exported, list_rows, profile_rows, request_rows, tensors


def validation(run: object, kind: str = "ctr") -> dict[str, np.ndarray]:
    files = WorkDirectory(run.scenario.work_dir).examples.shards("validation", kind)  # type: ignore[attr-defined]
    (batch,) = example_dataset(files, 4096)
    return {name: values.numpy() for name, values in batch.items()}


def test_examples_of_the_validation_part_are_asked_and_then_edges() -> None:
    run = written_run()
    samples = draw_samples(run.scenario, run.model, count=20)
    part = validation(run)
    rows, alone, *ranked = samples.requests
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
    assert [request.signatures for request in ranked] == [("rank",)] * 3
    for request in ranked:
        candidates = request.raw["item_id"]
        assert len(request.raw["user_id"]) == 1
        assert len(set(candidates)) == len(candidates) == len(request.names) > 10
        assert candidates[-1] == UNKNOWN_ID
        assert b"" not in candidates


def test_the_same_samples_are_drawn_again_and_no_more_than_there_are() -> None:
    run = written_run()
    first, second = (draw_samples(run.scenario, run.model, count=10_000) for _ in range(2))
    assert first.num_examples == len(validation(run)["user_id"])
    for name, values in first.requests[0].raw.items():
        np.testing.assert_array_equal(values, second.requests[0].raw[name])


def test_rows_for_quality_are_the_first_of_the_part() -> None:
    run = written_run()
    samples = draw_samples(run.scenario, run.model, count=5, quality_rows=30)
    part = validation(run)
    for name in ("user_id", "item_id", "label"):
        np.testing.assert_array_equal(samples.quality_rows[name], part[name][:30])


def test_lists_are_asked_of_a_reranker() -> None:
    run = rich_run("prm")
    samples = draw_samples(run.scenario, run.model, count=6, quality_rows=100)
    rows, _, *ranked = samples.requests
    assert rows.signatures == ("serving_default", "predict_examples")
    assert rows.raw["item_id"].ndim == 2
    assert "profile_city" in rows.raw
    assert len(samples.quality_rows["item_id"]) == 100 // run.scenario.data.rerank.length
    for request in ranked:
        assert request.raw["item_id"].ndim == 1
        assert request.raw["item_id"][-1] == UNKNOWN_ID


def test_users_and_items_are_asked_of_a_search() -> None:
    run = rich_run("two_tower")
    samples = draw_samples(run.scenario, run.model, count=6)
    users, alone, items = samples.requests
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
    monkeypatch.setattr(kinds, "_SCORES_OF_A_REQUEST", 4 * num_items + 1)
    monkeypatch.setattr(kinds, "_QUALITY_SCORES", 9 * num_items)
    samples = draw_samples(run.scenario, run.model, count=6)
    whole = draw_samples(run.scenario, run.model, count=6, quality_rows=9)
    *parts, alone, items = samples.requests
    assert samples.rows_at_once == 4
    assert [len(part.names) for part in parts][:2] == [4, 4]
    assert len(whole.requests) == len(parts) + 2
    assert sum(len(part.names) for part in parts) == 6 + len(samples.edge_cases)
    assert len(alone.names) == 1
    assert items.signatures == ("item_vectors",)
    assert len(samples.quality_rows["user_id"]) == 9


@pytest.mark.parametrize(
    ("backbone", "length", "largest_request", "rows"),
    [
        ("din", None, None, 1024),
        ("din", None, 1000, 1000),
        ("prm", 10, None, 1024),
        ("prm", 10, 1005, 100),
        ("prm", 100, None, 200),
    ],
)
def test_no_more_is_asked_at_once_than_is_taken(
    backbone: str,
    length: int | None,
    largest_request: int | None,
    rows: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = written_run() if length is None else rich_run(backbone)
    scenario = override_scenario(run.scenario, {"serving.largest_request": largest_request})

    def longer(*arguments: object) -> dict[str, np.ndarray]:
        read = _read(*arguments)  # type: ignore[arg-type]
        width = length - read["item_id"].shape[1] if length else 0
        return read | {
            "item_id": np.pad(read["item_id"], [(0, 0), (0, width)], constant_values=b"")
        }

    if length is not None:
        monkeypatch.setattr(samples_module, "_read", longer)
    assert draw_samples(scenario, run.model, count=6).rows_at_once == rows


def test_a_part_without_examples_proves_nothing(tmp_path: Path) -> None:
    scenario = copied_scenario(tmp_path, model__adapter="none")
    for file in WorkDirectory(scenario.work_dir).examples.shards("validation"):
        write_records(file, [])
    list_files_anew(WorkDirectory(scenario.work_dir).examples)
    with pytest.raises(CommandError, match="has no examples, .* export with --proof none"):
        draw_samples(scenario, random_model(scenario))


def test_every_edge_differs_from_the_first_row_in_what_it_says() -> None:
    rows = request_rows()
    edges = edge_rows(rows, "ctr")
    changed = {
        name: {
            feature
            for feature, values in edge.items()
            if not np.array_equal(values, rows[feature][:1])
        }
        for name, edge in edges.items()
    }
    statistics = {"user_share_liked", "user_mean_rating", "user_log_count"}
    empty = {"history_item_id", "history_rating", *statistics}
    assert changed == {
        "unknown user": {"user_id"},
        "unknown item": {"item_id"},
        "unknown item in the history": {"history_item_id"},
        "empty history": empty,
        "unknown user with empty history": {*empty, "user_id"},
        "no user id": {"user_id"},
    }
    assert not edges["empty history"]["history_rating"].any()
    assert set(edges["empty history"]["history_item_id"].ravel()) == {b""}
    assert UNKNOWN_ID.decode() not in {*USERS, *ITEMS}
    assert 0 < int(UNKNOWN_ID) < 2**63


def test_lists_of_a_reranker_and_profiles_have_edges_of_their_own() -> None:
    edges = edge_rows(list_rows(), "rerank")
    first = list_rows()["item_id"][0].tolist()
    assert "unknown item" not in edges
    assert edges["unknown item in the list"]["item_id"].tolist() == [[UNKNOWN_ID, *first[1:]]]
    assert edges["list of one item"]["item_id"].tolist() == [[first[0], *[b""] * 5]]
    assert set(edges["empty list"]["item_id"].ravel()) == {b""}
    unknown = edges["unknown profile values"]
    assert unknown["profile_city"].ravel().tolist() == [UNKNOWN_VALUE, b""]
    assert np.isnan(unknown["profile_age"]).all()
    assert set(edges["no profile"]["profile_city"].ravel()) == {b""}


def test_a_search_has_no_candidate_to_be_unknown() -> None:
    assert "unknown item" not in edge_rows(profile_rows(), "retrieval")


@pytest.mark.parametrize("width", [0, 2])
def test_joined_lists_are_padded_at_the_end(width: int) -> None:
    short = {
        "history_item_id": np.full([1, width], b"a", dtype=object),
        "history_rating": np.ones([1, width], np.float32),
        "profile_age": np.full([1, width], 3, np.float32),
        "user_id": np.array([b"u"], object),
    }
    long = {
        "history_item_id": np.full([1, 3], b"b", dtype=object),
        "history_rating": np.full([1, 3], 2, np.float32),
        "profile_age": np.full([1, 3], 5, np.float32),
        "user_id": np.array([b"v"], object),
    }
    actual = joined([short, long])
    missing = 3 - width
    assert actual["history_item_id"].tolist() == [[b"a"] * width + [b""] * missing, [b"b"] * 3]
    assert actual["history_rating"].tolist() == [[1.0] * width + [0.0] * missing, [2.0] * 3]
    assert np.isnan(actual["profile_age"][0]).tolist() == [False] * width + [True] * missing
    assert actual["user_id"].tolist() == [b"u", b"v"]


class _Searching(tf.Module):
    @tf.function(
        input_signature=[
            tf.TensorSpec([None], tf.int64, "item_id"),
            tf.TensorSpec([None], tf.string, "text"),
        ]
    )
    def find(self, item_id: tf.Tensor, text: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"item_id": item_id, "length": tf.strings.length(text)}


@pytest.fixture(scope="module")
def whole_numbers(tmp_path_factory: pytest.TempPathFactory) -> SignatureForms:
    folder = tmp_path_factory.mktemp("whole_numbers")
    module = _Searching()
    tf.saved_model.save(module, str(folder), signatures={"serving_default": module.find})
    return SignatureForms(folder)


def test_serialized_rows_parse_back_into_the_same_rows() -> None:
    rows = profile_rows()
    features = [
        *REQUEST_FEATURES,
        profile_feature("city", "categorical"),
        profile_feature("age", "numeric"),
    ]
    parsed = parse_examples(tf.constant(serialized_examples(rows)), features)
    for name, values in rows.items():
        actual = parsed[name].numpy()
        if name == "profile_city":  # A gap before a value closes up.
            assert [{*row} - {b""} for row in actual] == [{*row} - {b""} for row in values]
        elif values.ndim == 2:
            padded = np.full_like(values, b"" if values.dtype == object else 0)
            if name == "profile_age":
                padded[:] = np.nan
            padded[:, : actual.shape[1]] = actual
            np.testing.assert_array_equal(padded, values)
        else:
            np.testing.assert_array_equal(actual, values)
    assert {feature.type for feature in features} == {FeatureType.BYTES, FeatureType.FLOAT}


def test_signatures_are_sent_features_or_examples() -> None:
    forms = SignatureForms(exported().path)
    rows = profile_rows()
    assert forms.id_type == "string"
    sent = forms.inputs("serving_default", rows)
    assert set(sent) == {feature.name for feature in REQUEST_FEATURES}
    assert all(sent[name] is rows[name] for name in sent)
    (examples,) = forms.inputs("classify", rows).items()
    assert examples[0] == "inputs"
    assert examples[1].tolist() == serialized_examples(rows).tolist()


def test_ids_become_whole_numbers_where_the_export_takes_them(
    whole_numbers: SignatureForms,
) -> None:
    raw = {"item_id": np.array([b"31", b"", b"7"], object), "text": np.array([b"1"] * 3, object)}
    sent = whole_numbers.inputs("serving_default", raw)
    assert whole_numbers.id_type == "int64"
    assert sent["item_id"].dtype == np.int64
    assert sent["item_id"].tolist() == [31, -1, 7]
    assert sent["text"] is raw["text"]


def test_an_id_that_is_no_number_is_named(whole_numbers: SignatureForms) -> None:
    with pytest.raises(CommandError, match=r"the data has b'tt001'; set serving.id_type=string"):
        whole_numbers.ids(np.array([b"1", b"tt001"], object))


class TextLengths:
    """Scores candidates in the place of a trained model, by a formula of one row alone."""

    def __init__(self, model: AnyModel):
        self.kind = model.kind
        self.inputs_preparation = model.inputs_preparation
        self.is_list = model.kind == "rerank"

    def probabilities(self, features: Mapping[str, tf.Tensor]) -> tf.Tensor:
        users, items = features["user_id"], features["item_id"]
        assert users.shape[0] == items.shape[0] and "label" not in features
        user_numbers = tf.cast(tf.strings.length(users), tf.float32) + features["user_mean_rating"]
        item_numbers = tf.cast(tf.strings.length(items), tf.float32)
        return (
            user_numbers[:, tf.newaxis] if self.is_list else user_numbers
        ) / 64 + item_numbers / 1024

    def task_probabilities(self, features: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        return {"loved": 1 - self.probabilities(features)}


def by_hand(user: bytes, mean_rating: float, item: bytes) -> float:
    return (len(user) + mean_rating) / 64 + len(item) / 1024


def scores_by_hand(raw: Mapping[str, np.ndarray]) -> np.ndarray:
    """Rows and lists of rows, or one user and as many candidates as there are."""
    users, items = zip(raw["user_id"], raw["user_mean_rating"], strict=True), raw["item_id"]
    if len(items) != len(raw["user_id"]):
        ((user, mean),) = users
        return np.array([by_hand(user, mean, item) for item in items])
    return np.array(
        [
            [by_hand(*user, item) for item in row] if items.ndim == 2 else by_hand(*user, row)
            for user, row in zip(users, items, strict=True)
        ]
    )


@pytest.mark.parametrize("backbone", ["din", "prm"])
def test_scores_are_the_models_in_the_form_of_every_signature(
    backbone: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kinds, "_BATCH", 5)
    run = rich_run(backbone)
    samples = draw_samples(run.scenario, run.model, count=12, quality_rows=40)
    expected = expected_scores(TextLengths(run.model), samples)
    asked = set()
    for request, answers in zip(samples.requests, expected.outputs, strict=True):
        scores = scores_by_hand(request.raw)
        further = {} if backbone == "prm" else {"score_loved": 1 - scores}
        forms = {
            "classify": {"scores": scores[..., np.newaxis]},
            "regress": {"outputs": scores},
        }
        assert set(answers) == set(request.signatures)
        for signature, outputs in answers.items():
            wanted = forms.get(signature, {"score": scores, **further})
            assert set(outputs) == set(wanted)
            for name, values in wanted.items():
                assert outputs[name].shape == values.shape
                np.testing.assert_allclose(outputs[name], values, rtol=0, atol=1e-6)
        asked |= {*answers}
    assert asked == {"rank", *SERVING_MODULES[run.model.kind].row_signatures}
    quality = scores_by_hand(samples.quality_rows)
    assert len(quality) == (40 if backbone == "din" else 40 // run.scenario.data.rerank.length)
    assert quality.std() > 1e-4
    np.testing.assert_allclose(expected.quality["score"], quality, rtol=0, atol=1e-6)


def searched(run: WrittenRun, raw: dict[str, np.ndarray]) -> list[list[str]]:
    """The best items of users by loops over all items."""
    users = run.model.user_vectors(tensors(raw)).numpy()
    vectors = run.model.all_item_vectors()
    item_ids = run.model.inputs_preparation.catalogue.item_ids
    collected = []
    for user, history in zip(users, raw["history_item_id"], strict=True):
        seen = {item.decode() for item in history}
        scores = [
            (float(user @ vector), item)
            for item, vector in zip(item_ids, vectors[1:], strict=True)
            if item not in seen
        ]
        collected.append([item for _, item in sorted(scores, reverse=True)])
    return collected


def test_a_search_finds_the_best_items_that_are_not_in_the_history() -> None:
    run = rich_run("two_tower")
    samples = draw_samples(run.scenario, run.model, count=8, quality_rows=20)
    expected = expected_scores(run.model, samples)
    users, _, items = samples.requests
    top_k, best = expected.outputs[0]["top_k"], searched(run, dict(users.raw))
    for row, wanted in enumerate(best):
        actual = [item.decode() for item in top_k["item_id"][row] if item]
        assert actual == wanted[: len(actual)]
        assert len(actual) == min(len(wanted), top_k["item_id"].shape[1])
        assert (np.diff(top_k["score"][row][: len(actual)]) <= 0).all()
        assert not top_k["score"][row][len(actual) :].any()
    rows = run.model.inputs_preparation.catalogue.rows(tensors(dict(items.raw))["item_id"])
    np.testing.assert_allclose(
        expected.outputs[2]["item_vectors"]["vector"],
        run.model.item_vectors(rows).numpy(),
        atol=1e-6,
    )
    assert set(expected.quality) == {"item_id", "score"}
