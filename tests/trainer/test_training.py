from __future__ import annotations

import csv
import functools
import json
import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

from configs.command_line import CommandError
from configs.loading import ConfigurationError, load_scenario
from configs.scenario import Scenario
from models.backbones import BACKBONES
from models.backbones.base import BackboneInputs
from models.building import build_model
from preprocessing.examples import build_examples
from preprocessing.records.contract import DamagedRecords
from preprocessing.records.knowledge import KnowledgeVectors
from preprocessing.records.layout import WorkDirectory
from tests.runs import shared_store
from tests.scenarios import (
    ITEMS,
    USERS_WITH_ANSWER,
    copied_scenario,
    rich_scenario,
    tiny_scenario,
)
from tests.trainer.remembering import remember_models
from trainer import training
from trainer.evaluation.runs import predict_run
from trainer.examples import ExampleStore, PreparedExamples
from trainer.model_kinds import NotFiniteError, predictor_of
from trainer.predictions import SamplePredictions
from trainer.run_folder import RunFolder, RunFolderError, RunMetrics
from trainer.run_identity import default_run_folder, differences, training_identity
from trainer.tables import data_fingerprint
from trainer.training import knowledge_coverage, train
from trainer.training_input import part_examples

PLAIN = {"model__adapter": "none"}


class PickyBackbone(tf.keras.layers.Layer):
    """Finds out what it cannot do when it is called."""

    def __init__(self, top_units: tuple[int, ...], dropout_rate: float):
        super().__init__()

    def call(self, inputs: BackboneInputs, training: bool | None = None) -> tf.Tensor:
        raise ValueError(f"fields must be 7 wide. Received: {inputs.candidate.shape[-1]}")


def plain_scenario(folder: Path, **assignments: object) -> Scenario:
    """The scenario without knowledge, which trains fastest."""
    return tiny_scenario(run_dir=str(folder / "run"), **PLAIN, **assignments)


@functools.cache
def trained() -> tuple[Scenario, RunMetrics]:
    """DIN with HEIN and knowledge match, two epochs."""
    scenario = tiny_scenario(model__match="ridge")
    return scenario, train(scenario, shared_store(), progress=False)


def test_the_run_folder_is_complete() -> None:
    scenario, result = trained()
    folder = Path(result["run"])
    assert folder == default_run_folder(scenario).path
    assert {path.name for path in folder.iterdir()} == {
        "config.yaml",
        "metrics.json",
        "history.csv",
        "checkpoint",
    }
    assert not (folder.parent / f".{folder.name}.unfinished").exists()
    assert load_scenario(folder / "config.yaml") == scenario
    assert json.loads((folder / "metrics.json").read_text()) == result
    assert result["fingerprint"] == data_fingerprint(scenario)


