from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import tensorflow as tf

from configs.loading import save_scenario
from preprocessing.records.layout import WorkDirectory
from preprocessing.records.tfrecord_file import write_records
from tests.runs import write_run
from tests.scenarios import copied_scenario, rich_scenario, tiny_config, tiny_scenario


def arguments(*more: str) -> list[str]:
    return ["train", "--config", str(tiny_config()), *more]


def test_a_tracked_training_is_in_the_database(json_result, tmp_path: Path) -> None:
    pytest.importorskip("mlflow", reason="needs requirements-tracking.txt")
    from mlflow.tracking import MlflowClient

    address = f"sqlite:///{tmp_path}/mlflow.db"
    settings = ("model.adapter=none", "training.epochs=2", f"run_dir={tmp_path}/run")
    result = json_result(*arguments("--tracking", f"mlflow:{address}", *settings))
    client = MlflowClient(tracking_uri=address)
    experiment = client.get_experiment_by_name("tiny")
    (run,) = client.search_runs([experiment.experiment_id])
    assert (run.info.status, run.info.run_name) == ("FINISHED", "run")
    assert run.data.metrics["best_validation_auc"] == result["validation"]["auc"]
    steps = [one.step for one in client.get_metric_history(run.info.run_id, "validation_auc")]
    assert steps == [1, 2]
    assert run.data.params["model.adapter"] == "none"
    assert run.data.tags["backbone"] == "din"


@pytest.fixture
def refused(run) -> Callable[..., str]:
    """What the command says when it ends with this code before anything is trained."""

    def errors(code: int, *more: str) -> str:
        actual, output, said = run(*arguments("--json", *more))
        assert (actual, output) == (code, "")
        return said

    return errors


def test_data_made_from_other_files_is_not_trained_on(run, refused, tmp_path: Path) -> None:
    (answers,) = tiny_scenario().knowledge.answers["item"].individual
    other = tmp_path / "other.jsonl"
    other.write_text('{"source": "item", "entity_id": "1", "extraction": "individual"}\n')
    changed = f'knowledge.answers.item.individual=["{other}"]'
    errors = refused(2, changed, f"run_dir={tmp_path}/run")
    assert f"knowledge.answers.item.individual: '{other}' is asked for" in errors
    assert f"was built from '{answers}'" in errors
    assert "python -m preprocessing all" in errors
    assert not (tmp_path / "run").exists()
    # A model that reads no answers does not care.
    small = ("model.adapter=none", f"run_dir={tmp_path}/run", "--dry-run")
    assert run(*arguments(changed, *small))[0] == 0


@pytest.mark.parametrize("form", ["memory", "stream"])
def test_a_shard_of_another_part_is_not_trained_on(refused, tmp_path: Path, form: str) -> None:
    work_dir = copied_scenario(tmp_path).work_dir
    examples = WorkDirectory(work_dir).examples
    shard = examples.shards("train")[0]
    shutil.copy(examples.shards("test")[0], shard)
    small = ("model.adapter=none", f"training.input={form}", f"work_dir={work_dir}")
    assert f"{shard}: not the file that the step wrote" in refused(1, *small)


def test_an_emptied_shard_of_knowledge_is_not_trained_on(refused, tmp_path: Path) -> None:
    work_dir = copied_scenario(tmp_path).work_dir
    shard = WorkDirectory(work_dir).knowledge("item").shards[0]
    write_records(shard, [])
    errors = refused(1, f"work_dir={work_dir}")
    assert f"{shard}: not the file that the step wrote" in errors


def test_a_finished_run_with_other_settings_is_replaced_by_force_only(
    run, refused, tmp_path: Path
) -> None:
    there = {"run_dir": str(tmp_path / "run"), "model__adapter": "none", "training__epochs": 1}
    finished = write_run(tiny_scenario(**there))
    before = finished.folder.metrics.read_bytes()
    same = ("model.adapter=none", "training.epochs=1", f"run_dir={finished.folder.path}")
    changed = (*same, "training.batch_size=64", "training.seed=7")
    errors = refused(2, *changed)
    assert f"{finished.folder.path} holds a finished run with other settings" in errors
    assert "(training.batch_size, training.seed)" in errors
    assert "--force" in errors and "run_dir=" in errors
    assert finished.folder.metrics.read_bytes() == before
    assert run(*arguments(*changed, "--force"))[0] == 0
    assert finished.folder.read_scenario().training.seed == 7
    assert run(*arguments(*changed))[0] == 0


