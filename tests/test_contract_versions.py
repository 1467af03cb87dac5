"""What each kind of artifact holds, for the tiny scenario: other contents need another number.

Where a change of results is meant, raise the number in configs/contract_versions.py, write the
file anew and review its difference:

    REKI_WRITE_CONTRACT=1 python -m pytest -p no:xdist tests/test_contract_versions.py
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import tensorflow as tf

from configs.contract_versions import CONTRACTS, contract_version
from preprocessing.grouping.step import make_groups
from preprocessing.links.step import link
from preprocessing.prompting.step import build_prompts
from serving.export_manifest import read_manifest
from tests.example_records import examples_in
from tests.runs import written_run
from tests.scenarios import tiny_config, tiny_scenario
from tests.serving.exports import exported, request_rows
from trainer.run_folder import RunFolder
from trainer.training import train

GOLDEN = Path(__file__).with_name("contract_versions.json")
WRITES = bool(os.environ.get("REKI_WRITE_CONTRACT"))
NOT_OF_THE_RESULT = frozenset(
    ("code_version", "config_hash", "files", "inputs", "libraries", "prompt_check", "settings")
)
"""Keys of a manifest that say where, with what and how a result was asked for."""

Artifact = tuple[dict[str, Any], dict[str, list[float]]]
"""Name -> what is equal on every machine; name -> numbers that are close on every machine."""


def numbers_of(values: Any) -> list[float]:
    """Two means, of which the second depends on the order."""
    flat = np.ravel(np.asarray(values, np.float64))
    return [float(flat.mean()), float((flat * (np.arange(flat.size) % 7)).mean())]


def rounded(tree: Any) -> Any:
    if isinstance(tree, dict):
        return {key: rounded(value) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return [rounded(value) for value in tree]
    return round(tree, 3) + 0.0 if isinstance(tree, float) else tree


def step_artifact(folder: Path) -> Artifact:
    """All files of a finished step."""
    exact: dict[str, Any] = {}
    close: dict[str, list[float]] = {}
    inputs = str(tiny_config().parent)
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = path.relative_to(folder).as_posix()
        contents: Any
        if name == "manifest.json":
            manifest = json.loads(path.read_text(encoding="utf-8"))
            contents = {key: manifest[key] for key in manifest if key not in NOT_OF_THE_RESULT}
        elif path.name.endswith(".tfrecord.gz"):
            contents = examples_in([path])
            vectors = [record.pop("vector") for record in contents if "vector" in record]
            if vectors:
                close[name] = numbers_of(vectors)
        elif path.suffix == ".parquet":
            contents = pq.read_table(path).to_pylist()
        elif path.suffix == ".npz":
            with np.load(path) as arrays:
                contents = sorted(arrays)
                close |= {f"{name}/{array}": numbers_of(arrays[array]) for array in arrays}
        else:
            contents = path.read_text(encoding="utf-8")
        text = repr(rounded(contents)).replace(inputs, "INPUTS")
        exact[name] = hashlib.sha256(text.encode()).hexdigest()
    return exact, close


@functools.cache
def grouped_work_dir() -> Path:
    """A work directory with groups of items and prompts about items, their groups and users."""
    work = tiny_config().parent / "grouped_work"
    scenario = tiny_scenario(
        work_dir=str(work),
        prompts__scenario="movies",
        knowledge__answers__item__groups=None,
        knowledge__answers__item__grouping={"maximum_size": 12},
    )
    make_groups(scenario)
    build_prompts(scenario)
    return work


@functools.cache
def linked_work_dir() -> Path:
    """A work directory with the links of answers that name two items each."""
    work = tiny_config().parent / "linked_work"
    titles = pq.read_table(
        Path(tiny_scenario().work_dir) / "examples/item_attributes.parquet"
    ).to_pylist()
    titled = [row for row in titles if row["title"]][:20]
    answers = tiny_config().parent / "links.jsonl"
    answers.write_text(
        "".join(
            json.dumps(
                {
                    **{"source": "links", "entity_id": row["item_id"]},
                    **{"extraction": "individual"},
                    "answer": json.dumps([titled[number - 1]["title"], "Casablanca (1942)"]),
                }
            )
            + "\n"
            for number, row in enumerate(titled)
        ),
        encoding="utf-8",
    )
    described = {"entity": "item", "individual": [str(answers)], "links": {}}
    link(tiny_scenario(work_dir=str(work), knowledge__answers__links=described))
    return work


def training_artifact() -> Artifact:
    """A short training: which weights there are, exactly, and how good they are, nearly."""
    folder = RunFolder(tiny_config().parent / "contract_run")
    metrics = train(
        tiny_scenario(run_dir=str(folder.path), model__match="ridge", training__epochs=1)
    )
    weights = tf.train.list_variables(str(folder.path / "checkpoint" / "weights"))
    exact = {
        "files": sorted(str(path.relative_to(folder.path)) for path in folder.path.rglob("*.*")),
        "metrics": sorted(metrics),
        "history": sorted(folder.read_history()[0]),
        "weights": {name: shape for name, shape in weights if "OBJECT_GRAPH" not in name},
    }
    validation = metrics["validation"]
    return exact, {"validation": [validation[name] for name in ("auc", "logloss")]}


def export_artifact() -> Artifact:
    """The export of a model with given weights."""
    manifest = read_manifest(exported().path)
    exact = {
        "files": sorted(manifest["files"]),
        "manifest": sorted(manifest),
        "variables": manifest["variables"],
        "signatures": manifest["signatures"],
    }
    return exact, {"scores": exported().scores(request_rows()).ravel().tolist()}


ARTIFACTS: dict[str, Callable[[], Artifact]] = {
    "group": lambda: step_artifact(grouped_work_dir() / "groups" / "item"),
    "prompts": lambda: step_artifact(grouped_work_dir() / "prompts"),
    "link": lambda: step_artifact(linked_work_dir() / "links" / "links"),
    "encode": lambda: step_artifact(Path(tiny_scenario().work_dir) / "knowledge" / "item"),
    "examples": lambda: step_artifact(Path(tiny_scenario().work_dir) / "examples"),
    "training": training_artifact,
    "export": export_artifact,
}
TOLERANCES = {"training": 5e-3, "export": 1e-4}


def is_golden(artifact: str, exact: dict[str, Any], close: dict[str, list[float]]) -> bool:
    golden = json.loads(GOLDEN.read_text(encoding="utf-8"))[artifact]
    tolerance = TOLERANCES.get(artifact, 1e-5)
    return (
        golden["version"] == contract_version(artifact)
        and golden["exact"] == json.loads(json.dumps(exact))
        and golden["close"].keys() == close.keys()
        and all(close[key] == pytest.approx(golden["close"][key], abs=tolerance) for key in close)
    )


@pytest.mark.parametrize("artifact", list(CONTRACTS))
def test_other_results_have_another_number(artifact: str) -> None:
    exact, close = ARTIFACTS[artifact]()
    if WRITES:
        golden = json.loads(GOLDEN.read_text(encoding="utf-8")) if GOLDEN.exists() else {}
        golden[artifact] = {"version": contract_version(artifact), "exact": exact, "close": close}
        GOLDEN.write_text(json.dumps(golden, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    assert is_golden(artifact, exact, close), (
        f"'{artifact}' gives another result than {GOLDEN.name} has under its number: raise its "
        "number in configs/contract_versions.py, or repair the change; see the top of this file"
    )


def test_a_changed_record_or_vector_is_another_result(tmp_path: Path) -> None:
    exact, close = ARTIFACTS["encode"]()
    assert is_golden("encode", exact, close)
    (name, values), *_ = close.items()
    assert not is_golden("encode", exact, {**close, name: [values[0] + 1e-3, values[1]]})
    folder = tmp_path / "item"
    shutil.copytree(Path(tiny_scenario().work_dir) / "knowledge" / "item", folder)
    letters = folder / "dead_letters.jsonl"
    letters.write_text(letters.read_text(encoding="utf-8") + "{}\n", encoding="utf-8")
    assert not is_golden("encode", *step_artifact(folder))


_RECOGNISES = """
import sys
from configs.loading import load_scenario
from preprocessing.all_steps import run_all_steps
from trainer.run_folder import RunFolder
from trainer.run_identity import is_up_to_date
config, run = sys.argv[1:]
assert run_all_steps(load_scenario(config))["skipped"]
folder = RunFolder(run)
assert is_up_to_date(folder, folder.read_scenario())
"""


def test_a_changed_comment_leaves_finished_work_as_it_is(
    tmp_path: Path, repository_root: Path
) -> None:
    rooms = ("configs", "models", "preprocessing", "serving", "trainer")
    for room in rooms:
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(repository_root / room, tmp_path / room, ignore=ignored)
        for path in (tmp_path / room).rglob("*.py"):
            path.write_text(path.read_text(encoding="utf-8") + "# new\n", encoding="utf-8")
    arguments = [str(tiny_config()), str(written_run().folder.path)]
    environment = {**os.environ, "PYTHONPATH": "", "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-c", _RECOGNISES, *arguments]
    run = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
