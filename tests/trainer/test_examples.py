from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from configs.command_line import CommandError
from configs.loading import ConfigurationError
from configs.scenario import Scenario
from models.building import AnyModel, build_model
from preprocessing.records.contract import DamagedRecords
from preprocessing.records.item_tables import read_item_attributes
from preprocessing.records.layout import WorkDirectory
from preprocessing.records.tfrecord_file import read_records, write_records
from tests.example_records import examples_in
from tests.runs import shared_store
from tests.scenarios import (
    LOVED_FROM,
    copied_scenario,
    list_files_anew,
    rich_scenario,
    tiny_scenario,
)
from trainer import examples as examples_module
from trainer import training_input
from trainer.examples import (
    ExampleReader,
    ExampleStore,
    PreparedExamples,
    read_prepared_examples,
    streamed_examples,
)
from trainer.tables import read_model_tables
from trainer.training_input import TrainingExamples, Worker, part_examples, training_examples

LONG_HISTORY = {"model__attention_history_length": 40, "model__adapter": "none"}


def prepared(scenario: Scenario, part: str, kind: str = "ctr") -> PreparedExamples:
    model = build_model(scenario, shared_store().tables(scenario))
    return read_prepared_examples(scenario, model.inputs_preparation, part, kind)


def records_of(scenario: Scenario, part: str, kind: str = "ctr") -> list[dict[str, list[Any]]]:
    return examples_in(WorkDirectory(scenario.work_dir).examples.shards(part, kind))


@pytest.mark.parametrize("part", ["train", "test"])
def test_ids_labels_and_numbers_are_those_of_the_records(part: str) -> None:
    scenario = tiny_scenario(model__adapter="none")
    examples, records = prepared(scenario, part), records_of(scenario, part)
    assert len(examples) == len(records) > 100
    for name, values in (("user_id", examples.user_ids), ("item_id", examples.item_ids)):
        assert values.tolist() == [record[name][0].decode() for record in records]
    assert examples.labels.dtype == np.float32
    assert examples.labels.tolist() == [record["label"][0] for record in records]
    assert examples.labels.tolist() == [float(record["rating"][0] >= 4) for record in records]
    shares = [record["user_share_liked"][0] for record in records]
    np.testing.assert_allclose(examples.features["numeric"][:, 0], shares)
    assert {len(values) for values in examples.features.values()} == {len(records)}


@pytest.mark.parametrize("kind", ["ctr", "rerank", "retrieval"])
@pytest.mark.parametrize("part", ["train", "validation", "test"])
def test_only_training_samples_leave_their_users_fold_out_of_item_means(
    part: str, kind: str
) -> None:
    scenario = rich_scenario(model__adapter="none")
    work = WorkDirectory(scenario.work_dir)
    attributes = read_item_attributes(work.examples.item_attributes)
    row_of = {item: row for row, item in enumerate(attributes.item_ids)}
    records = records_of(scenario, part, kind)
    items = [item.decode() for record in records for item in record["item_id"]]
    rows = np.array([row_of[item] for item in items])
    sums, counts = attributes.rating_sum[rows], attributes.rating_count[rows].astype(float)
    if part == "train":
        folds = np.repeat(
            [record["user_fold"][0] for record in records],
            [len(record["item_id"]) for record in records],
        )
        sums = sums - attributes.rating_sum_by_fold[rows, folds]
        counts = counts - attributes.rating_count_by_fold[rows, folds]
    overall = attributes.rating_sum.sum() / attributes.rating_count.sum()
    features = prepared(scenario, part, kind).features
    mask = features.get("candidate_mask", np.ones(len(records), bool))
    statistics = features["numeric"][mask][:, 3:5]
    np.testing.assert_allclose(
        statistics[:, 0], (sums + 5 * overall) / (counts + 5) - overall, atol=1e-5
    )
    np.testing.assert_allclose(statistics[:, 1], np.log1p(counts), atol=1e-5)


