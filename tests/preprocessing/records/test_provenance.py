from __future__ import annotations

import gzip
import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from configs.scenario import Scenario
from preprocessing.records.contract import DamagedRecords
from preprocessing.records.coverage import IdCoverage
from preprocessing.records.knowledge import read_knowledge
from preprocessing.records.layout import WorkDirectory
from preprocessing.records.provenance import as_written, input_differences, is_written_by_step
from preprocessing.records.tfrecord_file import check_intact, read_records, write_records
from tests.scenarios import copied_scenario, rich_scenario, tiny_scenario

SOURCES = ("item", "user")


def moved(path: str, folder: Path, addition: bytes = b"") -> str:
    copy = folder / f"moved_{Path(path).name}"
    copy.write_bytes(Path(path).read_bytes() + addition)
    return str(copy)


def test_files_as_steps_wrote_them_are_accepted() -> None:
    work = WorkDirectory(rich_scenario().work_dir)
    files = [
        work.examples.item_attributes,
        work.examples.vocabulary("item_id"),
        *work.examples.shards("train", "retrieval"),
        *work.knowledge("likes").shards_without_fold(1),
        work.knowledge("item").path / "statistics.npz",
    ]
    assert [as_written(path) for path in files] == files
    for path in files[2:-1]:
        check_intact(path)


def test_of_files_in_no_steps_folder_no_manifest_speaks(tmp_path: Path) -> None:
    path = tmp_path / "part-00000-of-00001.tfrecord.gz"
    write_records(path, [b"not an example"])
    assert not is_written_by_step(path)
    check_intact(path)


def foreign(shard: Path, other: Path) -> None:
    shutil.copy(other, shard)


def emptied(shard: Path, other: Path) -> None:
    write_records(shard, [])


def shortened(shard: Path, other: Path) -> None:
    write_records(shard, list(read_records(shard))[:-1])


def of_equal_size(shard: Path, other: Path) -> None:
    contents = bytearray(shard.read_bytes())
    contents[4] ^= 1  # The time in GZIP's header, which no reader looks at.
    shard.write_bytes(contents)


@pytest.mark.parametrize("change", [foreign, emptied, shortened, of_equal_size])
def test_whole_files_that_the_step_did_not_write_are_named(
    tmp_path: Path, change: Callable[[Path, Path], None]
) -> None:
    work = WorkDirectory(copied_scenario(tmp_path).work_dir)
    shard, other = work.examples.shards("train")[0], work.examples.shards("test")[0]
    check_intact(shard)
    change(shard, other)
    with pytest.raises(DamagedRecords, match=f"{shard}: not the file .* with --force"):
        check_intact(shard)


def test_an_emptied_file_of_knowledge_is_named(tmp_path: Path) -> None:
    work = WorkDirectory(copied_scenario(tmp_path).work_dir)
    shard = work.knowledge("item").shards[0]
    write_records(shard, [])
    with pytest.raises(DamagedRecords, match=f"{shard}: not the file"):
        read_knowledge(work.path, "item")


def test_a_file_that_no_manifest_lists_is_named(tmp_path: Path) -> None:
    work = WorkDirectory(copied_scenario(tmp_path).work_dir)
    shards = work.examples.shards("train")
    for shard in shards:
        shard.unlink()
    alone = work.examples.shard("train", 0, 1)
    shutil.copy(work.examples.shards("test")[0], alone)
    with pytest.raises(DamagedRecords, match=f"{alone}: .*manifest.json does not list this file"):
        check_intact(alone)
    with pytest.raises(DamagedRecords, match=f"{shards[0]}: .*No such file.* --force"):
        check_intact(shards[0])


@pytest.mark.parametrize("contents", ["{", '{"step": "examples"}'])
def test_a_manifest_that_lists_no_files_is_named(tmp_path: Path, contents: str) -> None:
    work = WorkDirectory(copied_scenario(tmp_path).work_dir)
    work.examples.manifest.write_text(contents)
    with pytest.raises(DamagedRecords, match="manifest.json: .*preprocessing all"):
        check_intact(work.examples.shards("train")[0])


@pytest.mark.parametrize(
    ("record", "problem"),
    [(b"\xff" * 40, "record 2: not a serialized"), (None, "record 3: the checksum of its data")],
)
def test_a_damaged_record_of_a_steps_file_is_named(
    tmp_path: Path, record: bytes | None, problem: str
) -> None:
    work = WorkDirectory(copied_scenario(tmp_path).work_dir)
    shard = work.examples.shards("train")[0]
    records = list(read_records(shard))
    if record is not None:
        write_records(shard, [records[0], record, *records[2:]])
    else:
        framed = bytearray(gzip.decompress(shard.read_bytes()))
        framed[sum(len(each) + 16 for each in records[:2]) + 12 + 5] ^= 1
        shard.write_bytes(gzip.compress(bytes(framed)))
    with pytest.raises(DamagedRecords, match=f"{shard}: {problem}"):
        check_intact(shard)


def test_a_damaged_record_of_any_other_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "data_tfrecord-00000-of-00001.gz"
    write_records(path, [b"first", b"second"])
    framed = bytearray(gzip.decompress(path.read_bytes()))
    framed[16 + 5 + 12] ^= 1
    path.write_bytes(gzip.compress(bytes(framed)))
    with pytest.raises(DamagedRecords, match=f"{path}: record 2: the checksum of its data"):
        check_intact(path)


def test_the_files_of_the_data_differ_in_nothing() -> None:
    assert input_differences(tiny_scenario(), SOURCES) == []
    assert input_differences(rich_scenario(), [*SOURCES, "plain", "likes"]) == []


