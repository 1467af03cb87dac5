from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from configs.command_line import CommandError
from configs.loading import ConfigurationError
from preprocessing.records.contract import DamagedRecords
from preprocessing.records.layout import WorkDirectory
from tests.full_disk import files_no_longer_than
from tests.models.builders import augmented_tables
from tests.runs import (
    random_model,
    raw_requests,
    rich_run,
    shared_store,
    synthetic_metrics,
    write_run,
    written_run,
)
from tests.scenarios import copied_scenario
from trainer.model_kinds import predictor_of
from trainer.run_folder import RunFolder, RunFolderError


def changed_scenario(folder: Path, **assignments: object):
    """A scenario over a copied work directory, with a run of its own."""
    return copied_scenario(
        folder, run_dir=str(folder / "run"), model__adapter="none", **assignments
    )


def copied_run(folder: Path, arm: str = "none") -> RunFolder:
    """A finished run of DIN that the test may damage."""
    return RunFolder(shutil.copytree(written_run("din", arm).folder.path, folder / "run"))


@pytest.mark.parametrize(
    ("backbone", "arm"), [("din", "hein"), ("din", "ridge"), ("dcnv2", "means"), ("din", "none")]
)
def test_a_loaded_model_scores_exactly_as_the_written_one(backbone: str, arm: str) -> None:
    run = written_run(backbone, arm)
    scenario, model = run.folder.load_model()
    assert scenario == run.scenario
    raw = raw_requests(scenario)
    scores = run.model.probabilities(raw).numpy()
    assert scores.std() > 0.01
    np.testing.assert_array_equal(model.probabilities(raw).numpy(), scores)
    if model.adapter is not None:
        tables = augmented_tables(run.model.adapter)
        for source, table in augmented_tables(model.adapter).items():
            np.testing.assert_array_equal(table, tables[source])


@pytest.mark.parametrize(
    ("backbone", "tasks"), [("din", True), ("prm", False), ("two_tower", False)]
)
def test_a_loaded_model_of_any_kind_says_the_same(backbone: str, tasks: bool) -> None:
    run = rich_run(backbone, tasks)
    scenario, model = run.folder.load_model(shared_store().tables)
    assert model.kind == run.model.kind
    for weight, original in zip(model.trainable_weights, run.model.trainable_weights, strict=True):
        np.testing.assert_array_equal(weight.numpy(), original.numpy())
    examples = shared_store().examples(scenario, model, "test")
    tables = [predictor_of(each).predict(examples).table() for each in (model, run.model)]
    assert tables[0].equals(tables[1])


def test_metrics_and_history_are_read_back() -> None:
    run = written_run()
    assert run.folder.read_metrics() == synthetic_metrics(run.scenario)
    assert run.folder.read_history() == [{"epoch": 1.0, "train_loss": 0.5}]


def test_tables_may_come_from_the_caller() -> None:
    def refuse(scenario: object) -> None:
        raise KeyError("asked")

    with pytest.raises(KeyError, match="asked"):
        written_run().folder.load_model(refuse)


def test_changed_data_is_refused_by_step(tmp_path: Path) -> None:
    scenario = copied_scenario(tmp_path, run_dir=str(tmp_path / "run"))
    run = write_run(scenario)
    for source in ("user", "item"):
        manifest = WorkDirectory(scenario.work_dir).knowledge(source).manifest
        original = manifest.read_text()
        manifest.write_text(json.dumps({**json.loads(original), "code_version": "other"}))
        with pytest.raises(RunFolderError) as caught:
            run.folder.load_model()
        message = str(caught.value)
        assert str(run.folder.path) in message and scenario.work_dir in message
        assert f"changed: knowledge/{source})" in message and "train again" in message
        manifest.write_text(original)
    run.folder.load_model()


def test_foreign_files_are_refused_by_name(tmp_path: Path) -> None:
    """Whoever loads a run refuses them: evaluate, compare and export."""
    run = write_run(copied_scenario(tmp_path, run_dir=str(tmp_path / "run")))
    work = WorkDirectory(run.scenario.work_dir)
    for path in (
        work.knowledge("item").shards[0],
        work.examples.item_attributes,
        work.examples.vocabulary("item_id"),
    ):
        contents = path.read_bytes()
        path.write_bytes(contents[:-1] + b"x")
        with pytest.raises(DamagedRecords, match=str(path)):
            run.folder.load_model()
        path.write_bytes(contents)
    run.folder.load_model()


@pytest.mark.parametrize(
    ("missing", "error", "message"),
    [
        ("metrics.json", RunFolderError, "no finished run .*trainer train"),
        ("everything", ConfigurationError, "there is no file or folder '.*absent'"),
    ],
)
def test_an_incomplete_folder_is_refused(
    missing: str, error: type[Exception], message: str, tmp_path: Path
) -> None:
    run = copied_run(tmp_path)
    run.metrics.unlink()
    folder = run if missing == "metrics.json" else RunFolder(tmp_path / "absent")
    assert not folder.is_complete
    for read in (
        folder.read_scenario,
        folder.read_metrics,
        folder.read_history,
        folder.load_model,
    ):
        with pytest.raises(error, match=message):
            read()


