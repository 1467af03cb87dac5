from __future__ import annotations

import functools
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from configs.command_line import CommandError
from configs.loading import ConfigurationError
from preprocessing.records.layout import WorkDirectory
from preprocessing.records.tfrecord_file import read_records, write_records
from tests.runs import raw_requests
from tests.scenarios import rich_config, rich_scenario, tiny_config, tiny_scenario
from trainer.run_fn import read_custom_config, run_fn, train_run
from trainer.run_folder import RunFolder
from trainer.run_identity import default_run_folder

BATCH_SIZE, TRAIN_SAMPLES, TRAIN_STEPS, EVAL_STEPS = 64, 300, 3, 1
OVERRIDES = ("model.match=ridge", "training.epochs=2", f"training.batch_size={BATCH_SIZE}")


def shards(part: str) -> list[Path]:
    return WorkDirectory(tiny_scenario().work_dir).examples.shards(part)


def tfx_arguments(folder: Path, **changes: Any) -> SimpleNamespace:
    """What TFX's Trainer hands over, in its layout of folders, with the scenario's own files."""
    arguments = {
        "train_files": [str(shards("train")[0].with_name("*"))],
        "eval_files": [str(shards("validation")[0].with_name("*"))],
        "train_steps": TRAIN_STEPS,
        "eval_steps": EVAL_STEPS,
        "serving_model_dir": str(folder / "model" / "6" / "Format-Serving"),
        "model_run_dir": str(folder / "model_run" / "6"),
        "custom_config": {"config": str(tiny_config()), "overrides": list(OVERRIDES)},
    }
    return SimpleNamespace(**(arguments | changes))


@functools.cache
def finished() -> tuple[Path, Path]:
    """The run folder and the SavedModel of a training on fewer examples than the scenario's."""
    folder = Path(tempfile.mkdtemp(prefix="run_fn_"))
    examples = folder / "examples" / "Split-train" / "data_tfrecord-00000-of-00001.gz"
    records = [record for shard in shards("train") for record in read_records(shard)]
    write_records(examples, records[:TRAIN_SAMPLES])
    arguments = tfx_arguments(folder, train_files=[str(examples.with_name("*"))])
    run_fn(arguments)
    (run,) = Path(arguments.model_run_dir).iterdir()
    return run, Path(arguments.serving_model_dir)


@pytest.fixture(scope="module", autouse=True)
def _cleaned_up() -> Any:
    yield
    if finished.cache_info().currsize:
        shutil.rmtree(finished()[0].parents[2])


def test_the_given_files_are_trained_for_so_many_steps() -> None:
    run, _ = finished()
    metrics = RunFolder(run).read_metrics()
    assert metrics["train_samples"] == TRAIN_SAMPLES
    assert metrics["epochs"] == 1  # an epoch has five steps
    assert metrics["validation"]["n"] == EVAL_STEPS * BATCH_SIZE


def test_the_run_folder_has_its_usual_name() -> None:
    run, _ = finished()
    scenario = tiny_scenario(model__match="ridge")
    assert run.name == default_run_folder(scenario).path.name
    assert RunFolder(run).read_scenario().run_dir == str(run)


def test_the_saved_model_scores_as_the_run_folder_does() -> None:
    run, saved_model = finished()
    raw = raw_requests(tiny_scenario())
    _, model = RunFolder(run).load_model()
    expected = model.probabilities(raw).numpy()
    signatures = tf.saved_model.load(str(saved_model)).signatures
    scores = signatures["serving_default"](**raw)["score"].numpy()
    records = [record for shard in shards("test") for record in read_records(shard)]
    example_outputs = signatures["predict_examples"](examples=tf.constant(records))["score"].numpy()
    assert expected.std() > 0.01
    np.testing.assert_allclose(scores, expected, atol=1e-5)
    np.testing.assert_allclose(example_outputs, expected, atol=1e-5)


def test_the_saved_model_is_that_of_an_export() -> None:
    _, saved_model = finished()
    assert [path.name for path in saved_model.parent.iterdir()] == [saved_model.name]
    assert {path.name for path in saved_model.iterdir()} >= {"saved_model.pb", "variables"}
    warmup = saved_model / "assets.extra" / "tf_serving_warmup_requests"
    assert sum(1 for _ in tf.data.TFRecordDataset(str(warmup))) > 0
    signatures = tf.saved_model.load(str(saved_model)).signatures
    assert {"serving_default", "rank", "predict_examples", "classify", "regress"} <= {*signatures}


def test_steps_that_are_not_given_are_all_of_the_scenario(tmp_path: Path) -> None:
    custom = {"config": str(tiny_config()), "overrides": ["model.adapter=none"]}
    arguments = tfx_arguments(
        tmp_path,
        train_files=[str(shard) for shard in shards("train")],
        train_steps=None,
        eval_steps=0,
        custom_config=json.dumps(custom),
    )
    train_run(arguments, lambda run, destination: None)
    (run,) = Path(arguments.model_run_dir).iterdir()
    metrics = RunFolder(run).read_metrics()
    manifest = WorkDirectory(tiny_scenario().work_dir).examples.manifest
    parts = json.loads(manifest.read_text(encoding="utf-8"))["counts"]["parts"]
    assert metrics["epochs"] == tiny_scenario().training.epochs == 2
    assert (metrics["train_samples"], metrics["validation"]["n"]) == (
        parts["train"],
        parts["validation"],
    )