def test_lists_keep_candidates_labels_and_a_mask() -> None:
    scenario = rich_scenario()
    examples, records = prepared(scenario, "test", "rerank"), records_of(scenario, "test", "rerank")
    lengths = [len(record["item_id"]) for record in records]
    length = scenario.data.rerank.length
    assert len(examples) == len(records) > 20
    assert min(lengths) < max(lengths) == length
    assert examples.labels.shape == examples.item_ids.shape == (len(records), length)
    catalogue = ["", *read_model_tables(scenario).catalogue.item_ids]
    for row, record in enumerate(records):
        candidates = [item.decode() for item in record["item_id"]]
        padding = [""] * (length - lengths[row])
        assert examples.item_ids[row].tolist() == [*candidates, *padding]
        assert examples.labels[row].tolist() == [*record["label"], *[0.0] * len(padding)]
        mask = examples.features["candidate_mask"][row]
        assert mask.tolist() == [bool(item) for item in examples.item_ids[row]]
        rows = examples.features["item_row"][row, : lengths[row]]
        assert [catalogue[item] for item in rows] == candidates
    users = [record["user_id"][0].decode() for record in records]
    assert examples.user_ids.tolist() == users
    assert examples.features["knowledge_row/item"].shape == (len(records), length)
    assert examples.features["knowledge_row/user"].shape == (len(records),)
    (label,) = examples.label_columns().items()
    assert label[0] == "label" and len(label[1]) == sum(lengths)
    assert label[1].sum() == sum(sum(record["label"]) for record in records)


def test_retrieval_examples_name_the_chosen_item_and_the_whole_history() -> None:
    scenario = rich_scenario(model__attention_history_length=3)
    examples = prepared(scenario, "test", "retrieval")
    records = records_of(scenario, "test", "retrieval")
    assert len(examples) == len(records) > 30
    assert examples.labels.tolist() == [1.0] * len(records)
    catalogue = ["", *read_model_tables(scenario).catalogue.item_ids]
    assert examples.features["history_row"].shape[1] == 3
    for row, record in enumerate(records):
        (chosen,) = record["item_id"]
        assert examples.item_ids[row] == chosen.decode()
        assert catalogue[examples.features["item_row"][row]] == chosen.decode()
        history = [catalogue[item] for item in examples.history_rows[row] if item]
        assert history == [item.decode() for item in record["history_item_id"]]
    assert prepared(scenario, "test").history_rows is None


def test_a_chosen_item_outside_the_catalogue_is_damage(tmp_path: Path) -> None:
    scenario = rich_scenario(work_dir=str(tmp_path), model__adapter="none")
    shutil.copytree(Path(rich_scenario().work_dir) / "examples", tmp_path / "examples")
    shard = WorkDirectory(tmp_path).examples.shards("test", "retrieval")[0]
    example = tf.train.Example.FromString(next(iter(read_records(shard))))
    example.features.feature["item_id"].bytes_list.value[0] = b"nowhere"
    write_records(shard, [example.SerializeToString()])
    list_files_anew(WorkDirectory(tmp_path).examples)
    with pytest.raises(DamagedRecords, match="items that item_attributes.parquet lacks"):
        prepared(scenario, "test", "retrieval")


@pytest.mark.parametrize("kind", ["ctr", "rerank", "retrieval"])
def test_profiles_are_read_for_every_kind(kind: str) -> None:
    scenario = rich_scenario(model__adapter="none")
    features = prepared(scenario, "train", kind).features
    records = records_of(scenario, "train", kind)
    cities = (Path(scenario.work_dir) / "examples/vocabularies/profile_city.txt").read_text()
    index_of = {city: index for index, city in enumerate(cities.split(), start=2)}
    ages = [record["profile_age"] or [np.nan] for record in records]
    np.testing.assert_allclose(features["profile/age"], ages)
    assert 0 < np.isnan(ages).sum() < len(ages)
    for row, record in enumerate(records):
        known = [index_of[city.decode()] for city in record["profile_city"]]
        assert [index for index in features["profile/city"][row] if index] == known
    without = rich_scenario(model__adapter="none", model__user_profile=False)
    assert not any(name.startswith("profile") for name in prepared(without, "train", kind).features)


