from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from configs.command_line import CommandError
from configs.loading import ConfigurationError
from configs.scenario import Scenario
from models.building import AnyModel, build_model
from preprocessing.records.contract import DamagedRecords
from preprocessing.records.layout import WorkDirectory
from preprocessing.records.tfrecord_file import read_records, write_records
from tests.runs import shared_store
from tests.scenarios import copied_scenario, list_files_anew, rich_scenario, tiny_scenario
from trainer import training_input
from trainer.preparation import ExampleStore
from trainer.training_input import TrainingExamples, Worker, part_examples, training_examples

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
