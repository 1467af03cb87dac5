"""Ids are texts: those of any alphabet go all the way, from the log to an export's scores."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml

from configs.loading import load_scenario
from preprocessing.encode import encode
from preprocessing.examples import build_examples
from serving.explore.work_data import Samples
from serving.export import export_run
from tests.scenarios import write_tiny_inputs
from tests.serving.exports import UNPROVEN
from trainer.__main__ import main

PREFIXES = {"user_id": "Zoë ", "item_id": "№ "}


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("alphabet")
    config = write_tiny_inputs(folder)
    for path in folder.glob("*.csv"):
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(
                {name: PREFIXES.get(name, "") + value for name, value in row.items()}
                for row in rows
            )
    for source in ("item", "user"):
        path = folder / f"{source}_answers.jsonl"
        records = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        for record in records:
            record["entity_id"] = PREFIXES[f"{source}_id"] + record["entity_id"]
        path.write_text("".join(json.dumps(record) + "\n" for record in records))
    tree = yaml.safe_load(config.read_text(encoding="utf-8"))
    tree["data"]["examples"] = ["ctr", "rerank", "retrieval"]
    config.write_text(yaml.safe_dump(tree), encoding="utf-8")
    scenario = load_scenario(config)
    encode(scenario)
    build_examples(scenario)
    return config


@pytest.mark.parametrize(
    ("backbone", "how"),
    [
        ("din", "memory"),
        pytest.param("din", "stream", marks=pytest.mark.slow),
        pytest.param("prm", "memory", marks=pytest.mark.slow),
        pytest.param("two_tower", "memory", marks=pytest.mark.slow),
    ],
)
def test_from_the_log_to_the_scores_of_an_export(
    config: Path, tmp_path: Path, backbone: str, how: str
) -> None:
    run = tmp_path / "run"
    words = [f"run_dir={run}", "training.epochs=1", f"training.input={how}"]
    assert main(["train", "--config", str(config), f"model.backbone={backbone}", *words]) == 0
    of_run, of_export = tmp_path / "run.parquet", tmp_path / "export.parquet"
    assert main(["evaluate", str(run), "--predictions", str(of_run)]) == 0
    export_run(run, tmp_path / "export", UNPROVEN)
    export = ["evaluate", str(tmp_path / "export"), "--config", str(run / "config.yaml")]
    assert main([*export, "--predictions", str(of_export)]) == 0
    first, second = (pq.read_table(path) for path in (of_run, of_export))
    for name, prefix in PREFIXES.items():
        ids = first[name].to_pylist()
        assert ids and all(one.startswith(prefix) for one in ids)
        assert second[name].to_pylist() == ids
    if "score" in first.column_names:
        np.testing.assert_allclose(first["score"], second["score"], atol=1e-5)


def test_the_explorer_shows_them(config: Path) -> None:
    samples = Samples(load_scenario(config), "test")
    users = samples.users
    assert users and all(user.startswith("Zoë ") for user in users)
    state = samples.state(users[0])
    assert state is not None and all(item.startswith("№ ") for item in state.items)
    assert all(item.startswith("№ ") for item in state.request.history_item_id)
