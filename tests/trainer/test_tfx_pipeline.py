from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from sklearn.metrics import log_loss, roc_auc_score

from preprocessing.records.layout import WorkDirectory
from preprocessing.records.parsing import example_dataset
from preprocessing.records.tfrecord_file import read_records, write_records
from tests.scenarios import copied_scenario, list_files_anew, tiny_config, tiny_scenario
from trainer.run_folder import RunFolder
from trainer.tfx_pipeline import main

TFX_PYTHON = Path(".venv-tfx/bin/python")


def arguments(*further: str) -> list[str]:
    return ["--config", str(tiny_config()), *further]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "required: --config"),
        (["--train-steps", "0"], "--train-steps: expected a number greater than or equal to 1"),
        (["--eval-steps", "x"], "--eval-steps: expected a valid integer"),
        (["--minimum-auc", "1.5"], "expected a number less than or equal to 1. Received: '1.5'"),
        (["--largest-auc-drop", "-1"], "a number greater than or equal to 0. Received: '-1'"),
        (
            ["--calibration-factor", "0.9"],
            "expected a number greater than or equal to 1. Received: '0.9'",
        ),
        (["--calibration-factor", "inf"], "expected a finite number. Received: 'inf'"),
        (["--largest-auc-drop", "nan"], "expected a finite number. Received: 'nan'"),
    ],
)
def test_wrong_usage_is_exit_code_2(
    capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments(*options) if options else [])
    assert caught.value.code == 2
    output = capsys.readouterr()
    assert output.out == "" and message in output.err
    assert "Try 'python -m trainer.tfx_pipeline --help'" in output.err


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["training.epoch=3"], 2, "Did you mean 'training.epochs'?"),
        (["--slice", "user_folds"], 2, "Did you mean 'user_fold'?"),
        (["model.backbone=prm"], 2, "take a ranking model such as din"),
        (
            ["work_dir=/nowhere"],
            1,
            "/nowhere/examples/ctr/train: no TFRecord files; run 'python -m",
        ),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_started(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, options: list[str], code: int, message: str
) -> None:
    root = tmp_path / "root"
    assert main(arguments(*options, "--pipeline-root", str(root), "--json")) == code
    output = capsys.readouterr()
    assert output.out == "" and message in output.err
    assert not root.exists()


def test_help_explains_every_component_and_loads_no_heavy_library(repository_root: Path) -> None:
    program = (
        "import sys\n"
        "from trainer.tfx_pipeline import main\n"
        "try:\n"
        "    main(['--help'])\n"
        "except SystemExit:\n"
        "    print('heavy:', *{'tensorflow', 'tfx', 'numpy', 'apache_beam'} & set(sys.modules))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=repository_root, capture_output=True, text=True
    )
    assert done.stdout.splitlines()[-1:] == ["heavy:"], done.stderr
    for component in (
        *("ImportExampleGen", "StatisticsGen", "SchemaGen", "ExampleValidator"),
        *("ContractValidator", "Trainer", "Evaluator", "Pusher"),
    ):
        assert component in done.stdout


@dataclass(frozen=True)
class Runs:
    """Two runs of one pipeline: a model with all its training, then one with almost none.

    In the second, half of the test examples have no timestamp, which no model reads.
    """

    root: Path
    first: dict[str, Any]
    second: dict[str, Any]