def test_further_tasks_are_columns_behind_the_label() -> None:
    scenario = rich_scenario(model__adapter="none", model__tasks={"loved": 0.5})
    examples, records = prepared(scenario, "train"), records_of(scenario, "train")
    assert examples.labels.shape == (len(records), 2)
    assert examples.labels[:, 0].tolist() == [record["label"][0] for record in records]
    loved = [float(record["rating"][0] >= LOVED_FROM) for record in records]
    assert examples.labels[:, 1].tolist() == loved
    columns = examples.label_columns(["loved"])
    assert list(columns) == ["label", "loved"] and columns["loved"].tolist() == loved


@pytest.mark.parametrize(
    ("kind", "models"), [("rerank", "re-rankers"), ("retrieval", "retrieval models")]
)
def test_a_kind_of_examples_that_was_not_made_is_asked_for(kind: str, models: str) -> None:
    scenario = tiny_scenario(model__adapter="none")
    with pytest.raises(ConfigurationError) as raised:
        prepared(scenario, "train", kind)
    message = str(raised.value)
    assert message.startswith(f"data.examples: {models} are trained on '{kind}' examples")
    assert f"Add {kind} and run 'python -m preprocessing examples' again" in message


def test_histories_of_batches_of_different_width_are_padded_in_front(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scenario = tiny_scenario(**LONG_HISTORY)
    monkeypatch.setattr(examples_module, "_READ_BATCH", 7)
    features = prepared(scenario, "test").features
    records = records_of(scenario, "test")
    lengths = [min(len(record["history_item_id"]), 40) for record in records]
    assert min(lengths) < max(lengths) == features["history_row"].shape[1]
    catalogue = [None, *read_model_tables(scenario).catalogue.item_ids]
    for row, (record, length) in enumerate(zip(records, lengths, strict=True)):
        items = [catalogue[index] for index in features["history_row"][row, -length:]]
        assert items == [item.decode() for item in record["history_item_id"][-length:]]
        np.testing.assert_array_equal(
            features["history_rating"][row, -length:], record["history_rating"][-length:]
        )
        assert features["history_mask"][row, -length:].all()
        assert not features["history_mask"][row, :-length].any()


def test_the_size_of_reading_batches_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    scenario = tiny_scenario(model__match="ridge")
    whole = prepared(scenario, "test")
    monkeypatch.setattr(examples_module, "_READ_BATCH", 50)
    in_batches = prepared(scenario, "test")
    assert set(whole.features) == set(in_batches.features)
    for name, values in whole.features.items():
        np.testing.assert_allclose(values, in_batches.features[name], atol=1e-5, err_msg=name)


def test_a_cut_off_file_is_refused(tmp_path: Path) -> None:
    scenario = copied_scenario(tmp_path, model__adapter="none")
    path = WorkDirectory(scenario.work_dir).examples.shards("test")[0]
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DamagedRecords, match=path.name):
        prepared(scenario, "test")


