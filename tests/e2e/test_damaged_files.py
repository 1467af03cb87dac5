"""A damaged file is named, or what is made is as without the damage; no reader passes over a part.

Every input is compressed, so that it carries a checksum; what steps leave has one in its manifest.
"""

from __future__ import annotations

import gzip
import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import preprocessing.__main__
import serving.__main__
import trainer.__main__
from preprocessing.records.layout import WorkDirectory
from preprocessing.records.tfrecord_file import write_records
from tests.killing import checksums
from tests.runs import write_run
from tests.scenarios import copied_scenario, tiny_config
from tests.small_pipeline import SMALL_STEPS, folders_before_steps

TRIED = 4
"""Files of a step, drawn by lot, that get each kind of damage."""

Damage = Callable[[Path, random.Random], None]


def cut_off(path: Path, lot: random.Random) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) - lot.randint(1, min(9, len(content)))])


def flip_a_bit(path: Path, lot: random.Random) -> None:
    content = bytearray(path.read_bytes())
    content[lot.randrange(len(content))] ^= 1 << lot.randrange(8)
    path.write_bytes(content)


def empty(path: Path, lot: random.Random) -> None:
    del lot
    path.write_bytes(b"")


def leave_no_records(path: Path, lot: random.Random) -> None:
    """A whole file, of which every checksum is right."""
    del lot
    write_records(path, [])


def swap(path: Path, lot: random.Random) -> None:
    """Exchanges a file with another one near it, of its kind if there is one."""
    near = [
        other
        for folder in (path.parent, *path.parent.parent.iterdir())
        if folder.is_dir()
        for other in folder.iterdir()
        if other.is_file() and other.read_bytes() != path.read_bytes()
    ]
    if not near:
        return
    alike = [other for other in near if other.suffix == path.suffix]
    other = lot.choice(sorted(alike or near))
    content, others = path.read_bytes(), other.read_bytes()
    path.write_bytes(others)
    other.write_bytes(content)


def edit(path: Path, lot: random.Random) -> None:
    """Changes one number or text of a JSON document."""
    document = json.loads(path.read_bytes())
    leaves: list[tuple[Any, Any]] = []

    def collect(tree: Any) -> None:
        for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree):
            if isinstance(value, dict | list):
                collect(value)
            else:
                leaves.append((tree, key))

    collect(document)
    tree, key = lot.choice(leaves)
    value = tree[key]
    tree[key] = value + 1 if isinstance(value, int | float) else f"{value}x"
    path.write_text(json.dumps(document), encoding="utf-8")


DAMAGES: dict[str, Damage] = {
    "cut off": cut_off,
    "bit flipped": flip_a_bit,
    "emptied": empty,
    "swapped": swap,
    "edited": edit,
}


STEPS = {
    step: [word.replace("prose.jsonl", "prose.jsonl.gz") for word in words]
    for step, words in SMALL_STEPS.items()
}


def compress_inputs(folder: Path) -> None:
    text = (folder / "scenario.yaml").read_text(encoding="utf-8")
    for path in [*folder.glob("*.csv"), *folder.glob("*.jsonl")]:
        path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes(), mtime=0))
        path.unlink()
        text = text.replace(f": {path.name}\n", f": {path.name}.gz\n")
        text = text.replace(f"- {path.name}\n", f"- {path.name}.gz\n")
    (folder / "scenario.yaml").write_text(text, encoding="utf-8")


