from __future__ import annotations

import gzip
import json

import pyarrow.parquet as pq
import pytest

from preprocessing.__main__ import main
from preprocessing.records.tfrecord_file import read_records
from tests.preprocessing.work_folder import largest_shard


def inspect(capsys, *arguments: object) -> tuple[int, dict, str]:
    code = main(["inspect", "--json", *map(str, arguments)])
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err
    return code, json.loads(captured.out) if captured.out else {}, captured.err


def test_a_work_directory_lists_its_steps(capsys, work):
    code, view, err = inspect(capsys, work)
    assert code == 0 and view["kind"] == "work directory"
    assert list(view["steps"]) == ["examples", "knowledge/item"]
    manifest = json.loads((work / "examples" / "manifest.json").read_text())
    assert view["steps"]["examples"]["counts"] == manifest["counts"]
    assert view["steps"]["examples"]["bytes"] == sum(
        file["bytes"] for file in manifest["files"].values()
    )
    assert "knowledge/item:" in err and "records_in: 169" in err


def test_a_step_shows_counts_dead_letters_files_and_records(capsys, work):
    code, view, err = inspect(capsys, work / "examples", "--records", "2")
    assert code == 0 and view["kind"] == "step folder" and view["step"] == "examples"
    ((file, reasons),) = view["dead_letters"].items()
    assert file.endswith("interactions.csv") and reasons == {"duplicate_interaction": 1}
    assert view["settings"]["split.by"] == "time" and "schema.pbtxt" in view["files"]
    assert list(view["content"]) == ["ctr/train", "rerank/train", "retrieval/train"]
    ctr = view["content"]["ctr/train"]
    assert len(ctr["records"]) == 2 and ctr["all_records_read"]
    assert ctr["records_read"] == view["counts"]["examples"]["ctr"]["train"]
    assert ctr["features"]["label"]["maximum"] == 1.0
    assert len(view["content"]["rerank/train"]["records"][0]["item_id"]["first"]) == 3
    assert "record 2:" in err and "record 3:" not in err


def test_vectors_are_abbreviated_and_groups_shown(capsys, work):
    _, view, err = inspect(capsys, work / "knowledge" / "item", "--records", "1")
    knowledge = view["content"]["knowledge"]
    (record,) = knowledge["records"]
    assert record == {
        "entity_id": "i1",
        "vector": [0.5, -1.0, 0.25],
        "extraction": "individual",
        "group_id": "",
    }
    assert knowledge["features"]["vector"]["values_per_record"]["mean"] == 3
    assert "'individual' 2, 'collective' 1" in err


def test_one_record_file_and_the_limit(capsys, work):
    shard = largest_shard(work / "examples" / "ctr" / "train")
    count = sum(1 for _ in read_records(shard))
    _, view, _ = inspect(capsys, shard)
    assert view["records_read"] == count and view["all_records_read"]
    _, view, err = inspect(capsys, shard, "--limit", "4", "--records", "9")
    assert view["records_read"] == len(view["records"]) == 4 and not view["all_records_read"]
    assert "all_records_read: no" in err


@pytest.mark.parametrize("kind", ["ctr", "rerank", "retrieval"])
def test_a_folder_of_parts_shows_each_part(capsys, work, kind):
    code, view, err = inspect(capsys, work / "examples" / kind, "--records", "1")
    assert code == 0 and view["kind"] == "examples of one kind"
    counts = json.loads((work / "examples" / "manifest.json").read_text())["counts"]
    read = {part: shown["records_read"] for part, shown in view["parts"].items()}
    assert read == {part: count for part, count in counts["examples"][kind].items() if count}
    assert all(len(shown["records"]) == 1 for shown in view["parts"].values())
    assert "  validation:" in err and "    record 1:" in err


def test_a_folder_of_record_files(capsys, work):
    folder = work / "examples" / "rerank" / "test"
    code, view, err = inspect(capsys, folder, "--records", "2")
    assert code == 0 and view["kind"] == "folder of TFRecord files"
    files = folder.glob("part-*")
    assert view["records_read"] == sum(1 for path in files for _ in read_records(path)) > 2
    assert len(view["records"]) == 2 and "record 2:" in err


def test_item_attributes(capsys, work):
    path = work / "examples" / "item_attributes.parquet"
    _, view, _ = inspect(capsys, path)
    assert view["kind"] == "Parquet file" and view["rows"] == pq.read_table(path).num_rows == 40
    assert view["schema"]["genres"] == "list<element: string>"
    assert view["records"][0]["item_id"] == "i0"


