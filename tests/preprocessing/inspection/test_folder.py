from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from preprocessing.inspection.record_checks import Example
from preprocessing.records.layout import shard_name
from preprocessing.records.tfrecord_file import read_records, write_records
from tests.preprocessing.work_folder import (
    MORE_VECTORS,
    VECTORS,
    checks,
    edit_manifest,
    largest_shard,
    reseal,
    validate,
    write_examples,
    write_knowledge_step,
)


def test_a_whole_work_directory_has_no_findings(capsys, pristine):
    code, result, err = validate(capsys, pristine, "--strict")
    assert code == 0 and result["errors"] == result["warnings"] == 0
    (examples, item) = result["steps"].values()
    manifest = json.loads((pristine / "examples" / "manifest.json").read_text())
    assert examples["examples"] == manifest["counts"]["examples"]
    assert examples["in_vocabulary"]["ctr"]["item_id"]["train"] == 1
    assert item["vectors"] == {"collective": 21, "individual": 2}
    samples = [
        Example.FromString(record).features.feature["item_id"].bytes_list.value[0].decode()
        for path in (pristine / "examples" / "ctr").glob("*/*.gz")
        for record in read_records(path)
    ]
    known = {entity for entity, _, _ in MORE_VECTORS}
    assert item["coverage"]["samples"] == len(samples)
    assert item["coverage"]["covered_samples"] == sum(sample in known for sample in samples)
    assert result["findings"] == [] and result["findings_not_listed"] == 0
    assert "0 errors, 0 warnings in 2 steps" in err


@pytest.mark.parametrize(
    ("split_by", "filtered"),
    [("user", {}), ("global_time", {"minimum_item_interactions": 6})],
)
def test_other_splits_and_sampled_negatives_have_no_findings_either(
    capsys, tmp_path, split_by, filtered
):
    work = write_examples(tmp_path, split_by, negatives={"per_positive": 2}, filter=filtered)
    code, result, _ = validate(capsys, work)
    assert (code, result["by_check"]) == (0, {})
    manifest = json.loads((work / "examples" / "manifest.json").read_text())
    assert manifest["counts"]["sampled_negatives"] > 0
    assert bool(manifest["counts"]["filtered_out"]) == bool(filtered)


def test_coverage_counts_what_the_vocabulary_knows(capsys, damaged):
    examples = damaged / "examples"
    rows = [
        Example.FromString(record).features.feature
        for path in sorted((examples / "ctr" / "test").glob("*.gz"))
        for record in read_records(path)
    ]
    known = set((examples / "vocabularies" / "item_id.txt").read_text().split())
    share = sum(row["item_id"].bytes_list.value[0].decode() in known for row in rows) / len(rows)
    _, result, _ = validate(capsys, examples)
    assert result["steps"][str(examples)]["in_vocabulary"]["ctr"]["item_id"]["test"] == round(
        share, 6
    )


def flip_a_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x10
    path.write_bytes(content)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-9])


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (flip_a_byte, {"wrong_checksum", "damaged_file"}),
        (truncate, {"wrong_size", "damaged_file"}),
        (Path.unlink, {"missing_file", "incomplete_shards"}),
    ],
)
def test_a_damaged_shard(capsys, damaged, damage, expected):
    shard = largest_shard(damaged / "examples" / "ctr" / "train")
    damage(shard)
    code, result, err = validate(capsys, damaged)
    assert code == 1 and checks(result) == expected
    name = shard.relative_to(damaged).as_posix()
    named = {finding["file"] for finding in result["findings"] if finding["severity"] == "error"}
    assert named <= {name, "examples/ctr/train"} and name in err
    assert "--force" in err


def test_a_damaged_vocabulary_and_a_file_too_many(capsys, damaged):
    vocabulary = damaged / "examples" / "vocabularies" / "genres.txt"
    vocabulary.write_text("Drama\nDrama\n")
    (damaged / "knowledge" / "item" / "notes.txt").write_text("mine")
    code, result, err = validate(capsys, damaged)
    assert code == 1 and checks(result) == {"wrong_size", "damaged_file", "extra_file"}
    assert "error: knowledge/item/notes.txt: the manifest does not list it; remove it" in err


