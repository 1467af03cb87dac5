from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from configs.command_line import CommandError
from configs.contract_versions import CONTRACTS
from configs.effects import training_settings
from configs.loading import ConfigurationError, load_scenario, override_scenario, save_scenario
from configs.scenario import Scenario
from configs.training import Training
from models.building import build_model
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
from tests.scenarios import copied_scenario, rich_scenario, tiny_scenario
from trainer.examples import PreparedExamples
from trainer.model_kinds import predictor_of
from trainer.run_folder import RunFolder, RunFolderError, dummy_request
from trainer.run_identity import is_up_to_date, require_no_other_run
from trainer.training import match_statistics


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


@pytest.mark.parametrize("step", [1, 2, 3])
def test_a_kill_while_a_run_is_replaced_leaves_no_half_of_one(
    step: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scenario = tiny_scenario(run_dir=str(tmp_path / "run"), model__adapter="none")
    folder = write_run(scenario).folder
    steps = [0]

    def rename(old: Path, new: Path) -> Path:
        steps[0] += 1
        if steps[0] == step:
            raise KeyboardInterrupt
        os.rename(old, new)
        return new

    def remove(path: Path, ignore_errors: bool) -> None:
        if path.name not in ("run", ".run.replaced") or not path.exists():
            return
        steps[0] += 1
        for file in (RunFolder(path).metrics, RunFolder(path).config):
            file.unlink()
        if steps[0] == step:
            raise KeyboardInterrupt

    with monkeypatch.context() as killed, pytest.raises(KeyboardInterrupt):
        killed.setattr(Path, "rename", rename)
        killed.setattr(shutil, "rmtree", remove)
        write_run(scenario)
    assert folder.is_complete or not folder.path.exists()
    write_run(scenario)
    folder.load_model()
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


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


@pytest.mark.parametrize("text", ['{"test": {"auc": 0.8}}', "5"])
def test_what_stands_in_the_place_of_the_result_is_named(tmp_path: Path, text: str) -> None:
    folder = copied_run(tmp_path)
    folder.metrics.write_text(text)
    with pytest.raises(RunFolderError, match="metrics.json is damaged .*train again"):
        folder.load_model()


@pytest.mark.parametrize("name", ["metrics.json", "history.csv"])
def test_a_damaged_file_is_named(tmp_path: Path, name: str) -> None:
    folder = copied_run(tmp_path)
    (folder.path / name).write_text("epoch,loss\n1,{")
    with pytest.raises(RunFolderError, match=f"{name} is damaged"):
        folder.read_metrics() if name == "metrics.json" else folder.read_history()


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("training.epochs", 9, False),
        ("model.top_units", [3], False),
        ("knowledge.sources", ["user"], False),
        ("split.seed", 5, False),
        ("experiment.seeds", [1, 2, 3], True),
        ("evaluation.bootstrap_resamples", 77, True),
        ("name", "renamed", True),
        ("run_dir", "elsewhere", True),
        ("knowledge.answers.noise", {"entity": "item", "random": {}}, True),
        ("knowledge.shards", 7, False),
        ("prompts.title_characters", 99, True),
        ("model.moe.num_experts", 3, True),
    ],
)
def test_a_run_is_up_to_date_with_the_settings_it_was_trained_with(
    key: str, value: object, expected: bool
) -> None:
    run = written_run()
    assert is_up_to_date(run.folder, run.scenario)
    assert is_up_to_date(run.folder, override_scenario(run.scenario, {key: value})) is expected


def test_a_run_without_knowledge_stays_what_it_is_whatever_becomes_known(tmp_path: Path) -> None:
    run = write_run(copied_scenario(tmp_path, run_dir=str(tmp_path / "run"), model__adapter="none"))
    noise: dict[str, object] = {"knowledge.answers.noise": {"entity": "item", "random": {}}}
    for changes in (noise, {**noise, "knowledge.sources": ["noise"]}, {"knowledge.shards": 7}):
        changed = override_scenario(run.scenario, changes)
        assert is_up_to_date(run.folder, changed)
        require_no_other_run(run.folder, changed)
    read = override_scenario(
        run.scenario,
        {**noise, "model.match": "means", "model.knowledge_match.sources": ["noise"]},
    )
    with pytest.raises(ConfigurationError, match=r"other settings \(.*knowledge\.answers\.noise"):
        require_no_other_run(run.folder, read)


def test_a_missing_run_is_not_up_to_date() -> None:
    run = written_run()
    assert not is_up_to_date(RunFolder(run.folder.path / "absent"), run.scenario)


def test_a_run_of_other_data_is_not_up_to_date(tmp_path: Path) -> None:
    run = write_run(copied_scenario(tmp_path, run_dir=str(tmp_path / "run"), model__adapter="none"))
    assert is_up_to_date(run.folder, run.scenario)
    manifest = Path(run.scenario.work_dir) / "examples" / "manifest.json"
    manifest.write_text(manifest.read_text() + " ")
    assert not is_up_to_date(run.folder, run.scenario)


