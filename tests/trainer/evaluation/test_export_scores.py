from __future__ import annotations

import gzip
import shutil
from pathlib import Path

import pytest
import tensorflow as tf

from configs.command_line import CommandError
from configs.loading import ConfigurationError, override_scenario
from configs.scenario import Scenario
from configs.serving import ALWAYS_TAKEN
from preprocessing.records.layout import WorkDirectory
from serving.serving_module import serving_module
from tests.scenarios import copied_scenario, list_files_anew, tiny_scenario
from tests.serving.exports import Export, exported, exported_variant
from trainer.evaluation.exports import export_scores, saved_model_in
from trainer.evaluation.part_metrics import PartMetrics
from trainer.evaluation.runs import evaluate_scores_of, run_scores
from trainer.run_folder import RunFolder

SLICES = ["item_popularity", "knowledge.item", "cold_user", "profile.city"]


def assert_judged_alike(export: Export, slices: list[str]) -> PartMetrics:
    """The export and its run have the same metrics."""
    # The run's folder, because an export changes the model that it was given.
    scenario, model = RunFolder(export.run.folder.path).load_model()
    run_metrics = evaluate_scores_of(run_scores(scenario, model, "test"), slices)
    export_metrics = evaluate_scores_of(export_scores(export.path, scenario, "test"), slices)
    tasks = [each.metrics.pop("tasks", {}) for each in (run_metrics, export_metrics)]
    assert list(tasks[0]) == list(tasks[1])
    for task, metrics in tasks[0].items():
        assert tasks[1][task] == pytest.approx(metrics, abs=1e-6)
    assert export_metrics.metrics == pytest.approx(run_metrics.metrics, abs=1e-6)
    assert list(export_metrics.slices) == slices
    for name, groups in run_metrics.slices.items():
        assert list(groups) == list(export_metrics.slices[name])
        for group, metrics in groups.items():
            assert export_metrics.slices[name][group] == pytest.approx(metrics, abs=1e-6)
    return export_metrics


@pytest.mark.parametrize("name", ["linear", "prm", "two_tower"])
def test_an_export_is_judged_like_its_run(name: str) -> None:
    actual = assert_judged_alike(exported_variant(name), SLICES)
    assert actual.metrics["n"] > 50


@pytest.mark.parametrize("name", ["prm", pytest.param("two_tower", marks=pytest.mark.slow)])
def test_an_export_with_the_least_limit_of_candidates_is_judged(tmp_path: Path, name: str) -> None:
    """The part has more examples than one request may have."""
    run = exported_variant(name).run
    shutil.copytree(run.scenario.work_dir, tmp_path / "work", ignore=shutil.ignore_patterns("runs"))
    scenario = override_scenario(run.scenario, {"work_dir": str(tmp_path / "work")})
    model = run.folder.load_model()[1]
    for shard in WorkDirectory(scenario.work_dir).examples.shards("test", model.kind):
        with gzip.open(shard) as file:
            records = file.read()
        with gzip.open(shard, "wb") as file:
            file.write(records * 40)
    list_files_anew(WorkDirectory(scenario.work_dir).examples)
    module = serving_module(model, largest_request=ALWAYS_TAKEN)
    tf.saved_model.save(module, str(tmp_path / "model"), signatures=module.signatures())
    scores = export_scores(tmp_path / "model", scenario, "test")
    assert sum(table.num_rows for table in scores.tables()) > ALWAYS_TAKEN


def test_tasks_of_an_export_are_judged() -> None:
    export = exported_variant("linear")
    scores = export_scores(export.path, export.run.scenario, "test")
    assert scores.tasks == ["loved"] and scores.kind == "ctr"
    without = override_scenario(export.run.scenario, {"model.tasks": {}, "data.labels": {}})
    with pytest.raises(ConfigurationError, match="the task 'loved'.*no label"):
        export_scores(export.path, without, "test")


def test_the_kind_of_examples_must_be_there() -> None:
    scenario = override_scenario(exported().run.scenario, {"data.examples": ["rerank"]})
    with pytest.raises(ConfigurationError, match="'ctr' examples; there are rerank only"):
        export_scores(exported().path, scenario, "test")


def test_a_damaged_folder_and_another_programs_model_are_refused(tmp_path: Path) -> None:
    shutil.copytree(exported().path, tmp_path / "damaged")
    (tmp_path / "damaged" / "variables" / "variables.index").unlink()
    scenario = exported().run.scenario
    with pytest.raises(CommandError, match="damaged: TensorFlow cannot load"):
        export_scores(tmp_path / "damaged", scenario, "test")
    module = tf.Module()
    serve = tf.function(lambda x: {"y": x}).get_concrete_function(tf.TensorSpec([None]))
    tf.saved_model.save(module, str(tmp_path / "other"), signatures={"double": serve})
    with pytest.raises(CommandError, match="'predict_examples'.*There are: double"):
        export_scores(tmp_path / "other", scenario, "test")


def rewritten_test_part(folder: Path, *examples: tf.train.Example) -> Scenario:
    """The tiny scenario with a test part of these examples in each of its files."""
    scenario = copied_scenario(folder)
    for shard in WorkDirectory(scenario.work_dir).examples.shards("test"):
        with tf.io.TFRecordWriter(str(shard), "GZIP") as writer:
            for example in examples:
                writer.write(example.SerializeToString())
    list_files_anew(WorkDirectory(scenario.work_dir).examples)
    return scenario


def test_examples_that_the_model_cannot_read_are_explained(tmp_path: Path) -> None:
    scores = export_scores(
        exported().path, rewritten_test_part(tmp_path, tf.train.Example()), "test"
    )
    with pytest.raises(CommandError, match=r"\(Feature: item_id .* could not be found.\); was"):
        list(scores.tables())


def test_data_made_from_other_files_is_not_judged_on() -> None:
    with pytest.raises(ConfigurationError, match=r"data.interactions.path: 'a.csv' is asked for"):
        export_scores(exported().path, tiny_scenario(data__interactions__path="a.csv"), "test")


def test_a_part_without_examples_is_named(tmp_path: Path) -> None:
    scores = export_scores(exported().path, rewritten_test_part(tmp_path), "test")
    with pytest.raises(CommandError, match="test has no examples"):
        list(scores.tables())


def saved_model(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "saved_model.pb").touch()
    return folder


def test_a_saved_model_is_taken_as_it_is(tmp_path: Path) -> None:
    assert saved_model_in(str(saved_model(tmp_path / "7"))) == tmp_path / "7"


def test_the_highest_version_is_taken(tmp_path: Path) -> None:
    for name in ("9", "10", "2", ".11.unfinished", "latest"):
        saved_model(tmp_path / name)
    (tmp_path / "12").mkdir()
    (tmp_path / "13").touch()
    assert saved_model_in(tmp_path) == tmp_path / "10"


def test_a_run_is_none(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").touch()
    assert saved_model_in(tmp_path) is None


@pytest.mark.parametrize("name", ["empty", "file"])
def test_what_is_neither_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(CommandError, match=f"{name} holds no finished run.*no SavedModel"):
        saved_model_in(tmp_path / name)