def test_files_may_be_moved_or_gone(tmp_path: Path) -> None:
    scenario = tiny_scenario()
    (answers,) = scenario.knowledge.answers["item"].individual
    elsewhere = tiny_scenario(
        data__interactions__path=moved(str(scenario.data.interactions.path), tmp_path),
        knowledge__answers__item__individual=[moved(answers, tmp_path)],
    )
    assert input_differences(elsewhere, SOURCES) == []
    folder = Path(str(scenario.data.interactions.path)).parent
    assert input_differences(tiny_scenario(data__catalogue__path=f"{folder}/fi*s.csv"), ()) == []


Changes = Callable[[Scenario, Path], dict[str, object]]


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        (
            lambda built, folder: {
                "data__interactions__path": moved(str(built.data.interactions.path), folder, b"\n")
            },
            "data.interactions.path",
        ),
        (
            lambda built, folder: {"data__catalogue__path": "/nowhere/moved_films.csv"},
            "data.catalogue.path",
        ),
        (
            lambda built, folder: {
                "data__interactions__path": [
                    built.data.interactions.path,
                    moved(str(built.data.interactions.path), folder),
                ]
            },
            "data.interactions.path",
        ),
        (
            lambda built, folder: {
                "knowledge__answers__item__individual": [
                    moved(built.knowledge.answers["item"].individual[0], folder, b"\n")
                ]
            },
            "knowledge.answers.item.individual",
        ),
        (
            lambda built, folder: {
                "knowledge__answers__item__groups": moved(
                    str(built.knowledge.answers["item"].groups), folder, b"\n"
                )
            },
            "knowledge.answers.item.groups",
        ),
    ],
)
def test_other_files_are_named_with_what_was_read(
    tmp_path: Path, changes: Changes, field: str
) -> None:
    built = tiny_scenario()
    (line,) = input_differences(tiny_scenario(**changes(built, tmp_path)), SOURCES)
    assert line.startswith(f"  {field}: '")
    asked, read = line.split(" is asked for, but ")
    assert "/moved_" in asked and built.work_dir in read and "/moved_" not in read
    assert "was built from '" in read and read.endswith((".csv'", ".jsonl'"))


def test_a_table_that_changed_between_two_steps_is_named(tmp_path: Path) -> None:
    scenario = copied_scenario(tmp_path)
    log, work = str(scenario.data.interactions.path), WorkDirectory(scenario.work_dir)
    manifest = work.knowledge("item").manifest
    contents = json.loads(manifest.read_text(encoding="utf-8"))
    manifest.write_text(json.dumps(contents | {"inputs": {**contents["inputs"], log: "0" * 64}}))
    (line,) = input_differences(scenario, SOURCES)
    assert line.startswith(f"  '{log}' changed between {work.path}/knowledge/item (SHA-256 000000")
    assert f"and {work.path}/examples (SHA-256 " in line
    assert input_differences(scenario, ["user"]) == []


def test_a_file_left_out_is_named(tmp_path: Path) -> None:
    scenario = copied_scenario(tmp_path)
    (line,) = input_differences(
        scenario.model_copy(
            update={"data": scenario.data.model_copy(update={"catalogue": _catalogue(scenario)})}
        ),
        (),
    )
    assert "data.catalogue.path: no field names" in line and "films.csv', which" in line


def _catalogue(scenario: Scenario) -> object:
    return scenario.data.catalogue.model_copy(update={"path": str(scenario.data.interactions.path)})


def test_a_file_that_changed_in_its_place_is_named(tmp_path: Path) -> None:
    scenario = copied_scenario(tmp_path)
    path = Path(moved(str(scenario.data.interactions.path), tmp_path))
    manifest = WorkDirectory(scenario.work_dir).examples.manifest
    text = manifest.read_text(encoding="utf-8")
    manifest.write_text(text.replace(str(scenario.data.interactions.path), str(path)))
    named = tiny_scenario(work_dir=scenario.work_dir, data__interactions__path=str(path))
    assert input_differences(named, ()) == []
    before = hashlib.sha256(path.read_bytes()).hexdigest()
    path.write_bytes(path.read_bytes() + b"u1,2,5,9\n")
    after = hashlib.sha256(path.read_bytes()).hexdigest()
    (line,) = input_differences(named, ())
    assert f"data.interactions.path: '{path}' has changed since" in line
    assert f"(SHA-256 {after[:12]}, then {before[:12]})" in line


def test_ids_and_rows_are_counted_and_shares_follow():
    coverage = IdCoverage.measure("item", {"1": 5, "2": 3, "30": 2}, ["2", "30", "x"])
    assert coverage.as_dictionary() == {
        "entity": "item",
        "ids": 3,
        "covered_ids": 2,
        "share_of_ids": 0.666667,
        "interactions": 10,
        "covered_interactions": 5,
        "share_of_interactions": 0.5,
    }
    assert (coverage.lacking, coverage.unused) == (("1",), ("x",))
    assert not coverage.is_empty


def test_what_does_not_meet_is_empty_and_nothing_to_cover_is_not():
    assert IdCoverage.measure("item", {"7.0": 1}, ["7"]).is_empty
    assert not IdCoverage.measure("item", {}, ["7"]).is_empty
    assert IdCoverage.measure("item", {}, ["7"]).share == 1.0
    assert IdCoverage.measure("item", {"7": 0, "8": 0}, ["7"], "samples").share == 0.5


def test_ids_of_users_are_shown_by_their_shape_only():
    coverage = IdCoverage.measure("user", {"ann-41": 1, "bob-42": 2}, ["zoe_7", "é"])
    assert coverage.lacking == ("aaa-99",)
    assert coverage.unused == ("a", "aaa_9")