def edited(*path: str, value: object) -> Callable[[dict[str, Any]], None]:
    def change(manifest: dict[str, Any]) -> None:
        tree = manifest
        for name in path[:-1]:
            tree = tree[name]
        tree[path[-1]] = value

    return change


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (edited("counts", "records_in", value=5), {"counts_do_not_add_up"}),
        (edited("counts", "samples", value=5), {"counts_do_not_add_up"}),
        (edited("counts", "catalogue", "dead_letters", value=1), {"counts_do_not_add_up"}),
        (edited("counts", "leak_violations", value=2), {"leak_rule"}),
        (edited("counts", "items", value=2), {"wrong_record_count"}),
        (edited("counts", "vocabularies", "item_id", value=2), {"wrong_record_count"}),
        (edited("counts", value=[]), {"counts_do_not_add_up", "leak_rule"}),
        (edited("settings", "data.history_length", value=4), {"history_length"}),
        (edited("settings", "split.knowledge_history_cap", value=9), {"leak_rule"}),
        (edited("settings", value={}), {"damaged_manifest"}),
        (edited("files", "schema.pbtxt", "sha256", value="0" * 64), {"wrong_checksum"}),
        (edited("files", "schema.pbtxt", "bytes", value=1), {"wrong_size"}),
        (edited("files", value=3), {"damaged_manifest"}),
        (edited("shards", value=7), {"counts_do_not_add_up"}),
    ],
)
def test_an_edited_manifest(capsys, damaged, change, expected):
    edit_manifest(damaged / "examples", change)
    code, result, _ = validate(capsys, damaged / "examples")
    assert code == 1 and checks(result) == expected


def test_a_manifest_that_is_no_json(capsys, damaged):
    (damaged / "examples" / "manifest.json").write_text("{")
    code, result, err = validate(capsys, damaged)
    assert code == 1 and checks(result) == {"damaged_manifest"}
    assert "error: examples/manifest.json: not valid JSON" in err and len(result["steps"]) == 2


def test_damaged_item_attributes(capsys, damaged):
    path = damaged / "examples" / "item_attributes.parquet"
    table = pq.read_table(path)
    pq.write_table(table.slice(1), path)
    reseal(damaged / "examples")
    _, result, err = validate(capsys, damaged / "examples")
    assert checks(result) == {"wrong_record_count", "item_without_attributes"}
    assert f"lacks 1 items of the vocabulary, e.g. {table['item_id'][0]}" in err

    pq.write_table(table.take(list(range(len(table)))[::-1]), path)
    reseal(damaged / "examples")
    assert checks(validate(capsys, damaged / "examples")[1]) == {"not_sorted"}

    pq.write_table(table.drop_columns("rating_sum"), path)
    reseal(damaged / "examples")
    assert checks(validate(capsys, damaged / "examples")[1]) == {"wrong_type"}

    truncate(path)
    reseal(damaged / "examples")
    assert checks(validate(capsys, damaged / "examples")[1]) == {"damaged_file"}


def test_dead_letters_that_nobody_counted(capsys, damaged):
    with (damaged / "examples" / "dead_letters.jsonl").open("a") as file:
        file.write('{"file": "a.csv", "line": 9, "reason": "x", "detail": ""}\n')
    reseal(damaged / "examples")
    _, result, err = validate(capsys, damaged / "examples")
    assert checks(result) == {"counts_do_not_add_up"}
    assert "holds 2 dead letters, the manifest counts 1" in err


def test_a_damaged_schema(capsys, damaged):
    (damaged / "examples" / "schema_rerank.pbtxt").write_text("feature { name: 3 }")
    reseal(damaged / "examples")
    _, result, err = validate(capsys, damaged / "examples")
    assert checks(result) == {"damaged_file"} and "not a schema of examples" in err