def test_vocabulary_schema_and_manifest(capsys, work):
    folder = work / "examples"
    _, view, _ = inspect(capsys, folder / "vocabularies" / "genres.txt", "--records", "1")
    assert (view["values"], view["first"], view["last"]) == (2, ["Drama"], ["Comedy"])
    _, view, err = inspect(capsys, folder / "schema.pbtxt")
    assert view["features"]["history_item_id"] == {"type": "bytes_list", "values": "0 to 5"}
    assert "history_item_id" in err
    _, view, _ = inspect(capsys, folder / "manifest.json")
    manifest = json.loads((folder / "manifest.json").read_text())
    assert {name: view[name] for name in manifest} == manifest


def test_dead_letters_and_empty_files(capsys, work):
    _, view, err = inspect(capsys, work / "examples" / "dead_letters.jsonl")
    (reasons,) = view["by_reason"].values()
    assert reasons == {"duplicate_interaction": 1} and "same user, item and time" in err
    code, view, _ = inspect(capsys, work / "knowledge" / "item" / "dead_letters.jsonl")
    assert code == 0 and view["kind"] == "empty file"


def test_answers_prompts_and_tables(capsys, tmp_path):
    record = {"source": "item", "entity_id": "1", "extraction": "individual"}
    text = "A loud film about trains, made for those who like them. It ends well."
    answers = tmp_path / "a.jsonl.gz"
    with gzip.open(answers, "wt") as file:
        file.write(json.dumps({**record, "answer": text, "model": "m"}) + "\n")
        file.write(json.dumps({**record, "entity_id": "2", "answer": ""}) + "\n")
    _, view, err = inspect(capsys, answers)
    assert view["kind"] == "answers" and view["format"] == "records"
    assert view["records_read"] == 1 and view["models"] == {"m": 1}
    assert view["rejected_by_reason"] == {"blank_answer": 1} and "A loud film" in err

    klg = tmp_path / "k.klg"
    klg.write_text(json.dumps({"7": {"prompt": "What is 7?", "ans": text}}))
    _, view, _ = inspect(capsys, klg)
    assert view["format"] == "klg" and view["records"][0]["entity_id"] == "7"

    prompts = tmp_path / "p.jsonl"
    prompts.write_text(json.dumps({**record, "prompt": "x" * 1000}) + "\n")
    _, view, _ = inspect(capsys, prompts)
    assert view["kind"] == "prompts" and view["prompt_characters"]["maximum"] == 1000
    assert len(view["records"][0]["prompt"]) < 700

    groups = tmp_path / "groups.csv"
    groups.write_text("item_id,group_id\n1,g\n2,g\n")
    _, view, _ = inspect(capsys, groups, "--records", "1")
    assert view["columns"] == ["item_id", "group_id"] and view["rows_read"] == 2
    assert view["records"] == [{"item_id": "1", "group_id": "g"}]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.gz", b"\x1f\x8b\x08 but no more", "not valid GZIP data"),
        ("a.bin", b"\xff\xfe\xfd", "neither text nor a file that preprocessing writes"),
        ("a.md", b"# Title\n", "neither a file that preprocessing writes nor answers"),
        ("a.jsonl", b'{"a": 1\n', "neither JSON nor JSON lines"),
        ("a.jsonl", b'{"a": 1}\n', "has no format known here"),
        ("a.parquet", b"PAR1 and no more", "not a whole Parquet file"),
        ("a.txt", b"x\nx\n", "a value occurs twice"),
    ],
)
def test_what_cannot_be_shown_is_told(capsys, tmp_path, name, content, message):
    path = tmp_path / name
    path.write_bytes(content)
    code, view, err = inspect(capsys, path)
    assert (code, view) == (1, {}) and message in err and str(path) in err


def test_damaged_records_and_missing_paths(capsys, work, tmp_path):
    shard = largest_shard(work / "examples" / "ctr" / "train")
    cut = tmp_path / "cut.tfrecord.gz"
    cut.write_bytes(shard.read_bytes()[:-20])
    code, _, err = inspect(capsys, cut)
    assert code == 1 and "cut off" in err
    code, _, err = inspect(capsys, tmp_path / "none")
    assert code == 1 and "there is no such file or folder" in err
    (tmp_path / "empty").mkdir()
    code, _, err = inspect(capsys, tmp_path / "empty")
    assert code == 1 and "Name the work_dir of a scenario" in err
    (tmp_path / "empty" / "manifest.json").write_text("{}")
    code, _, err = inspect(capsys, tmp_path / "empty")
    assert code == 1 and "not a manifest" in err
