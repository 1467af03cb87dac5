from __future__ import annotations

import codecs
import gzip
import json

import pyarrow.parquet as pq
import pytest

from configs.command_line import CommandError
from preprocessing.__main__ import main
from preprocessing.inspection.inspect import (
    Kind,
    SchemaFeature,
    kind_of,
    read_manifest,
    read_schema,
    rendered,
    step_folders,
    view_step,
    view_work_directory,
)
from preprocessing.records.contract import DamagedRecords, FeatureType
from preprocessing.records.tfrecord_file import read_records, write_records
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
        ("a.arrow", b"ARROW1 and no more", "not a whole Arrow file"),
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
    assert code == 2 and "there is no file or folder '" in err
    (tmp_path / "empty").mkdir()
    code, _, err = inspect(capsys, tmp_path / "empty")
    assert code == 1 and "Name the work_dir of a scenario" in err


def test_a_step_of_text_files(tmp_path):
    files = {"prompts.jsonl": {"sha256": "", "bytes": 3}}
    manifest = {"step": "prompts", "files": files, "code_version": "v", "written": []}
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    (tmp_path / "prompts.jsonl").write_text('{"prompt": "What?", "source": "item"}\n')
    (tmp_path / "custom_ids.csv").write_text("custom_id,source,entity_id\nx,user,7\n")
    (tmp_path / "dead_letters.jsonl").write_text("")
    view = view_step(tmp_path, records=1, limit=10)
    assert view["step"] == "prompts" and view["files"] == {"prompts.jsonl": 3}
    assert view["dead_letters"] == {}
    assert view["content"]["prompts.jsonl"]["records"][0]["prompt"] == "What?"
    assert view["content"]["custom_ids.csv"]["rows_read"] == 1


def test_steps_of_a_work_directory_in_short(work):
    steps = view_work_directory(work)["steps"]
    assert steps["knowledge/item"]["encoder"] == {"kind": "toy", "dimension": 3}
    assert "settings" not in steps["examples"] and "content" not in steps["examples"]


MANIFEST = {"step": "examples", "files": {"a": {"sha256": "", "bytes": 0}}}


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("a", b"PAR1....", Kind.PARQUET),
        ("a", b"ARROW1..", Kind.ARROW),
        ("a.npz", b"PK\3\4", Kind.ARRAYS),
        ("a", b"", Kind.EMPTY),
        ("a.gz", gzip.compress(b"", mtime=0), Kind.EMPTY),
        ("a", json.dumps(MANIFEST, indent=2).encode(), Kind.MANIFEST),
        ("a", json.dumps(MANIFEST).encode(), Kind.MANIFEST),
        ("a", b'{"file": "a", "line": 1, "reason": "x"}\n', Kind.DEAD_LETTERS),
        ("a", b'\n{"prompt": "x", "custom_id": "y"}\n{', Kind.PROMPTS),
        ("a.gz", gzip.compress(b'{"prompt": "x", "answer": "y"}\n', mtime=0), Kind.ANSWERS),
        ("a", b'{"1": {"prompt": "x"}}', Kind.ANSWERS),
        ("a", b'feature {\n  name: "x"\n}\n', Kind.SCHEMA),
        ("a.csv", b"item_id,group_id\n", Kind.TABLE),
        ("a.txt", b"Crime, Drama\n", Kind.VALUES),
        ("a.txt", ("é" * 40_000).encode(), Kind.VALUES),
        # What is read ends in the middle of a character, wherever the first one begins.
        *[("a.txt", b"x" * start + ("影" * 30_000).encode(), Kind.VALUES) for start in range(3)],
        ("a", codecs.BOM_UTF8 + b'{"prompt": "x", "answer": "y"}\n' * 3_000, Kind.ANSWERS),
    ],
)
def test_content_tells_the_kind(tmp_path, name, content, kind):
    path = tmp_path / name
    path.write_bytes(content)
    assert kind_of(path) is kind


def test_record_files_of_any_name(tmp_path):
    path = tmp_path / "anything"
    write_records(path, [b"record"])
    assert kind_of(path) is Kind.TFRECORD