def test_prompts_and_groups(capsys, damaged):
    prompts, groups = damaged / "prompts", damaged / "groups" / "item"
    for folder, step in ((prompts, "prompts"), (groups, "group item")):
        folder.mkdir(parents=True)
        (folder / "manifest.json").write_text(json.dumps({"step": step, "files": {}}))
    record = {"custom_id": "item/1", "source": "item", "entity_id": "1", "prompt": "What?"}
    line = json.dumps({**record, "extraction": "individual"})
    (prompts / "prompts.jsonl").write_text(f"{line}\n")
    edit_manifest(prompts, lambda manifest: manifest.update(written=[{"prompts": 1}]))
    (groups / "groups.csv").write_text("item_id,group_id\ni1,g1\ni2,g1\n")
    reseal(prompts)
    reseal(groups)
    code, result, _ = validate(capsys, damaged)
    assert code == 0
    assert result["steps"][str(prompts)]["prompts"] == 1
    assert result["steps"][str(groups)] == {"step": "group item", "entities": 2, "groups": 1}

    (prompts / "prompts.jsonl").write_text(f"{line}\n{line}\nno\n")
    (groups / "groups.csv").write_text("item_id,group_id\ni1,g1\ni1,g2\n,g3\n")
    reseal(prompts)
    reseal(groups)
    code, result, _ = validate(capsys, prompts, groups)
    assert code == 1
    assert checks(result) == {
        "duplicate_custom_id", "malformed_json", "duplicate_entity", "empty_id",
    }  # fmt: skip
    (groups / "groups.csv").write_text("a,b,c\n")
    reseal(groups)
    assert checks(validate(capsys, groups)[1]) == {"wrong_columns"}


def test_what_a_stopped_run_left_is_a_warning(capsys, damaged):
    (damaged / ".examples.partial").mkdir()
    code, result, err = validate(capsys, damaged)
    assert code == 0 and checks(result) == {"leftover"} and "next run removes it" in err
    code, result, _ = validate(capsys, damaged, "--strict")
    assert code == 3 and result["warnings"] == 1


def test_shards_of_two_runs(capsys, damaged):
    train = damaged / "examples" / "ctr" / "train"
    write_records(train / shard_name(0, 7), [])
    _, result, _ = validate(capsys, damaged / "examples")
    assert checks(result) == {"extra_file", "incomplete_shards"}


def test_wrong_usage(capsys, damaged, tmp_path):
    (tmp_path / "empty").mkdir()
    code, _, err = validate(capsys, tmp_path / "empty")
    assert code == 1 and "neither a work directory, nor the folder of a step" in err
    answers = tmp_path / "a.jsonl"
    answers.write_text("{}")
    code, _, err = validate(capsys, damaged, answers)
    assert code == 2 and "not both" in err
    code, _, err = validate(capsys, damaged / "examples" / "manifest.json")
    assert code == 2 and "name that folder" in err
    code, _, err = validate(capsys, largest_shard(damaged / "examples" / "ctr" / "train"))
    assert code == 2 and "a TFRecord file is checked with the folder" in err


def test_an_empty_examples_folder_is_told(capsys, damaged):
    shutil.rmtree(damaged / "examples" / "ctr")
    code, result, _ = validate(capsys, damaged)
    assert code == 1 and checks(result) == {"missing_file"}


def test_knowledge_about_few_or_none_of_the_samples_is_found(capsys, damaged):
    shutil.rmtree(damaged / "knowledge")
    write_knowledge_step(damaged, [("artist-2001", [1.0, 0.0, 2.0], "individual")])
    code, result, _ = validate(capsys, damaged)
    assert code == 1 and result["by_check"] == {"ids_do_not_meet": 1}
    (finding,) = result["findings"]
    for part in ("interactions.csv", "'i0'", "answers.jsonl", "'artist-2001'"):
        assert part in finding["message"]
    assert "import --ids FILE" in finding["fix"]
    shutil.rmtree(damaged / "knowledge")
    write_knowledge_step(damaged, VECTORS[:3])
    code, result, _ = validate(capsys, damaged)
    assert code == 0 and result["by_check"] == {"few_ids_meet": 1}