def test_metrics_and_history_say_what_happened() -> None:
    scenario, result = trained()
    with (Path(result["run"]) / "history.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["epoch"]) for row in rows] == [1, 2]
    assert result["selection_metric"] == "auc"
    measured = {f"validation_{name}" for name in ("auc", "logloss", "gauc")}
    assert measured < set(rows[0]) and list(rows[0])[:2] == ["epoch", "train_loss"]
    assert list(rows[0])[-2:] == ["learning_rate", "seconds"]
    assert float(rows[0]["seconds"]) <= float(rows[1]["seconds"]) <= result["train_seconds"]
    assert result["epochs"] == 2
    best = rows[result["best_epoch"] - 1]
    assert result["validation"]["auc"] == float(best["validation_auc"])
    assert result["validation"]["logloss"] == float(best["validation_logloss"])
    assert result["validation"]["gauc"] == float(best["validation_gauc"])
    assert max(float(row["validation_auc"]) for row in rows) == result["validation"]["auc"]
    counts = json.loads(WorkDirectory(scenario.work_dir).examples.manifest.read_text())["counts"]
    assert result["validation"]["n"] == counts["parts"]["validation"]
    assert result["train_samples"] == counts["parts"]["train"]
    assert result["train_seconds"] > 0
    _, model = RunFolder(result["run"]).load_model()
    sizes = [weight.numpy().size for weight in model.trainable_weights]
    assert result["trainable_weights"] == sum(sizes)


def test_the_share_of_samples_with_knowledge_is_reported() -> None:
    scenario, result = trained()
    samples = shared_store().examples(scenario, RunFolder(result["run"]).load_model()[1], "train")
    assert result["coverage"].keys() == {"item", "user"}
    for source, ids, known in (
        ("item", samples.item_ids, ITEMS[:59]),
        ("user", samples.user_ids, USERS_WITH_ANSWER),
    ):
        coverage = result["coverage"][source]
        assert coverage["samples"] == len(samples)
        assert coverage["covered_samples"] == int(np.isin(ids, known).sum())
    assert result["coverage"]["user"]["share_of_ids"] == 0.9


def test_the_tastes_are_learnt() -> None:
    assert trained()[1]["validation"]["auc"] > 0.75


def test_restored_weights_reproduce_the_best_validation_metrics() -> None:
    result = trained()[1]
    metrics = predict_run(result["run"], "validation", shared_store()).metrics()
    assert metrics == pytest.approx(result["validation"], abs=1e-6)


def test_equal_seeds_train_equal_models_and_the_test_part_is_not_read(tmp_path: Path) -> None:
    result = trained()[1]
    again = copied_scenario(tmp_path, model__match="ridge")
    shutil.rmtree(WorkDirectory(again.work_dir).examples.part("test"))
    repeated = train(again, progress=False)
    assert repeated["validation"] == pytest.approx(result["validation"], abs=1e-6)
    histories = [RunFolder(run["run"]).read_history() for run in (result, repeated)]
    for first, second in zip(*histories, strict=True):
        assert {**second, "seconds": 0} == pytest.approx({**first, "seconds": 0}, abs=1e-6)
    with pytest.raises(DamagedRecords):
        predict_run(repeated["run"], "test")


def test_another_seed_trains_another_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    initial = []
    create = training.create_weights

    def create_and_copy(model: tf.keras.Model) -> None:
        create(model)
        initial.append([weight.numpy() for weight in model.trainable_weights])

    monkeypatch.setattr(training, "create_weights", create_and_copy)
    first, second = (
        train(plain_scenario(tmp_path / str(seed), training__seed=seed), shared_store(), False)
        for seed in (1, 2)
    )
    assert abs(first["validation"]["logloss"] - second["validation"]["logloss"]) > 1e-4
    pairs = [pair for pair in zip(*initial, strict=True) if pair[0].std() > 0]
    assert len(pairs) >= 4 and not any(np.array_equal(*pair) for pair in pairs)


def test_published_initial_values_are_drawn_before_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[np.ndarray] = []

    def stop(model: tf.keras.Model, *_: object, **__: object) -> None:
        seen.append(model.scorer.assembly.items.ids.table())
        raise KeyboardInterrupt

    monkeypatch.setattr(tf.keras.Model, "fit", stop)
    for initializer in ("keras", "published"):
        with pytest.raises(KeyboardInterrupt):
            train(
                tiny_scenario(run_dir=str(tmp_path / initializer), model__initializer=initializer)
            )
    # Embeddings start with a deviation of 0.05, or of sqrt(2 / (61 ids + 8)) = 0.17.
    assert np.std(seen[0]) == pytest.approx(0.05, rel=0.15)
    assert np.std(seen[1]) == pytest.approx(0.17, rel=0.15)


@pytest.mark.parametrize(
    ("schedule", "last_share"),
    [("cosine", 0.0), pytest.param("constant", 1.0, marks=pytest.mark.slow)],
)
def test_the_cosine_schedule_ends_at_zero(
    schedule: str, last_share: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = remember_models(monkeypatch)
    scenario = plain_scenario(tmp_path, training__schedule=schedule, training__epochs=1)
    result = train(scenario, shared_store(), progress=False)
    (model,) = models
    steps = -(-result["train_samples"] // scenario.training.batch_size)
    assert int(model.optimizer.iterations) == steps
    rate = model.optimizer._learning_rate
    rate = rate(model.optimizer.iterations) if callable(rate) else rate
    initial = scenario.training.learning_rate
    assert float(rate) == pytest.approx(last_share * initial, abs=1e-6 * initial)


def test_a_part_of_one_class_is_named_before_training(tmp_path: Path) -> None:
    scenario = copied_scenario(
        tmp_path, run_dir=str(tmp_path / "run"), data__positive_rating=0.5, **PLAIN
    )
    build_examples(scenario)
    with pytest.raises(CommandError, match=r"of part 'train' in .* have the label 1, and AUC"):
        train(scenario, progress=False)


def test_other_kinds_of_examples_are_not_trained_on(tmp_path: Path) -> None:
    scenario = copied_scenario(
        tmp_path, run_dir=str(tmp_path / "run"), data__examples=["retrieval"], **PLAIN
    )
    build_examples(scenario)
    with pytest.raises(ConfigurationError, match="there are retrieval only. Add ctr"):
        train(scenario, progress=False)


@functools.cache
def trained_on_lists() -> tuple[Scenario, RunMetrics]:
    """A re-ranker with knowledge match, three epochs."""
    scenario = rich_scenario(
        model__backbone="prm", model__match="ridge", training__epochs=3, training__batch_size=32
    )
    return scenario, train(scenario, shared_store(), progress=False)


@functools.cache
def trained_to_retrieve() -> tuple[Scenario, RunMetrics]:
    """Two towers, three epochs."""
    scenario = rich_scenario(model__backbone="two_tower", training__epochs=3)
    return scenario, train(scenario, shared_store(), progress=False)


@pytest.mark.parametrize(
    ("trained_on", "metric", "columns"),
    [
        (trained_on_lists, "ndcg_at_10", {"auc", "gauc", "ndcg_at_5", "map_at_10"}),
        (trained_to_retrieve, "new_items_recall_at_10", {"mrr", "ndcg_at_10", "recall_at_10"}),
    ],
)
def test_other_kinds_of_models_are_trained_by_their_own_metric(
    trained_on, metric: str, columns: set[str]
) -> None:
    scenario, result = trained_on()
    folder = RunFolder(result["run"])
    assert result["selection_metric"] == metric
    history = folder.read_history()
    assert {f"validation_{name}" for name in {*columns, metric}} <= set(history[0])
    others = {"epoch", "train_loss", "learning_rate", "seconds"}
    assert {key.removeprefix("validation_") for key in history[0]} <= {
        *result["validation"],
        *others,
    }
    selected = [row[f"validation_{metric}"] for row in history]
    assert result["validation"][metric] == max(selected)
    assert result["best_epoch"] == 1 + int(np.argmax(selected))
    assert history[-1]["train_loss"] < history[0]["train_loss"]
    again = predict_run(result["run"], "validation", shared_store()).metrics()
    assert again == pytest.approx(result["validation"], abs=1e-6)


def test_a_re_ranker_learns_the_tastes() -> None:
    assert trained_on_lists()[1]["validation"]["auc"] > 0.6


def test_a_retrieval_model_finds_more_than_chance() -> None:
    scenario, result = trained_to_retrieve()
    items = len(shared_store().tables(scenario).catalogue.item_ids)
    assert result["validation"]["new_items_recall_at_10"] > 1.3 * 10 / items


@functools.cache
def trained_on_two_tasks() -> RunMetrics:
    scenario = rich_scenario(model__adapter="none", model__tasks={"loved": 0.5})
    return train(scenario, shared_store(), progress=False)


def test_further_tasks_are_learned_and_reported_beside_the_label() -> None:
    result = trained_on_two_tasks()
    assert result["validation"]["auc"] > 0.7
    loved = result["validation"]["tasks"]["loved"]
    assert set(loved) == {"auc", "logloss", "gauc", "n"} and loved["auc"] > 0.7
    history = RunFolder(result["run"]).read_history()
    assert loved["auc"] in [row["validation_loved_auc"] for row in history]
    predictions = predict_run(result["run"], "test", shared_store())
    assert isinstance(predictions, SamplePredictions)
    assert predictions.task_labels["loved"].sum() < predictions.labels.sum()
    assert (predictions.task_labels["loved"] <= predictions.labels).all()
    assert np.abs(predictions.task_scores["loved"] - predictions.scores).max() > 0.01


def test_a_task_of_one_class_is_named_before_training(tmp_path: Path) -> None:
    scenario = rich_scenario(
        run_dir=str(tmp_path / "run"), model__adapter="none", model__tasks={"loved": 1}
    )
    store = ExampleStore()
    model = build_model(scenario, store.tables(scenario))
    store.examples(scenario, model, "train").labels[:, 1] = 0
    with pytest.raises(
        CommandError, match="of part 'train' in .* have the label 0 of task 'loved', and"
    ):
        train(scenario, store, progress=False)


def test_a_model_that_does_not_exist_is_a_configuration_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="model.backbone: .* Did you mean 'din'"):
        train(plain_scenario(tmp_path, model__backbone="dim"), shared_store(), progress=False)
    widths = tiny_scenario(run_dir=str(tmp_path / "run"), model__embedding_dimension=7)
    with pytest.raises(ConfigurationError, match="expert_units .8. must equal"):
        train(widths, shared_store(), progress=False)


def test_a_layer_that_cannot_be_called_is_a_configuration_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scenario = plain_scenario(tmp_path)
    with monkeypatch.context() as patched:
        patched.setitem(BACKBONES, "picky", PickyBackbone)
        model = scenario.model.model_copy(update={"backbone": "picky"})
        picky = scenario.model_copy(update={"model": model})
        with pytest.raises(ConfigurationError) as caught:
            train(picky, shared_store(), progress=False)
    assert str(caught.value) == (
        f"scenario '{scenario.name}', model.backbone 'picky': the model cannot be built: "
        "fields must be 7 wide. Received: 8"
    )


def test_a_folder_with_other_files_is_refused_before_training(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.txt").write_text("years of work")
    with pytest.raises(RunFolderError, match="other files"):
        train(plain_scenario(tmp_path), shared_store(), progress=False)
    assert (tmp_path / "run" / "thesis.txt").read_text() == "years of work"


def test_data_that_change_during_a_training_end_it(tmp_path: Path) -> None:
    """A run never says that it was trained on data that came later."""
    scenario = copied_scenario(tmp_path, **PLAIN, training__epochs=2)
    manifest = WorkDirectory(scenario.work_dir).examples.manifest

    def prepare_anew(_row: object) -> None:
        manifest.write_text(manifest.read_text() + " ")

    for change in (prepare_anew, lambda _row: manifest.unlink()):
        with pytest.raises(CommandError, match="work changed while they were trained with"):
            train(scenario, progress=False, on_epoch=[change])
        assert not default_run_folder(scenario).path.exists()


def test_a_run_that_another_process_trains_is_refused_at_once(tmp_path: Path) -> None:
    scenario = plain_scenario(tmp_path)
    with (
        RunFolder(str(scenario.run_dir)).being_made(),
        pytest.raises(
            CommandError, match=r"another process is at work in .*\.run\.unfinished; wait"
        ),
    ):
        train(scenario, shared_store(), progress=False)


@pytest.mark.parametrize("batch_size", [pytest.param(128, marks=pytest.mark.slow), 4096])
def test_a_learning_rate_that_ruins_the_weights_is_noticed(tmp_path: Path, batch_size: int) -> None:
    # With one step per epoch the loss is finite; what the step leaves behind is not.
    scenario = plain_scenario(
        tmp_path,
        training__epochs=1,
        training__batch_size=batch_size,
        training__learning_rate=1e39,
        training__schedule="constant",
    )
    with pytest.raises(
        NotFiniteError, match="variable '.*' is not finite.* training.learning_rate"
    ):
        train(scenario, shared_store(), progress=False)
    assert not RunFolder(str(scenario.run_dir)).path.exists()


def test_a_training_of_no_step_is_refused(tmp_path: Path) -> None:
    scenario = tiny_scenario(run_dir=str(tmp_path / "run"), **PLAIN)
    with pytest.raises(ValueError, match="max_steps must be at least 1"):
        train(scenario, shared_store(), progress=False, max_steps=0)


def test_named_files_limits_a_stream_and_event_files_in_a_relative_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    files = WorkDirectory(tiny_scenario().work_dir).examples.shards("test")
    count = sum(1 for _ in tf.data.TFRecordDataset([str(path) for path in files], "GZIP"))
    scenario = tiny_scenario(
        run_dir="runs/short",
        training__input="stream",
        training__batch_size=50,
        training__selection="gauc",
        training__tensorboard=True,
        **PLAIN,
    )
    rows: list[Mapping[str, float]] = []
    result = train(
        scenario,
        shared_store(),
        progress=False,
        files={"train": files},
        max_steps=4,
        validation_limit=60,
        on_epoch=[rows.append],
    )
    assert (result["run"], result["train_samples"], result["epochs"]) == ("runs/short", count, 2)
    assert result["validation"]["n"] == 60 and result["selection_metric"] == "gauc"
    assert [row["validation_gauc"] for row in rows][result["best_epoch"] - 1] == max(
        row["validation_gauc"] for row in rows
    )
    assert [path.name for path in Path("runs").iterdir()] == ["short"]
    names = {path.name for path in Path("runs/short").iterdir()}
    assert names == {"config.yaml", "metrics.json", "history.csv", "checkpoint", "tensorboard"}
    assert RunFolder("runs/short").read_history() == rows
    tags = {
        value.tag: event.step
        for path in Path("runs/short/tensorboard").iterdir()
        for event in EventFileLoader(str(path)).Load()
        for value in event.summary.value
    }
    assert tags["loss"] == 1 and tags["epoch_validation_gauc"] == 2
    # 60 of them are what the run was selected by.
    model = RunFolder("runs/short").load_model()[1]
    examples = part_examples(scenario, model, shared_store(), "validation", limit=60)
    again = predictor_of(model).predict(examples).metrics()
    assert again == pytest.approx(result["validation"], abs=1e-6)


@pytest.mark.parametrize("backbone", ["prm", "two_tower"])
def test_other_kinds_of_models_are_not_selected_by_auc(tmp_path: Path, backbone: str) -> None:
    scenario = rich_scenario(
        run_dir=str(tmp_path / "run"),
        model__backbone=backbone,
        model__adapter="none",
        training__selection="auc",
    )
    with pytest.raises(ConfigurationError, match="training.selection: 'auc' is for ranking models"):
        train(scenario, shared_store(), progress=False)
    # What fails before its first step leaves nothing behind.
    assert list(tmp_path.iterdir()) == []


def vectors(*ids: str) -> KnowledgeVectors:
    return KnowledgeVectors(
        [*ids], np.ones([len(ids), 2]), ["individual"] * len(ids), [""] * len(ids)
    )


def samples(items: list[str], users: list[str]) -> PreparedExamples:
    return PreparedExamples({}, np.zeros(len(items)), np.array(users), np.array(items))


def test_samples_are_counted_by_item_and_by_user(capsys: pytest.CaptureFixture[str]) -> None:
    examples = samples(["1", "1", "2", "3"], ["u", "v", "u", "u"])
    knowledge = {"item": vectors("1", "9"), "user": vectors("v", "w")}
    shares = knowledge_coverage(tiny_scenario(), knowledge, examples)
    assert shares["item"]["covered_ids"] == 1 and shares["item"]["share_of_samples"] == 0.5
    assert shares["user"]["share_of_ids"] == 0.5 and shares["user"]["covered_samples"] == 1
    said = capsys.readouterr().err
    assert "train item: 33.3% of the log's 3 items and 50.0% of its 4 samples" in said
    assert "train user: warning:" in said and "train item: warning:" not in said


def test_padding_of_lists_is_no_sample() -> None:
    lists = PreparedExamples(
        {}, np.zeros([2, 2]), np.array(["u", "v"]), np.array([["1", ""], ["2", "1"]])
    )
    shares = knowledge_coverage(tiny_scenario(), {"item": vectors("1")}, lists)
    assert (shares["item"]["samples"], shares["item"]["covered_samples"]) == (3, 2)


def test_knowledge_about_other_ids_is_refused() -> None:
    with pytest.raises(CommandError) as error:
        knowledge_coverage(
            tiny_scenario(), {"item": vectors("artist-2001")}, samples(["2001.5"], ["u"])
        )
    message = str(error.value)
    for part in ("ratings.csv", "item_answers.jsonl", "'2001.5'", "'artist-2001'", "--ids FILE"):
        assert part in message


IDENTITY = {
    "settings": {"training": {"seed": 1, "class_weights": [1, 1]}, "model": {"tasks": {}}},
    "fingerprint": {"examples": "abc"},
    "code_version": "0a1b",
    "limits": [None, None],
}


def changed(**changes: object) -> str:
    return json.dumps({**IDENTITY, **changes})


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({}, []),
        (
            {"settings": {"training": {"seed": 2, "class_weights": [1, 1]}, "model": {}}},
            ["training.seed"],
        ),
        (
            {"settings": {"training": {"class_weights": [2, 1]}, "model": {"tasks": {"a": 1}}}},
            ["model.tasks.a", "training.class_weights", "training.seed"],
        ),
        ({"fingerprint": {"examples": "abd"}}, ["fingerprint.examples"]),
        ({"code_version": "0", "limits": [5, None]}, ["code_version", "limits"]),
        ({"fingerprint": {}}, ["fingerprint.examples"]),
    ],
)
def test_what_differs_is_named_as_in_a_configuration(
    changes: dict[str, object], names: list[str]
) -> None:
    assert differences(changed(), changed(**changes)) == names
    assert differences(changed(**changes), changed()) == names


@pytest.mark.parametrize("text", ["", '{"settings": '])
def test_a_damaged_text_differs_in_nothing_that_has_a_name(text: str) -> None:
    assert differences(text, changed()) == []


def identity(scenario: Scenario, *arguments: object) -> str:
    return json.dumps(training_identity(scenario, *(arguments or ({}, None, None))))


def test_what_is_only_written_or_read_later_makes_no_other_training() -> None:
    changes = {"run_dir": "elsewhere", "training__checkpoint_steps": 3, "serving__model_name": "a"}
    assert identity(tiny_scenario(**changes)) == identity(tiny_scenario())


def test_settings_data_limits_and_files_make_another_training(tmp_path: Path) -> None:
    scenario = copied_scenario(tmp_path)
    before = identity(scenario)
    other = copied_scenario(tmp_path / "other", training__seed=2)
    assert differences(before, identity(other)) == ["training.seed", "work_dir"]
    limited = identity(scenario, {}, 5, None)
    assert differences(before, limited) == ["limits"]
    assert differences(limited, identity(scenario, {}, 6, None)) == ["limits"]
    assert differences(before, identity(scenario, {}, None, 9)) == ["limits"]
    file = tmp_path / "file"
    file.write_text("ab")
    files = {"train": [str(file)]}
    named = identity(scenario, files, None, None)
    assert differences(before, named) == ["files.train"]
    file.write_text("abc")
    assert differences(named, identity(scenario, files, None, None)) == ["files.train"]
    manifest = WorkDirectory(scenario.work_dir).knowledge("item").manifest
    manifest.write_text(manifest.read_text() + " ")
    assert differences(before, identity(scenario)) == ["fingerprint.knowledge/item"]


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