@pytest.mark.parametrize("damage", ["cut off", "missing"])
def test_a_damaged_checkpoint_is_refused(damage: str, tmp_path: Path) -> None:
    run = copied_run(tmp_path)
    (data,) = (run.path / "checkpoint").glob("weights.data*")
    if damage == "missing":
        for path in data.parent.iterdir():
            path.unlink()
    else:
        data.write_bytes(data.read_bytes()[:100])
    with pytest.raises(RunFolderError, match="checkpoint is damaged .*; train again"):
        run.load_model()


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("backbone_options: {}", "backbone_options: {num_heads: 2}", "'din' has no 'num_heads'"),
        ("embedding_dimension: 8", "embedding_dimension: 12", "incompatible tensor with shape"),
    ],
)
def test_a_changed_configuration_is_refused(
    tmp_path: Path, old: str, new: str, reason: str
) -> None:
    run = copied_run(tmp_path)
    text = run.config.read_text(encoding="utf-8")
    assert text.count(old) == 1
    run.config.write_text(text.replace(old, new), encoding="utf-8")
    expected = f"{run.path} was trained by another version .*{reason}.*; train again"
    with pytest.raises(RunFolderError, match=expected):
        run.load_model()


def test_a_checkpoint_without_all_weights_is_refused(tmp_path: Path) -> None:
    run = copied_run(tmp_path, "hein")
    parts = {**written_run("din", "hein").model.checkpoint_parts()}
    del parts["adapter"]
    tf.train.Checkpoint(**parts).write(str(run.path / "checkpoint" / "weights"))
    with pytest.raises(RunFolderError, match="another version .*lacks weights of the model"):
        run.load_model()


def test_a_failed_write_leaves_the_old_run(tmp_path: Path) -> None:
    scenario = changed_scenario(tmp_path)
    old = write_run(scenario, seed=1)
    raw = raw_requests(scenario)
    other = random_model(scenario, seed=2)
    rows = [{"epoch": 1.0}, {"epoch": 2.0, "unexpected": 0.0}]
    with pytest.raises(ValueError, match="unexpected"):
        old.folder.write(scenario, other, synthetic_metrics(scenario), rows)
    _, kept = old.folder.load_model()
    np.testing.assert_array_equal(
        kept.probabilities(raw).numpy(), old.model.probabilities(raw).numpy()
    )
    old.folder.write(scenario, other, synthetic_metrics(scenario), rows[:1])
    _, replaced = old.folder.load_model()
    np.testing.assert_array_equal(
        replaced.probabilities(raw).numpy(), other.probabilities(raw).numpy()
    )
    assert {path.name for path in tmp_path.iterdir()} == {"work", "run"}


def test_files_of_somebody_else_are_not_replaced(tmp_path: Path) -> None:
    scenario = changed_scenario(tmp_path)
    model = random_model(scenario)
    (tmp_path / "run").mkdir()
    write = (scenario, model, synthetic_metrics(scenario), [{"epoch": 1.0}])
    RunFolder(tmp_path / "run").write(*write)
    note = tmp_path / "notes" / "thesis.txt"
    note.parent.mkdir()
    note.write_text("years of work")
    with pytest.raises(RunFolderError, match="notes holds other files"):
        RunFolder(note.parent).write(*write)
    assert note.read_text() == "years of work"


@pytest.mark.parametrize("path", [".", "..", "runs/..", "/"])
def test_a_folder_without_a_name_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RunFolderError, match="no folder that a run can take the place of"):
        RunFolder(path).require_replaceable()


def test_a_run_is_made_by_one_process_at_a_time(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "runs" / "run")
    with folder.being_made():
        with (
            pytest.raises(CommandError, match=r"another process is at work in .*\.run\.unfinished"),
            RunFolder(folder.path).being_made(),
        ):
            pass
        with RunFolder(tmp_path / "runs" / "other").being_made():
            pass
        assert folder.unfinished.is_dir()
    # Nothing was made, and nothing is left.
    assert list((tmp_path / "runs").iterdir()) == []


def test_what_was_made_of_a_run_stays_and_a_finished_one_is_clean(tmp_path: Path) -> None:
    scenario = changed_scenario(tmp_path)
    folder = RunFolder(str(scenario.run_dir))
    with pytest.raises(OSError, match="power"), folder.being_made():
        (folder.unfinished / "training").mkdir()
        raise OSError("power")
    assert [path.name for path in folder.unfinished.iterdir()] == ["training"]
    with folder.being_made():
        folder.write(
            scenario, random_model(scenario), synthetic_metrics(scenario), [{"epoch": 1.0}]
        )
    assert {path.name for path in tmp_path.iterdir()} == {"work", "run"}
    names = {"config.yaml", "metrics.json", "history.csv", "checkpoint"}
    assert {path.name for path in folder.path.iterdir()} == names


def test_a_full_disk_leaves_the_old_run(tmp_path: Path) -> None:
    scenario = changed_scenario(tmp_path)
    old = write_run(scenario)
    metrics = old.folder.metrics.read_text()
    with (
        files_no_longer_than(10_000),
        pytest.raises(RunFolderError, match=r"weights cannot be written \(.*\); once it can"),
    ):
        old.folder.write(scenario, old.model, synthetic_metrics(scenario), [{"epoch": 1.0}])
    assert old.folder.metrics.read_text() == metrics
    old.folder.load_model()


@pytest.mark.parametrize("name", ["metrics.json", "history.csv"])
def test_a_damaged_file_is_named(tmp_path: Path, name: str) -> None:
    folder = copied_run(tmp_path)
    (folder.path / name).write_text("epoch,loss\n1,{")
    with pytest.raises(RunFolderError, match=f"{name} is damaged"):
        folder.read_metrics() if name == "metrics.json" else folder.read_history()