def test_a_finished_run_whose_settings_cannot_be_read_is_not_replaced(
    refused, tmp_path: Path
) -> None:
    run = write_run(tiny_scenario(run_dir=str(tmp_path / "run"), model__adapter="none"))
    run.folder.config.write_text("nonsense: 1\n")
    errors = refused(2, "model.adapter=none", f"run_dir={run.folder.path}")
    assert "whose settings this version of the code cannot read" in errors


def test_a_dry_run_says_what_would_be_trained(refused, json_result, tmp_path: Path) -> None:
    counts = json.loads(WorkDirectory(tiny_scenario().work_dir).examples.manifest.read_text())
    examples = counts["counts"]["examples"]["ctr"]["train"]
    words = arguments("--dry-run", "training.batch_size=100", f"run_dir={tmp_path}/run")
    assert json_result(*words) == {
        "dry_run": True,
        "run": f"{tmp_path}/run",
        "state": "new",
        "train_examples": examples,
        "steps_per_epoch": -(-examples // 100),
        "epochs": tiny_scenario().training.epochs,
        "sources": ["item", "user"],
    }
    assert not list(tmp_path.iterdir())
    errors = refused(2, "--dry-run", "split.seed=5", f"run_dir={tmp_path}/run")
    assert "split.seed: 5 is asked for" in errors


def test_a_dry_run_replaces_by_force_what_the_training_would(run, refused, tmp_path: Path) -> None:
    there = {"run_dir": str(tmp_path / "run"), "model__adapter": "none"}
    write_run(tiny_scenario(**there))
    words = ("model.adapter=none", "training.seed=7", f"run_dir={tmp_path}/run", "--dry-run")
    assert "--force" in refused(2, *words)
    assert run(*arguments(*words, "--force"))[0] == 0


@pytest.mark.parametrize("further", [[], ["--dry-run"]])
@pytest.mark.parametrize(
    ("setting", "reason"),
    [
        ("model.backbone=prm", "data.examples: re-rankers"),
        ("training.warmup_steps=100000", "training.warmup_steps (100,000) must be less than"),
        ("training.distribution=mirrored", "TensorFlow sees no GPU"),
        ("training.distribution=multi_worker", "TF_CONFIG is not set"),
    ],
)
def test_a_dry_run_refuses_what_the_training_does(
    refused,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    setting: str,
    reason: str,
    further: list[str],
) -> None:
    physical = tf.config.list_physical_devices
    monkeypatch.setattr(
        tf.config,
        "list_physical_devices",
        lambda kind=None: [] if kind == "GPU" else physical(kind),
    )
    monkeypatch.delenv("TF_CONFIG", raising=False)
    words = ("model.adapter=none", f"run_dir={tmp_path}/run", setting)
    assert reason in refused(2, *words, *further)


def test_a_dry_run_refuses_a_part_without_examples(refused, tmp_path: Path) -> None:
    work_dir = copied_scenario(tmp_path).work_dir
    manifest = WorkDirectory(work_dir).examples.manifest
    contents = json.loads(manifest.read_text())
    contents["counts"]["examples"]["ctr"]["train"] = 0
    manifest.write_text(json.dumps(contents))
    words = ("model.adapter=none", f"work_dir={work_dir}", "--dry-run")
    assert "part 'train' in" in refused(1, *words)


def test_a_dry_run_refuses_the_selection_of_another_kind(run, tmp_path: Path) -> None:
    config = tmp_path / "rich.yaml"
    save_scenario(rich_scenario(model__backbone="prm", run_dir=f"{tmp_path}/run"), config)
    words = ("train", "--config", str(config), "--dry-run")
    assert run(*words)[0] == 0
    code, _, told = run(*words, "training.selection=auc")
    assert code == 2 and "training.selection: 'auc' is for ranking models" in told