def test_steps_are_found_one_or_two_levels_down(tmp_path):
    for name in ("examples", "knowledge/item", "runs/a/b", ".examples.partial", "other"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "manifest.json").write_text(json.dumps(MANIFEST))
    (tmp_path / "other" / "manifest.json").write_text(json.dumps({"name": "not a step"}))
    names = [folder.relative_to(tmp_path).as_posix() for folder in step_folders(tmp_path)]
    assert names == ["examples", "knowledge/item"]
    assert kind_of(tmp_path) is Kind.WORK_DIRECTORY
    assert kind_of(tmp_path / "examples") is Kind.STEP
    (tmp_path / "examples" / "manifest.json").write_text("{")
    assert len(step_folders(tmp_path)) == 2


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not valid JSON"),
        ("{}", "not a manifest"),
        ('{"step": "x", "files": {"a": 3}}', "not a manifest"),
        ('{"step": "x", "files": {"a": {"bytes": 3}}}', "not a manifest"),
    ],
)
def test_a_manifest_must_be_whole(tmp_path, content, message):
    path = tmp_path / "manifest.json"
    path.write_text(content)
    with pytest.raises(CommandError, match=message):
        read_manifest(path)
    with pytest.raises(CommandError, match="cannot be read"):
        read_manifest(tmp_path / "none")


def test_views_become_lines():
    view = {
        "path": "a",
        "counts": {"in": 1234, "by_reason": {}, "shares": [0.5, None, True]},
        "records": [{"id": "x", "history": {"count": 1000, "first": [1], "last": [9]}}],
        "features": {
            "id": {
                "type": "bytes",
                "records": 2,
                "values_per_record": {"minimum": 1, "mean": 1.0, "maximum": 1},
                "distinct": 2,
                "most_common": [["x", 2]],
            },
            "score": {
                "type": "float32",
                "values_per_record": {"minimum": 0, "mean": 1.5, "maximum": 3},
                "minimum": -1.5,
                "not_finite": 3,
            },
        },
    }
    assert list(rendered(view)) == [
        "path: a",
        "counts:",
        "  in: 1,234",
        "  by_reason: none",
        "  shares: [0.5, -, yes]",
        "record 1:",
        "  id       x",
        "  history  [1, ..., 9] (1,000 values)",
        "features:",
        "  name   type     records  per record        distinct  minimum",
        "  id     bytes    2        1                 2                  often 'x' 2",
        "  score  float32           0 to 3, mean 1.5            -1.5     not finite 3",
    ]


TEXT = """
feature { name: "id" type: BYTES presence { min_count: 1 } shape { dim { size: 1 } } }
feature { name: "history" type: FLOAT value_count { min: 0 max: 200 } }
feature { name: "tags" type: INT value_count { min: 1 } }
feature { name: "matrix" type: FLOAT shape { dim { size: 2 } dim { size: 3 } } }
"""


def test_types_and_counts_of_a_schema(tmp_path):
    path = tmp_path / "schema.pbtxt"
    path.write_text(TEXT)
    schema = read_schema(path)
    assert schema == {
        "id": SchemaFeature(FeatureType.BYTES, 1, 1),
        "history": SchemaFeature(FeatureType.FLOAT, 0, 200),
        "tags": SchemaFeature(FeatureType.INT64, 1, None),
        "matrix": SchemaFeature(FeatureType.FLOAT, 6, 6),
    }
    counts = [feature.count for feature in schema.values()]
    assert counts == ["1", "0 to 200", "1 to any number", "6"]


@pytest.mark.parametrize("text", ["feature { nam: 3 }", 'feature { name: "x" type: STRUCT }', None])
def test_files_that_are_no_schema_are_refused(tmp_path, text):
    path = tmp_path / "schema.pbtxt"
    if text is not None:
        path.write_text(text)
    with pytest.raises(DamagedRecords, match="schema.pbtxt: not a schema of examples"):
        read_schema(path)


def test_people_read_stderr_and_programs_stdout(capsys, tmp_path):
    path = tmp_path / "genres.txt"
    path.write_text("Drama\nComedy\n")
    assert main(["inspect", str(path)]) == 0
    captured = capsys.readouterr()
    assert captured.out == "" and "values: 2" in captured.err
    assert main(["inspect", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["values"] == 2


@pytest.mark.parametrize("option", ["--records", "--limit"])
def test_numbers_are_checked(capsys, option):
    with pytest.raises(SystemExit) as raised:
        main(["inspect", "x", option, "0"])
    assert raised.value.code == 2 and "number greater than or equal to 1" in capsys.readouterr().err