def test_a_run_of_other_code_is_not_up_to_date(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = written_run()
    copy = RunFolder(tmp_path / "copy")
    shutil.copytree(run.folder.path, copy.path)
    assert is_up_to_date(copy, run.scenario)
    monkeypatch.setitem(CONTRACTS, "training", CONTRACTS["training"] + 1)
    assert not is_up_to_date(copy, run.scenario)


def test_all_of_training_counts_but_what_only_says_what_is_written() -> None:
    settings = training_settings(tiny_scenario())
    left_out = {"tensorboard", "checkpoint_steps"}
    assert set(settings["training"]) == set(Training.model_fields) - left_out
    assert {"work_dir", "data", "split", "knowledge", "model"} <= set(settings)


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "another"},
        {"run_dir": "elsewhere"},
        {"evaluation__bootstrap_seed": 7},
        {"experiment__seeds": [8, 9]},
        {"serving__model_name": "songs"},
        {"training__tensorboard": True, "training__checkpoint_steps": 3},
    ],
)
def test_what_does_not_change_the_model_does_not_count(changes: dict[str, object]) -> None:
    assert training_settings(tiny_scenario(**changes)) == training_settings(tiny_scenario())


@pytest.mark.parametrize(
    "changes",
    [
        {"work_dir": "elsewhere"},
        {"training__seed": 2},
        {"training__epochs": 3},
        {"training__input": "stream"},
        {"training__shuffle_buffer": 50},
        {"model__hein__num_shared_experts": 1},
        {"knowledge__sources": ["item"]},
        {"split__knowledge_history_cap": 9},
    ],
)
def test_whatever_else_is_set_counts(changes: dict[str, object]) -> None:
    assert training_settings(tiny_scenario(**changes)) != training_settings(tiny_scenario())


def test_settings_of_a_saved_scenario_are_equal_also_as_json(tmp_path: Path) -> None:
    scenario = tiny_scenario(model__tasks={}, training__class_weights=[1, 2.5])
    save_scenario(scenario, tmp_path / "config.yaml")
    settings = training_settings(load_scenario(tmp_path / "config.yaml"))
    assert settings == training_settings(scenario)
    assert json.loads(json.dumps(settings)) == settings


USER_FEATURES = {"user_id", "history_item_id", "history_rating"} | {
    "user_share_liked",
    "user_mean_rating",
    "user_log_count",
}


@pytest.mark.parametrize(
    ("backbone", "shape"), [("din", (1,)), ("prm", (1, 1)), ("two_tower", (1,))]
)
def test_every_kind_of_model_can_read_it(backbone: str, shape: tuple[int, ...]) -> None:
    scenario = rich_scenario(model__backbone=backbone)
    model = build_model(scenario, shared_store().tables(scenario))
    request = dummy_request(model)
    assert set(request) == {"item_id", "profile_city", "profile_age", *USER_FEATURES}
    assert tuple(request["item_id"].shape) == shape
    assert np.isnan(request["profile_age"].numpy()).all()
    assert request["profile_city"].numpy().tolist() == [[b""]]
    model(request)
    assert model.trainable_weights


def test_without_profiles_it_has_none() -> None:
    scenario = tiny_scenario(model__adapter="none")
    model = build_model(scenario, shared_store().tables(scenario))
    assert set(dummy_request(model)) == {"item_id", *USER_FEATURES}


def statistics_and_features(
    scenario: Scenario, part: str = "train"
) -> tuple[tuple[np.ndarray, np.ndarray], dict]:
    model = build_model(scenario, shared_store().tables(scenario))
    examples = shared_store().examples(scenario, model, part)
    return match_statistics(model, examples), dict(examples.features)


def test_statistics_are_those_of_all_training_samples() -> None:
    (mean, deviation), features = statistics_and_features(rich_scenario(model__match="means"))
    assert features["match"].shape[1] == len(mean) > 2
    np.testing.assert_allclose(mean, np.nanmean(features["match"], axis=0), atol=1e-5)
    np.testing.assert_allclose(deviation, np.nanstd(features["match"], axis=0), atol=1e-5)


def test_candidates_of_which_nothing_is_known_do_not_count() -> None:
    scenario = rich_scenario(model__match="ridge")
    model = build_model(scenario, shared_store().tables(scenario))
    match = np.array([[1.0, np.nan, 2.0], [3.0, np.nan, np.nan]], np.float32)
    examples = PreparedExamples({"match": match}, np.zeros(2), np.zeros(2), np.zeros(2))
    mean, deviation = match_statistics(model, examples)
    np.testing.assert_array_equal(mean, [2, 0, 2])
    np.testing.assert_array_equal(deviation, [1, 0, 0])


def test_padding_of_lists_does_not_count() -> None:
    scenario = rich_scenario(model__backbone="prm", model__match="ridge")
    (mean, deviation), features = statistics_and_features(scenario, "test")
    mask = features["candidate_mask"]
    assert not mask.all()
    candidates = np.array(
        [values for row, real in zip(features["match"], mask, strict=True) for values in row[real]]
    )
    np.testing.assert_allclose(mean, np.nanmean(candidates, axis=0), atol=1e-5)
    np.testing.assert_allclose(deviation, np.nanstd(candidates, axis=0), atol=1e-5)


@pytest.mark.parametrize("backbone", ["din", "prm"])
def test_a_learned_match_starts_with_the_statistics_of_the_fixed_one(backbone: str) -> None:
    options = {"model__backbone": backbone, "model__match": "ridge"}
    fixed, _ = statistics_and_features(rich_scenario(**options))
    learned, features = statistics_and_features(
        rich_scenario(**options, model__knowledge_match__learned=True)
    )
    assert "match" not in features
    np.testing.assert_allclose(learned, fixed, atol=1e-4)