@pytest.mark.parametrize(
    ("received", "message"),
    [
        (None, "custom_config: expected {"),
        ({}, "custom_config: key 'config' is missing"),
        ({"config": "a.yaml", "override": []}, "unknown key 'override'. Did you mean 'overrides'?"),
        ({"config": "a.yaml", "steps": 3}, "unknown key 'steps'. Known: config, overrides"),
        ({"config": 3}, "custom_config: config: expected a path. Received: 3"),
        ({"config": "a.yaml", "overrides": "a=b"}, "overrides: expected a list of texts"),
        ({"config": "a.yaml", "overrides": [3]}, "overrides: expected a list of texts"),
        ('{"config": ', "custom_config: not valid JSON"),
        ("[]", "custom_config: expected {"),
    ],
)
def test_a_wrong_custom_config_is_explained(
    received: Mapping[str, object] | str | None, message: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read_custom_config(received)
    assert message in str(caught.value)


@pytest.mark.parametrize("field", ["train_files", "eval_files"])
@pytest.mark.parametrize(
    ("patterns", "message"),
    [(["/nowhere/*"], "no file matches /nowhere/*"), ([], "no file is named")],
)
def test_missing_files_are_named_before_training(
    tmp_path: Path, field: str, patterns: list[str], message: str
) -> None:
    with pytest.raises(CommandError, match=field) as caught:
        run_fn(tfx_arguments(tmp_path, **{field: patterns}))
    assert message in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_an_example_without_a_feature_is_explained(tmp_path: Path) -> None:
    examples = [tf.train.Example.FromString(record) for record in read_records(shards("train")[0])]
    del examples[3].features.feature["user_mean_rating"]
    file = tmp_path / "examples.gz"
    write_records(file, [example.SerializeToString() for example in examples])
    with pytest.raises(CommandError, match="Feature: user_mean_rating .* is required"):
        run_fn(tfx_arguments(tmp_path, train_files=[str(file)]))


@pytest.mark.slow
def test_other_kinds_of_models_are_trained_on_their_examples(tmp_path: Path) -> None:
    def pattern(part: str) -> str:
        return str(WorkDirectory(rich_scenario().work_dir).examples.part(part, "rerank") / "*")

    arguments = tfx_arguments(
        tmp_path,
        train_files=[pattern("train")],
        eval_files=[pattern("validation")],
        train_steps=1,
        custom_config={
            "config": str(rich_config()),
            "overrides": ["model.backbone=prm", "model.adapter=none"],
        },
    )
    run_fn(arguments)
    signatures = tf.saved_model.load(arguments.serving_model_dir).signatures
    assert "predict_examples" in signatures and "classify" not in signatures


def test_a_saved_model_in_the_place_is_not_overwritten(tmp_path: Path) -> None:
    arguments = tfx_arguments(tmp_path)
    place = Path(arguments.serving_model_dir)
    place.mkdir(parents=True)
    (place / "saved_model.pb").write_bytes(b"older")
    with pytest.raises(CommandError, match="serving_model_dir: .* is not empty"):
        run_fn(arguments)
    assert (place / "saved_model.pb").read_bytes() == b"older"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("training.epoch=3", "Did you mean 'training.epochs'?"),
        ("training.distribution=multi_worker", "TFX's Trainer runs one process"),
    ],
)
def test_a_wrong_scenario_is_explained(tmp_path: Path, override: str, message: str) -> None:
    custom = {"config": str(tiny_config()), "overrides": [override]}
    with pytest.raises(ConfigurationError) as caught:
        run_fn(tfx_arguments(tmp_path, custom_config=custom))
    assert message in str(caught.value)


LOADED_PACKAGES = """
import importlib.metadata, sys
import serving.run_fn
packages = importlib.metadata.packages_distributions()
loaded = {module.split(".")[0] for module in sys.modules}
print(*{name for module in loaded for name in packages.get(module, ())})
"""
IF_THERE = {"narwhals"}
"""What scikit-learn imports where it is installed, and does without."""


def test_tfx_s_environment_has_every_package_that_is_imported(repository_root: Path) -> None:
    actual = subprocess.run(
        [sys.executable, "-c", LOADED_PACKAGES],
        cwd=repository_root,
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = {re.sub(r"[-_.]+", "-", name).lower() for name in actual.stdout.split()}
    lines = (repository_root / "requirements-tfx.txt").read_text(encoding="utf-8").splitlines()
    pinned = {re.split(r"[=\[ ]", line)[0].lower() for line in lines if "==" in line}
    assert "tf-keras" in loaded & pinned
    assert loaded - pinned <= IF_THERE