@pytest.mark.parametrize("kind", ["ctr", "rerank", "retrieval"])
def test_streamed_batches_are_the_prepared_examples_in_order(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    scenario = rich_scenario(model__adapter="none")
    whole = prepared(scenario, "test", kind)
    monkeypatch.setattr(examples_module, "_READ_BATCH", 30)
    model = build_model(scenario, shared_store().tables(scenario))
    batches = list(streamed_examples(scenario, model.inputs_preparation, "test", kind))
    assert [len(batch) for batch in batches[:-1]] == [30] * (len(batches) - 1)
    assert len(batches) == -(-len(whole) // 30) > 1
    for name in ("user_ids", "item_ids", "labels"):
        joined = np.concatenate([getattr(batch, name) for batch in batches])
        np.testing.assert_array_equal(joined, getattr(whole, name))
    assert all(batch.features.keys() == whole.features.keys() for batch in batches)
    joined = np.concatenate([batch.features["numeric"] for batch in batches])
    np.testing.assert_allclose(joined, whole.features["numeric"], atol=1e-5)


def test_named_files_and_a_limit_take_the_place_of_the_whole_part(tmp_path: Path) -> None:
    scenario = tiny_scenario(model__adapter="none")
    shards = WorkDirectory(scenario.work_dir).examples.shards("test")
    records = [record for shard in shards for record in read_records(shard)]
    files = [tmp_path / "b", tmp_path / "a"]
    write_records(files[0], records[50:])
    write_records(files[1], records[:50])
    preparation = build_model(scenario, shared_store().tables(scenario)).inputs_preparation
    whole = prepared(scenario, "test")

    def users(**options: object) -> list[str]:
        return read_prepared_examples(scenario, preparation, "test", **options).user_ids.tolist()

    expected = whole.user_ids.tolist()
    assert users(files=files) == [*expected[50:], *expected[:50]]
    assert users(files=[str(files[1])], limit=7) == expected[:7]
    assert users(limit=60) == expected[:60]
    assert users(limit=10_000) == expected
    with pytest.raises(DamagedRecords, match="absent"):
        users(files=[tmp_path / "absent"])


def test_histories_longer_than_anything_reads_are_cut_before_they_are_looked_up() -> None:
    # Attention reads 3 interactions, the match 5: whatever is older changes nothing.
    options = {"model__match": "means", "model__attention_history_length": 3}
    scenario = tiny_scenario(model__knowledge_match__history_length=5, **options)
    model = build_model(scenario, shared_store().tables(scenario))
    reader = ExampleReader(scenario, model.inputs_preparation, "test")
    serialized = [
        tf.train.Example.FromString(record)
        for record in read_records(WorkDirectory(scenario.work_dir).examples.shards("test")[0])
    ]
    shortened = [tf.train.Example.FromString(each.SerializeToString()) for each in serialized]
    for example in shortened:
        feature = example.features.feature
        del feature["history_item_id"].bytes_list.value[:-5]
        del feature["history_rating"].float_list.value[:-5]
    whole, cut = (
        reader.prepared(tf.constant([each.SerializeToString() for each in examples]))
        for examples in (serialized, shortened)
    )
    assert max(len(x.features.feature["history_rating"].float_list.value) for x in serialized) > 10
    for name, values in whole.items():
        np.testing.assert_array_equal(values, cut[name], err_msg=name)


def test_a_batch_for_training_has_features_and_labels_alone() -> None:
    scenario = rich_scenario(model__tasks={"loved": 0.5})
    model = build_model(scenario, shared_store().tables(scenario))
    reader = ExampleReader(scenario, model.inputs_preparation, "train")
    records = list(read_records(reader.shards()[0]))[:9]
    features, labels = reader.batch(tf.constant(records))
    assert reader.label_names == ["label", "label_loved"]
    expected = records_of(scenario, "train")[:9]
    assert labels[:, 0].numpy().tolist() == [record["label"][0] for record in expected]
    assert labels[:, 1].numpy().tolist() == [
        record["rating"][0] >= LOVED_FROM for record in expected
    ]
    assert features["item_row"].shape == (9,)
    assert not {"user_id", "item_id", *reader.label_names} & features.keys()


BASE = {"model__match": "ridge", "knowledge__sources": ["item"]}


@pytest.fixture(scope="module")
def store() -> ExampleStore:
    return ExampleStore()


def examples(store: ExampleStore, scenario: Scenario, part: str = "test") -> PreparedExamples:
    model = build_model(scenario, store.tables(scenario))
    return store.examples(scenario, model, part)


@pytest.mark.parametrize(
    "changes",
    [
        {"model__backbone": "dcnv2"},
        {"training__seed": 9, "training__epochs": 5},
        {"run_dir": "elsewhere", "model__embedding_dimension": 4, "model__hein__expert_units": [4]},
    ],
)
def test_models_that_read_the_same_inputs_share_them(
    store: ExampleStore, changes: dict[str, object]
) -> None:
    first, second = tiny_scenario(**BASE), tiny_scenario(**BASE, **changes)
    assert store.tables(first) is store.tables(second)
    assert examples(store, first) is examples(store, second)


def test_what_was_prepared_anew_is_read_anew(tmp_path: Path) -> None:
    store, scenario = ExampleStore(), copied_scenario(tmp_path, **BASE)
    tables, before = store.tables(scenario), examples(store, scenario)
    assert store.tables(scenario) is tables and examples(store, scenario) is before
    manifest = WorkDirectory(scenario.work_dir).knowledge("item").manifest
    manifest.write_text(manifest.read_text() + " ")
    assert store.tables(scenario) is not tables and examples(store, scenario) is not before


def test_only_the_latest_are_kept() -> None:
    store = ExampleStore()
    first, *others = (
        tiny_scenario(**{**BASE, **changes})
        for changes in (
            {"model__match": "none"},
            {"model__match": "means"},
            {"model__match": "ridge"},
            {"model__adapter": "none", "model__match": "none"},
        )
    )
    before = examples(store, first)
    for other in others[:2]:
        examples(store, other)
        assert examples(store, first) is before
    latest = [examples(store, other) for other in others]
    assert all(examples(store, other) is one for other, one in zip(others, latest, strict=True))
    again = examples(store, first)
    assert again is not before
    np.testing.assert_array_equal(again.labels, before.labels)


def test_parts_are_apart(store: ExampleStore) -> None:
    scenario = tiny_scenario(**BASE)
    test, validation = examples(store, scenario), examples(store, scenario, "validation")
    assert len(test) != len(validation)


@pytest.mark.parametrize(
    ("changes", "feature"),
    [
        ({"model__match": "means"}, "match"),
        ({"model__match": "none"}, "match"),
        ({"model__knowledge_match__history_length": 3}, "match"),
        ({"model__attention_history_length": 4}, "history_row"),
        ({"knowledge__sources": ["item", "user"]}, "knowledge_row/user"),
        ({"model__adapter": "none"}, "knowledge_row/item"),
        ({"model__adapter": "replace_id"}, "knowledge_row/item"),
        ({"model__history_knowledge": True}, "history_knowledge_row/item"),
        ({"model__prior": True}, "numeric"),
        ({"model__knowledge_match__learned": True}, "match"),
    ],
)
def test_models_that_read_other_inputs_do_not_share(
    store: ExampleStore, changes: dict[str, object], feature: str
) -> None:
    first = examples(store, tiny_scenario(**BASE)).features
    second = examples(store, tiny_scenario(**{**BASE, **changes})).features
    assert not np.array_equal(first.get(feature), second.get(feature))


def test_kinds_of_models_have_examples_of_their_own(store: ExampleStore) -> None:
    lists, chosen, samples = (
        examples(store, rich_scenario(model__backbone=backbone))
        for backbone in ("prm", "two_tower", "din")
    )
    assert lists.features["item_row"].ndim == 2 and chosen.history_rows is not None
    assert len({len(lists), len(chosen), len(samples)}) == 3
    assert examples(store, rich_scenario(model__backbone="dlcm")) is lists


@pytest.mark.parametrize(
    ("changes", "differs"),
    [
        ({"model__tasks": {"loved": 1}}, "labels"),
        ({"model__user_profile": False}, "features"),
    ],
)
def test_further_labels_and_profiles_tell_examples_apart(
    store: ExampleStore, changes: dict[str, object], differs: str
) -> None:
    plain = {"model__adapter": "none"}
    first = examples(store, rich_scenario(**plain))
    second = examples(store, rich_scenario(**plain, **changes))
    assert (first.labels.shape != second.labels.shape) is (differs == "labels")
    assert (first.features.keys() != second.features.keys()) is (differs == "features")
    heavier = examples(store, rich_scenario(**plain, model__tasks={"loved": 9}))
    assert heavier is not first
    if differs == "labels":
        assert heavier is second


def test_settings_that_contradict_the_data_are_refused_whatever_is_in_memory(
    store: ExampleStore,
) -> None:
    store.tables(tiny_scenario(**BASE))
    with pytest.raises(ConfigurationError, match="positive_rating: 4.5 .* built with 4.0"):
        store.tables(tiny_scenario(**BASE, data__positive_rating=4.5))


def test_tables_of_other_sources_are_apart(store: ExampleStore) -> None:
    item = store.tables(tiny_scenario(**BASE))
    user = store.tables(tiny_scenario(knowledge__sources=["user"]))
    assert set(item.knowledge) == {"item"} and set(user.knowledge) == {"user"}


PLAIN = {"model__adapter": "none"}
KINDS = {"din": "ctr", "prm": "rerank", "two_tower": "retrieval"}


def built(scenario: Scenario) -> AnyModel:
    return build_model(scenario, shared_store().tables(scenario))


def sources(
    scenario: Scenario, worker: Worker | None = None, files: list[Path] | None = None
) -> TrainingExamples:
    return training_examples(scenario, built(scenario), shared_store(), worker or Worker(), files)


def counts(scenario: Scenario) -> dict[str, dict[str, int]]:
    manifest = WorkDirectory(scenario.work_dir).examples.manifest
    return json.loads(manifest.read_text(encoding="utf-8"))["counts"]["examples"]


def labels_of(examples: TrainingExamples, epoch: int = 0) -> list[float]:
    batches = examples.input.epoch(epoch).as_numpy_iterator()
    return np.concatenate([labels.ravel() for _, labels in batches]).tolist()


@pytest.mark.parametrize("backbone", KINDS)
@pytest.mark.parametrize("form", ["memory", "stream"])
def test_both_forms_have_all_examples_of_the_kind(form: str, backbone: str) -> None:
    scenario = rich_scenario(model__backbone=backbone, training__input=form, **PLAIN)
    examples = sources(scenario)
    count = counts(scenario)[KINDS[backbone]]["train"]
    assert examples.input.num_examples == count
    assert examples.input.steps == -(-count // scenario.training.batch_size)
    whole = shared_store().examples(scenario, built(scenario), "train")
    assert sorted(labels_of(examples)) == sorted(whole.labels.ravel().tolist())
    assert examples.is_whole is (form == "memory")
    np.testing.assert_array_equal(examples.sample().user_ids, whole.user_ids)


@pytest.mark.parametrize("form", ["memory", "stream"])
def test_batch_size_seed_and_share_are_passed_on(form: str) -> None:
    options = {"training__input": form, "training__batch_size": 100, **PLAIN}
    whole = sources(tiny_scenario(**options))
    assert len(labels_of(whole)) == whole.input.num_examples
    share = sources(tiny_scenario(**options), Worker(0, 2, replicas=2))
    first, second = (next(iter(each.input.epoch(0)))[1] for each in (whole, share))
    np.testing.assert_array_equal(second, first[::2])
    other = next(iter(sources(tiny_scenario(training__seed=2, **options)).input.epoch(0)))[1]
    assert not np.array_equal(other, first)


def test_the_buffer_decides_how_far_a_stream_is_shuffled() -> None:
    options = {"training__input": "stream", **PLAIN}
    shard = WorkDirectory(tiny_scenario(**options).work_dir).examples.shards("train")[0]
    one_by_one, together = (
        labels_of(sources(tiny_scenario(training__shuffle_buffer=size, **options), files=[shard]))
        for size in (1, 1000)
    )
    examples = [tf.train.Example.FromString(record) for record in read_records(shard)]
    labels = [each.features.feature["label"].float_list.value[0] for each in examples]
    assert one_by_one == labels
    assert sorted(together) == sorted(labels) and together != labels


@pytest.mark.parametrize("form", ["memory", "stream"])
def test_named_files_take_the_place_of_the_work_directorys(tmp_path: Path, form: str) -> None:
    scenario = tiny_scenario(training__input=form, **PLAIN)
    shard = WorkDirectory(scenario.work_dir).examples.shards("validation")[0]
    records = list(read_records(shard))
    files = [tmp_path / "a", tmp_path / "b"]
    write_records(files[0], records[:30])
    write_records(files[1], records[30:])
    store = ExampleStore()
    model = built(scenario)
    examples = training_examples(scenario, model, store, Worker(), [str(path) for path in files])
    assert examples.input.num_examples == len(records) > 30
    assert len(labels_of(examples)) == len(examples.sample()) == len(records)
    # The store knows parts by the scenario alone.
    assert len(store.examples(scenario, model, "train")) == counts(scenario)["ctr"]["train"]


def test_statistics_of_a_stream_come_from_its_first_examples(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(training_input, "_SAMPLED", 70)
    scenario = tiny_scenario(training__input="stream", **PLAIN)
    sample = sources(scenario).sample()
    whole = shared_store().examples(scenario, built(scenario), "train")
    assert sample.user_ids.tolist() == whole.user_ids[:70].tolist()


def test_a_limit_keeps_the_first_examples_and_leaves_the_store_alone() -> None:
    scenario = tiny_scenario(**PLAIN)
    model, store = built(scenario), ExampleStore()
    limited = part_examples(scenario, model, store, "validation", limit=20)
    whole = part_examples(scenario, model, store, "validation")
    assert len(limited) == 20 < len(whole)
    assert limited.item_ids.tolist() == whole.item_ids[:20].tolist()
    assert part_examples(scenario, model, store, "validation") is whole


@pytest.mark.parametrize("manifest", [None, "{", "[]", '{"counts": {"examples": {"ctr": {}}}}'])
def test_a_manifest_without_counts_is_damage(tmp_path: Path, manifest: str | None) -> None:
    scenario = copied_scenario(tmp_path, training__input="stream", **PLAIN)
    model = built(scenario)
    path = WorkDirectory(scenario.work_dir).examples.manifest
    path.unlink() if manifest is None else path.write_text(manifest)
    with pytest.raises(DamagedRecords, match=r"manifest.json: cannot be read .* again"):
        training_examples(scenario, model, shared_store(), Worker())


@pytest.mark.parametrize("counted", [True, False])
@pytest.mark.parametrize("form", ["memory", "stream"])
def test_a_part_without_examples_is_named(tmp_path: Path, form: str, counted: bool) -> None:
    scenario = copied_scenario(tmp_path, training__input=form, **PLAIN)
    model = built(scenario)
    directory = WorkDirectory(scenario.work_dir).examples
    shards = directory.shards("train")
    for path in shards:
        write_records(path, [])
    list_files_anew(directory)
    contents = json.loads(directory.manifest.read_text(encoding="utf-8"))
    contents["counts"]["examples"]["ctr"]["train"] = 0
    directory.manifest.write_text(json.dumps(contents))
    with pytest.raises(CommandError, match="part 'train' in .* has no ctr examples; look at"):
        training_examples(scenario, model, ExampleStore(), Worker(), None if counted else [*shards])


@pytest.mark.parametrize("form", ["memory", "stream"])
def test_examples_that_were_not_made_are_asked_for(form: str) -> None:
    scenario = tiny_scenario(training__input=form, **PLAIN)
    lists = rich_scenario(model__backbone="prm", **PLAIN)
    with pytest.raises(ConfigurationError, match="re-rankers are trained on 'rerank' examples"):
        training_examples(scenario, built(lists), ExampleStore(), Worker())