@pytest.fixture(scope="module")
def runs(repository_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Runs:
    python = repository_root / TFX_PYTHON
    if not python.exists():
        pytest.skip(f"{TFX_PYTHON} is missing: run 'make tfx' once")
    root = tmp_path_factory.mktemp("tfx")

    def result_of(*options: str) -> dict[str, Any]:
        done = subprocess.run(
            [
                *(str(python), "-m", "trainer.tfx_pipeline", "--json"),
                *("--pipeline-root", str(root), *arguments(*options)),
            ],
            cwd=repository_root,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        assert "Traceback" not in done.stderr
        return json.loads(done.stdout)

    return Runs(
        root,
        result_of("--slice", "user_activity", "--slice", "user_fold"),
        result_of(
            *("--train-steps", "1", "--eval-steps", "1", "--largest-auc-drop", "0"),
            f"work_dir={without_timestamps(tmp_path_factory.mktemp('copy'))}",
        ),
    )


def without_timestamps(folder: Path) -> str:
    """A copy of the work directory."""
    work_dir = copied_scenario(folder).work_dir
    for shard in WorkDirectory(work_dir).examples.shards("test"):
        examples = [tf.train.Example.FromString(record) for record in read_records(shard)]
        for example in examples[::2]:
            del example.features.feature["timestamp"]
        write_records(shard, [example.SerializeToString() for example in examples])
    list_files_anew(WorkDirectory(work_dir).examples)
    return work_dir


@pytest.mark.slow
def test_example_gen_keeps_every_record(runs: Runs) -> None:
    def contents(files: list[Path]) -> list[bytes]:
        examples = [
            tf.train.Example.FromString(record) for file in files for record in read_records(file)
        ]
        return sorted(example.SerializeToString(deterministic=True) for example in examples)

    generated = runs.root / "artifacts" / "ImportExampleGen" / "examples"
    first_run = min(generated.iterdir(), key=lambda folder: int(folder.name))
    examples = WorkDirectory(tiny_scenario().work_dir).examples
    for split, part in (("train", "train"), ("eval", "validation"), ("test", "test")):
        files = sorted((first_run / f"Split-{split}").glob("data_tfrecord-*.gz"))
        assert contents(files) == contents(examples.shards(part))


@pytest.mark.slow
def test_a_first_model_is_judged_by_its_thresholds_alone_and_pushed(runs: Runs) -> None:
    first = runs.first
    assert (first["blessed"], first["failures"], first["baseline"]) == (True, [], None)
    assert first["anomalies"] == []
    pushed = Path(first["pushed"])
    assert pushed == runs.root / "pushed" / "films" / str(first["version"])
    assert (pushed / "assets.extra" / "tf_serving_warmup_requests").exists()
    assert RunFolder(first["run"]).read_metrics()["epochs"] == tiny_scenario().training.epochs


@pytest.mark.slow
def test_evaluator_measures_what_the_pushed_model_says(runs: Runs) -> None:
    shards = WorkDirectory(tiny_scenario().work_dir).examples.shards("test")
    (batch,) = example_dataset(shards, 4096)
    labels, positions = batch["label"].numpy(), batch["position"].numpy()
    records = [record for shard in shards for record in read_records(shard)]
    signatures = tf.saved_model.load(runs.first["pushed"]).signatures
    scores = signatures["predict_examples"](examples=tf.constant(records))["score"].numpy()

    def check(measured: dict[str, Any], chosen: np.ndarray) -> None:
        slice_labels, given = labels[chosen], scores[chosen]
        assert measured["n"] == chosen.sum()
        assert measured["mean_label"] == pytest.approx(slice_labels.mean())
        assert measured["mean_score"] == pytest.approx(given.mean(), abs=1e-5)
        assert measured["calibration"] == pytest.approx(
            given.mean() / slice_labels.mean(), abs=1e-4
        )
        assert measured["logloss"] == pytest.approx(
            log_loss(slice_labels, given, labels=[0, 1]), abs=1e-5
        )
        if 0 < slice_labels.mean() < 1:
            # Pairs within one of TFMA's 10,000 bins of scores count as half, however ordered.
            near = (
                np.abs(np.subtract.outer(given[slice_labels == 1], given[slice_labels == 0]))
                < 1.01e-4
            )
            tolerance = near.mean() / 2 + 1e-6
            assert measured["auc"] == pytest.approx(
                roc_auc_score(slice_labels, given), abs=tolerance
            )

    check(runs.first["test"], np.ones(len(labels), bool))
    slices = runs.first["slices"]
    assert set(slices) == {"user_activity", "user_fold"}
    for group, measured in slices["user_activity"].items():
        low, high = map(int, group.split("-"))
        check(measured, (low <= positions) & (positions <= high))
    folds = batch["user_fold"].numpy()
    for fold, measured in slices["user_fold"].items():
        check(measured, folds == int(fold))
    for feature_slices in slices.values():
        assert sum(measured["n"] for measured in feature_slices.values()) == len(labels)


@pytest.mark.slow
def test_a_worse_model_is_compared_with_the_blessed_one_and_not_pushed(runs: Runs) -> None:
    second = runs.second
    assert second["baseline"] == pytest.approx(runs.first["test"], abs=1e-6)
    assert second["test"]["auc"] < second["baseline"]["auc"]
    assert second["blessed"] is False
    assert any(failure.startswith("auc differs by -") for failure in second["failures"])
    assert second["pushed"] is None and second["version"] is None
    versions = [path.name for path in (runs.root / "pushed" / "films").iterdir()]
    assert versions == [str(runs.first["version"])]
    validation = RunFolder(second["run"]).read_metrics()["validation"]
    assert validation["n"] == tiny_scenario().training.batch_size


@pytest.mark.slow
def test_both_schemas_find_what_is_missing(runs: Runs) -> None:
    actual = {
        (anomaly["found_by"], anomaly["split"], anomaly["feature"]): anomaly["description"]
        for anomaly in runs.second["anomalies"]
    }
    assert set(actual) == {
        ("ContractValidator", "test", "timestamp"),
        ("ExampleValidator", "test", "timestamp"),
    }
    assert all("fewer examples than expected" in description for description in actual.values())