@pytest.fixture(scope="module")
def states(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders as they are before each step, and "" after the last one."""
    folder = tmp_path_factory.mktemp("states")
    return folders_before_steps(folder, STEPS, compress_inputs) | {"": folder / "state"}


def results(folder: Path) -> dict[str, str]:
    """Checksums of what steps leave; manifests and reports tell of the inputs and of the time."""
    return {
        name: digest
        for name, digest in checksums(folder).items()
        if not name.endswith("manifest.json") and not name.startswith("work/forget_r")
    }


def may_get(damage: str, path: Path) -> bool:
    if damage == "edited":
        return path.suffix == ".json"
    is_input = path.parts[0] not in ("work", "answers")
    return path.suffix != ".yaml" and not (damage == "swapped" and is_input)


@pytest.mark.slow
@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("step", SMALL_STEPS)
def test_a_step_names_a_damaged_file_or_makes_the_same(
    step: str,
    damage: str,
    states: dict[str, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    names = list(SMALL_STEPS)
    after = [*names, ""][names.index(step) + 1]
    before, expected = results(states[step]), results(states[after])
    files = [
        path.relative_to(states[step])
        for path in sorted(states[step].rglob("*"))
        if path.is_file() and path.stat().st_size
    ]
    lot = random.Random(f"{step} {damage}")
    candidates = [path for path in files if may_get(damage, path)]
    for number, file in enumerate(lot.sample(candidates, min(TRIED, len(candidates)))):
        folder = shutil.copytree(states[step], tmp_path / str(number))
        DAMAGES[damage](folder / file, lot)
        damaged = {name for name, digest in results(folder).items() if before.get(name) != digest}
        monkeypatch.chdir(folder)
        capsys.readouterr()
        code = preprocessing.__main__.main(STEPS[step])
        shown = capsys.readouterr().err
        assert "Traceback" not in shown
        if code == 0:
            actual = results(folder)
            assert {name: actual.get(name) for name in expected if name not in damaged} == {
                name: digest for name, digest in expected.items() if name not in damaged
            }, file
        else:
            assert code in (1, 2)  # 2: a table without the columns that the scenario names
            assert any(str(Path(name)) in shown for name in (*damaged, file)), (file, shown)
        monkeypatch.chdir(tmp_path)


def assert_named(path: Path, shown: str) -> None:
    """The file is named, or where it is missing, the folder of which the shards are incomplete."""
    assert "Traceback" not in shown
    assert str(path) in shown or (
        not path.exists() and f"{path.parent}: the set of shards is incomplete" in shown
    )


READ_TO_TRAIN: dict[str, Callable[[WorkDirectory], Path]] = {
    "examples": lambda work: work.examples.shards("train")[0],
    "last examples": lambda work: work.examples.shards("train")[-1],
    "validation": lambda work: work.examples.shards("validation")[0],
    "knowledge": lambda work: work.knowledge("item").shards[0],
    "item attributes": lambda work: work.examples.item_attributes,
    "vocabulary": lambda work: work.examples.vocabulary("genres"),
}
SHARD_DAMAGES: dict[str, Damage] = {
    **{name: DAMAGES[name] for name in ("cut off", "bit flipped", "emptied", "swapped")},
    "without records": leave_no_records,
    "missing": lambda path, lot: path.unlink(),
}


@pytest.mark.slow
@pytest.mark.parametrize("damage", SHARD_DAMAGES)
@pytest.mark.parametrize("read", READ_TO_TRAIN)
@pytest.mark.parametrize("form", ["memory", "stream"])
def test_training_names_a_damaged_file(
    read: str, damage: str, form: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scenario = copied_scenario(tmp_path)
    path = READ_TO_TRAIN[read](WorkDirectory(scenario.work_dir))
    SHARD_DAMAGES[damage](path, random.Random(1))
    words = ["train", "--config", str(tiny_config()), f"work_dir={scenario.work_dir}"]
    words += [f"training.input={form}", "training.epochs=1", f"run_dir={tmp_path / 'run'}"]
    capsys.readouterr()
    assert trainer.__main__.main(words) == 1
    assert_named(path, capsys.readouterr().err)
    assert not (tmp_path / "run" / "metrics.json").exists()


@pytest.mark.slow
@pytest.mark.parametrize("damage", SHARD_DAMAGES)
@pytest.mark.parametrize("command", ["evaluate", "export"])
def test_evaluation_and_export_name_a_damaged_file(
    command: str, damage: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scenario = copied_scenario(tmp_path, run_dir=str(tmp_path / "run"))
    run = write_run(scenario).folder.path
    work = WorkDirectory(scenario.work_dir)
    path = work.examples.shards("test")[0]
    if command == "export":
        path = work.knowledge("item").shards[0]
    SHARD_DAMAGES[damage](path, random.Random(1))
    capsys.readouterr()
    if command == "evaluate":
        assert trainer.__main__.main(["evaluate", str(run)]) == 1
    else:
        assert serving.__main__.main(["export", str(run), "--out", str(tmp_path / "out")]) == 1
    assert_named(path, capsys.readouterr().err)
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())
