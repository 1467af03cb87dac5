from __future__ import annotations

import gzip
import hashlib
import json
import os
import tracemalloc
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from configs.command_line import CommandError, RejectedInput
from configs.loading import ConfigurationError
from preprocessing.answers.checks import Thresholds
from preprocessing.answers.importing import (
    AnswerSummary,
    ImportFolder,
    import_answers,
    summary_lines,
    validate_answers,
    writing,
    written_whole,
)
from preprocessing.answers.record import Answer, Location, answer_of, factor_text, parse_answer
from preprocessing.dead_letters import dead_letter
from tests.preprocessing.answers.small_files import (
    DOCUMENTS,
    TEXTS,
    batch_line,
    prompt,
    read_lines,
    record,
    write,
)


def test_records_dead_letters_and_summary(tmp_path):
    paths = [
        write(
            tmp_path / "batch.jsonl",
            [
                batch_line("item/2", TEXTS["2"]),
                batch_line("item/1", TEXTS["1"], "length"),
                b"{",
                batch_line("item/group/7", TEXTS["3"]),
            ],
        ),
        write(tmp_path / "texts.json", {"1": TEXTS["1"], "2": TEXTS["2"]}),
    ]
    out = tmp_path / "out"
    result = import_answers(paths, "item", out, model="m")
    answers = read_lines(out / "answers.jsonl")
    assert [(answer["custom_id"], answer["model"]) for answer in answers] == [
        ("item/2", "served-model"),
        ("item/group/7", "served-model"),
        ("item/1", "m"),
    ]
    for line in (out / "answers.jsonl").read_bytes().splitlines():
        assert parse_answer(line, "item", json.loads(line)["extraction"]).text
    letters = read_lines(out / "dead_letters.jsonl")
    assert [
        (Path(letter["file"]).name, letter["line"], letter["reason"]) for letter in letters
    ] == [
        ("batch.jsonl", 2, "truncated"),
        ("batch.jsonl", 3, "malformed_json"),
        ("texts.json", 2, "duplicate_entity"),
    ]
    assert result["read"] == 6 and result["accepted"] == 3 and result["rejected"] == 3
    assert result["rejected_by_reason"] == {
        "duplicate_entity": 1, "malformed_json": 1, "truncated": 1,
    }  # fmt: skip
    assert [(entry["format"], entry["read"], entry["accepted"]) for entry in result["files"]] == [
        ("openai-batch", 4, 2),
        ("id-text", 2, 1),
    ]
    assert result["files"][0]["sha256"] == hashlib.sha256(Path(paths[0]).read_bytes()).hexdigest()
    assert json.loads((out / "summary.json").read_text()) == result


def test_prompts_say_whom_a_pseudonym_stands_for_and_what_was_asked(tmp_path):
    asked = "A user watched Heat and gave it five stars. What does the user like about films?"
    prompts = write(
        tmp_path / "prompts", [prompt("user/f00", "42", asked), prompt("user/f01", "43", asked)]
    )
    lines = [
        batch_line("user/f00", TEXTS["1"]),
        batch_line("user/f01", f"{asked} {TEXTS['2']}"),
        batch_line("user/44", TEXTS["3"]),
    ]
    path = write(tmp_path / "batch", lines)
    result = import_answers([path], "user", tmp_path / "out", prompts=[prompts])
    assert result["rejected_by_reason"] == {"prompt_echo": 1, "unknown_custom_id": 1}
    (answer,) = read_lines(tmp_path / "out" / "answers.jsonl")
    assert answer["custom_id"] == "user/f00"
    assert (answer["entity_id"], answer["prompt"]) == ("42", asked)
    assert answer["prompt_sha256"] == hashlib.sha256(asked.encode()).hexdigest()
    with pytest.raises(ConfigurationError, match="--prompts: there is no file"):
        import_answers([path], "user", tmp_path / "out", prompts=[str(tmp_path / "none")])


def test_equal_inputs_give_equal_bytes_and_imported_answers_come_out_again(tmp_path):
    path = write(tmp_path / "file", DOCUMENTS["klg"])
    import_answers([path], "item", tmp_path / "a", compressed=True)
    import_answers([path], "item", tmp_path / "b", compressed=True)
    first = (tmp_path / "a" / "answers.jsonl.gz").read_bytes()
    assert (tmp_path / "b" / "answers.jsonl.gz").read_bytes() == first
    again = import_answers([str(tmp_path / "a" / "answers.jsonl.gz")], "item", tmp_path / "c")
    assert again["accepted"] == 3
    assert (tmp_path / "c" / "answers.jsonl").read_bytes() == gzip.decompress(first)
    in_place = str(tmp_path / "c" / "answers.jsonl")
    assert import_answers([in_place], "item", tmp_path / "c")["accepted"] == 3


def test_strict_writes_everything_and_then_refuses(tmp_path):
    path = write(tmp_path / "file", [record("1", TEXTS["1"]), record("1", TEXTS["1"])])
    with pytest.raises(RejectedInput) as raised:
        import_answers([path], "item", tmp_path / "out", strict=True)
    assert raised.value.result["rejected"] == 1
    assert len(read_lines(tmp_path / "out" / "answers.jsonl")) == 1
    fine = write(tmp_path / "file", [record("1", TEXTS["1"])])
    assert import_answers([fine], "item", tmp_path / "out", strict=True)["rejected"] == 0


@pytest.mark.parametrize(
    ("name", "data", "place"),
    [
        ("klg", b'{"1": {"answer": "x"},\n "2": {"answer"', "line 2, column 16"),
        ("auto", b"<html>\n", "line 1, column 1"),
        ("records", b"<html>\n", "line 1"),
    ],
)
def test_a_file_that_cannot_be_parsed_fails_and_leaves_nothing(tmp_path, name, data, place):
    document = DOCUMENTS["klg" if name == "klg" else "records"]
    good, bad = write(tmp_path / "good", document), tmp_path / "bad"
    bad.write_bytes(data)
    with pytest.raises(CommandError) as raised:
        import_answers([good, str(bad)], "item", tmp_path / "out", format_name=name)
    assert str(raised.value).startswith(f"{bad}: ") and place in str(raised.value)
    assert not list(tmp_path.glob("out/*")) + list(tmp_path.glob("out/.*"))


def test_wrong_usage(tmp_path):
    path = write(tmp_path / "file", DOCUMENTS["records"])
    with pytest.raises(ConfigurationError, match="no file"):
        import_answers([path, str(tmp_path / "none")], "item", tmp_path / "out")
    with pytest.raises(ConfigurationError, match="'a/b' becomes the name of files"):
        import_answers([path], "a/b", tmp_path / "out")
    cut = tmp_path / "cut.gz"
    cut.write_bytes(gzip.compress(b"x" * 1000)[:-9])
    with pytest.raises(CommandError, match="cut.gz: the file is cut off"):
        import_answers([str(cut)], "item", tmp_path / "out")


def test_the_bundled_answers_are_all_accepted(repository_root, tmp_path):
    folder = repository_root / "examples/movielens_small/answers"
    accepted = {}
    names = {"item_[ci]": "item", "user_individual": "user", "item_links": "links"}
    for name, source in (names | {"user_links": "user_links"}).items():
        paths = [str(path) for path in sorted(folder.glob(f"{name}*.jsonl.gz"))]
        expected = [entry for path in paths for entry in read_lines(Path(path))]
        result = import_answers(paths, source, tmp_path / source, strict=True)
        assert result["accepted"] == len(expected)
        accepted[source] = result["accepted"]
        written = read_lines(tmp_path / source / "answers.jsonl")
        assert [{**entry, "usage": None} for entry in expected] == written
    assert accepted["item"] + accepted["user"] == 3107
    assert (accepted["links"], accepted["user_links"]) == (9061, 671)
    assert result["quality"]["names"]["usable"] == 671 * 21


@pytest.mark.parametrize(
    ("name", "answers", "refusals"),
    [("item", 107, 0), ("user_positive", 135, 4), ("user_negative", 135, 5)],
)
def test_the_published_group_knowledge_of_reki(shared_data, tmp_path, name, answers, refusals):
    path = shared_data / "ml-1m" / "reki_published" / f"{name}_knowledge.json"
    result = import_answers([str(path)], name, tmp_path / "out")
    assert result["read"] == answers
    # Groups without titles: the model asked for them instead of answering.
    assert result["rejected_by_reason"] == ({"refusal": refusals} if refusals else {})
    written = {entry["entity_id"]: entry for entry in read_lines(tmp_path / "out/answers.jsonl")}
    for line in read_lines(path):
        if line["prompt"] in written:
            entry = written[line["prompt"]]
            assert entry["answer"] == line["choices"][0]["message"]["content"]
            assert entry["prompt"] == line["prompt_txt"]
            assert entry["usage"] == line["usage"]


def test_the_published_item_texts(shared_data, tmp_path):
    path = shared_data / "ml-1m" / "answers" / "colakg_item.json.gz"
    result = import_answers([str(path)], "item", tmp_path / "out", model="deepseek-chat")
    texts = json.loads(gzip.decompress(path.read_bytes()))
    blank = [entity for entity, text in texts.items() if not text.strip()]
    assert result["rejected_by_reason"] == {"blank_answer": len(blank)} and len(blank) == 1
    written = read_lines(tmp_path / "out/answers.jsonl")
    assert {entry["entity_id"]: entry["answer"] for entry in written} == {
        entity: text for entity, text in texts.items() if text.strip()
    }


def test_factors_of_imported_answers_can_be_encoded(tmp_path):
    factors = {"genre": TEXTS["1"], "plot": TEXTS["2"]}
    path = write(tmp_path / "a.jsonl", [record("1", TEXTS["3"], factors=factors)])
    import_answers([path], "item", tmp_path / "out", strict=True)
    (line,) = read_lines(tmp_path / "out" / "answers.jsonl")
    written = answer_of(line, "item", "individual")
    assert [factor_text(written, name) for name in factors] == [TEXTS["1"], TEXTS["2"]]


def odd_usage(entity_id: str, usage: str) -> bytes:
    line = json.dumps(batch_line(f"item/{entity_id}", TEXTS[entity_id]))
    counted = json.dumps({"prompt_tokens": 11, "completion_tokens": 5, "total_tokens": 16})
    assert counted in line
    return line.replace(counted, usage).encode()


def test_one_odd_record_never_ends_an_import(tmp_path):
    lines = [
        odd_usage("2", '{"total_tokens": 1e999}'),
        odd_usage("2", '{"total_tokens": ' + "9" * 4000 + "}"),
        odd_usage("2", '{"by": "\\ud800"}'),
        odd_usage("2", '{"a": ' * 400 + "1" + "}" * 400),
        odd_usage("2", '{"prompt_tokens": -7, "completion_tokens": 1.5}'),
        batch_line("item/1", TEXTS["1"]),
    ]
    result = import_answers([write(tmp_path / "b.jsonl", lines)], "item", tmp_path / "out")
    assert (result["accepted"], result["rejected"]) == (2, 4)
    assert [letter["reason"] for letter in read_lines(tmp_path / "out" / "dead_letters.jsonl")] == [
        "malformed_json", "wrong_type", "invalid_text", "wrong_type",
    ]  # fmt: skip
    assert result["quality"]["tokens"] == {"prompt_tokens": 11, "completion_tokens": 5}


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_a_line_without_end_costs_neither_memory_nor_the_others(tmp_path, suffix):
    start = json.dumps(record("2", "A film ")).encode()[:-2]
    lines = [record("1", TEXTS["1"]), start + b"x" * (64 << 20), record("3", TEXTS["3"])]
    path = write(tmp_path / f"answers.jsonl{suffix}", lines)
    del lines
    tracemalloc.start()
    result = import_answers([path], "item", tmp_path / "out")
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (result["accepted"], result["rejected_by_reason"]) == (2, {"line_too_long": 1})
    assert most < 48 << 20
    assert validate_answers([path])["rejected_by_reason"] == {"line_too_long": 1}


def test_any_number_of_lines_that_are_no_records_takes_bounded_memory(tmp_path):
    path = tmp_path / "answers.jsonl.gz"
    path.write_bytes(gzip.compress(b"x\n" * 2_000_000))
    with pytest.raises(CommandError, match="no line of 10,000 is a JSON object"):
        import_answers([str(path)], "item", tmp_path / "out", format_name="records")
    good = json.dumps(record("1", TEXTS["1"])).encode()
    path.write_bytes(gzip.compress(good + b"\n" + b"x\n" * 40_000))
    result = import_answers([str(path)], "item", tmp_path / "out")
    assert result["rejected_by_reason"] == {"malformed_json": 40_000}
    letters = read_lines(tmp_path / "out" / "dead_letters.jsonl")
    assert [letter["line"] for letter in letters] == list(range(2, 40_002))
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "answers.jsonl", "dead_letters.jsonl", "summary.json",
    ]  # fmt: skip


ARTISTS = {"artist-2001": "1", "artist-7": "2", "artist-9": "3"}


def test_ids_are_mapped_and_what_has_no_new_id_is_a_dead_letter(tmp_path):
    path = write(
        tmp_path / "artists.jsonl",
        [
            record("artist-2001", TEXTS["1"]),
            record("artist-8", TEXTS["2"]),
            record("artist-9", TEXTS["3"]),
            record(
                "g1", TEXTS["1"] + " Again.", extraction="collective", custom_id="item/group/g1"
            ),
        ],
    )
    ids = tmp_path / "ids.csv"
    ids.write_text("new,old,name\n" + "".join(f"{n},{o},x\n" for o, n in ARTISTS.items()))
    result = import_answers([path], "item", tmp_path / "out", ids=str(ids))
    answers = read_lines(tmp_path / "out" / "answers.jsonl")
    assert [(answer["entity_id"], answer["custom_id"]) for answer in answers] == [
        ("1", "item/1"),
        ("3", "item/3"),
        ("g1", "item/group/g1"),  # the id of a group stays
    ]
    letters = read_lines(tmp_path / "out" / "dead_letters.jsonl")
    assert [(letter["line"], letter["reason"]) for letter in letters] == [(2, "unknown_id")]
    assert (result["read"], result["accepted"], result["rejected"]) == (4, 3, 1)
    assert result["ids"] == {
        "file": str(ids),
        "sha256": hashlib.sha256(ids.read_bytes()).hexdigest(),
        "ids": 3,
        "ids_met": 2,
    }


def test_members_of_a_group_get_their_new_ids(tmp_path):
    group = {"extraction": "collective", "custom_id": "item/group/g1"}
    path = write(
        tmp_path / "groups.jsonl",
        [
            record("g1", TEXTS["1"], members=["artist-7", "artist-9"], **group),
            record("g2", TEXTS["2"], members=["artist-7", "artist-8"], **group),
        ],
    )
    ids = tmp_path / "ids.json"
    ids.write_text(json.dumps(ARTISTS))
    result = import_answers([path], "item", tmp_path / "out", ids=str(ids))
    (accepted,) = read_lines(tmp_path / "out" / "answers.jsonl")
    assert (accepted["entity_id"], accepted["members"]) == ("g1", ["2", "3"])
    assert result["rejected_by_reason"] == {"unknown_id": 1}
    assert result["ids"]["ids_met"] == 2


@pytest.mark.parametrize("name", ["ids.tsv", "ids.json", "ids.jsonl", "ids.parquet", "ids.csv.gz"])
def test_every_format_of_ids_maps_alike(tmp_path, name):
    path = tmp_path / name
    rows = [{"old": old, "new": int(new)} for old, new in ARTISTS.items()]
    if name == "ids.json":
        path.write_text(json.dumps({row["old"]: row["new"] for row in rows}))
    elif name == "ids.jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    elif name == "ids.parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif name == "ids.tsv":
        path.write_text("old\tnew\n" + "".join(f"{old}\t{new}\n" for old, new in ARTISTS.items()))
    else:
        text = "old,new\n" + "".join(f"{old},{new}.0\n" for old, new in ARTISTS.items())
        path.write_bytes(gzip.compress(text.encode()))
    answers = write(tmp_path / "a.json", {"artist-7": TEXTS["1"], "artist-9": TEXTS["2"]})
    import_answers([answers], "item", tmp_path / "out", ids=str(path))
    actual = read_lines(tmp_path / "out" / "answers.jsonl")
    assert [answer["entity_id"] for answer in actual] == ["2", "3"]


def test_two_old_ids_of_one_new_id_make_one_answer(tmp_path):
    answers = write(tmp_path / "a.json", {"x": TEXTS["1"], "y": TEXTS["2"]})
    ids = write(tmp_path / "ids.json", {"x": "1", "y": "1"})
    result = import_answers([answers], "item", tmp_path / "out", ids=ids)
    assert result["rejected_by_reason"] == {"duplicate_entity": 1}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("old,new\nx,1\nx,2\n", "line 3: its old id stands on line 2 already"),
        ("old,new\nx,1\ny,\n", "line 3: missing_new_id"),
        ("old,new\n1,x\n2,y\n", "they look like 'a', those of the column 'old' like '9'"),
    ],
)
def test_a_wrong_mapping_fails_and_nothing_is_written(tmp_path, text, message):
    answers = write(tmp_path / "a.json", {"x": TEXTS["1"], "y": TEXTS["2"]})
    ids = tmp_path / "ids.csv"
    ids.write_text(text)
    with pytest.raises(CommandError, match=message):
        import_answers([answers], "item", tmp_path / "out", ids=str(ids))
    assert not (tmp_path / "out" / "answers.jsonl").exists()


def test_a_mapping_without_its_columns_is_a_configuration_error(tmp_path):
    answers = write(tmp_path / "a.json", {"x": TEXTS["1"]})
    ids = tmp_path / "ids.csv"
    ids.write_text("from,to\nx,1\n")
    with pytest.raises(ConfigurationError, match="no column 'old'. Its columns: from, to"):
        import_answers([answers], "item", tmp_path / "out", ids=str(ids))


def test_validating_files_of_all_formats_writes_nothing(tmp_path, capsys):
    paths = [
        write(tmp_path / "batch", DOCUMENTS["openai-batch"]),
        write(tmp_path / "records", [record("9", "Sorry, I can't help.", source="user")]),
    ]
    before = sorted(tmp_path.iterdir())
    result = validate_answers(paths)
    assert sorted(tmp_path.iterdir()) == before
    assert (result["read"], result["accepted"], result["rejected"]) == (4, 3, 1)
    assert [entry["format"] for entry in result["files"]] == ["openai-batch", "records"]
    assert result["examples"]["refusal"] == [
        {"file": paths[1], "line": 1, "detail": "says 'Sorry'"}
    ]
    assert f"{paths[1]}:1: refusal: says 'Sorry'" in capsys.readouterr().err


def test_validating_by_source_and_thresholds_and_strictly(tmp_path):
    path = write(tmp_path / "records", [record("1", TEXTS["1"], source="user")])
    assert validate_answers([path], source="user", strict=True)["rejected"] == 0
    assert validate_answers([path], source="item")["rejected_by_reason"] == {"source_mismatch": 1}
    with pytest.raises(RejectedInput) as raised:
        validate_answers([path], thresholds=Thresholds(minimum_characters=999), strict=True)
    assert raised.value.result["rejected_by_reason"] == {"too_short": 1}


LISTS = [
    record("1", '{"links": ["Please Give", "Please Give (2010)", "N/A"]}'),
    record("2", '{"links": ["Please Give", "Please Give (2010)", "N/A"]}'),  # two may go with it
    record("3", '```json\n["Heat", "!"]\n```', finish_reason="length"),
    record("4", "I cannot help with that, as I am a language model."),
    record("5", "Heat, Ronin and Collateral are loved by the same people, as is Thief."),
    record("6", "text: prose", factors={"text": "A short text. It ends well.", "links": ["Heat"]}),
    record("7", "text: prose", factors={"text": "Too short", "links": ["Heat"]}),
]


def test_lists_of_names_are_judged_as_lists(tmp_path, capsys):
    path = write(tmp_path / "a.jsonl", LISTS)
    result = validate_answers([path])
    assert result["rejected_by_reason"] == {"refusal": 1, "too_short": 1, "truncated": 1}
    names = result["quality"]["names"]
    assert names == {
        "lists": 3, "names": 7, "usable": 3, "dropped": {"no_name": 2, "repeated_name": 2},
        "members_left_out": 0,
    }  # fmt: skip
    shown = capsys.readouterr().err
    assert "names: 7 in 3 lists, 3 of use; dropped: 2 no_name, 2 repeated_name" in shown
    strictly = validate_answers([path], thresholds=Thresholds(form="names"))
    assert strictly["rejected_by_reason"] == {
        "no_list": 1, "refusal": 1, "too_short": 1, "truncated": 1,
    }  # fmt: skip
    assert strictly["quality"]["names"] == names
    as_text = validate_answers([path], thresholds=Thresholds(form="text"))
    assert as_text["quality"]["names"] is None
    assert as_text["rejected_by_reason"]["refusal"] == 3  # "Please Give" is a film


def test_members_of_a_group_are_imported_from_the_prompts(tmp_path):
    asked = prompt("p1", "g1", "Each by itself: 1. ...", members=["a", "b"])
    asked |= {"source": "links", "extraction": "collective"}
    prompts = write(tmp_path / "prompts.jsonl", [asked])
    text = '{"links": {"1": ["Heat"]}}'
    answers = write(tmp_path / "batch.jsonl", [batch_line("p1", text)])
    result = import_answers([answers], "links", tmp_path / "out", prompts=[prompts])
    (imported,) = read_lines(tmp_path / "out" / "answers.jsonl")
    assert imported["members"] == ["a", "b"] and imported["answer"] == text
    assert result["quality"]["names"]["members_left_out"] == 1


def write_all(folder: ImportFolder, count: int = 1) -> None:
    with writing(folder) as writer:
        for number in range(count):
            writer.write(Answer("item", str(number), "individual", "Größe"))
        writer.write(dead_letter("f", 1, "refusal", "d"))
        writer.finish({"read": count + 1})


@pytest.mark.parametrize("compressed", [False, True])
def test_three_files_and_nothing_else(tmp_path, compressed):
    folder = ImportFolder(tmp_path / "deep" / "out", compressed)
    write_all(folder, 2)
    assert sorted(path.name for path in folder.path.iterdir()) == [
        "answers.jsonl.gz" if compressed else "answers.jsonl",
        "dead_letters.jsonl",
        "summary.json",
    ]
    assert [record["custom_id"] for record in read_lines(folder.answers)] == ["item/0", "item/1"]
    first = folder.answers.read_bytes()
    write_all(folder, 2)
    assert folder.answers.read_bytes() == first


def test_a_failed_import_leaves_the_earlier_one(tmp_path):
    folder = ImportFolder(tmp_path)
    (tmp_path / "notes.txt").write_text("mine")
    write_all(folder, 1)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(RuntimeError):
        with writing(folder) as writer:
            writer.write(Answer("item", "9", "individual", "new"))
            raise RuntimeError
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("name", ["answers.jsonl", "answers.jsonl.gz"])
def test_rejected_answers_of_an_input_in_the_folder_are_not_lost(tmp_path, name):
    lines = [record("1", TEXTS["1"]), record("2", " ")]
    path = write(tmp_path / "file", lines)
    kept = tmp_path / "out" / name
    kept.parent.mkdir()
    contents = Path(path).read_bytes()
    kept.write_bytes(gzip.compress(contents) if name.endswith("gz") else contents)
    before = kept.read_bytes()
    with pytest.raises(CommandError, match="blank_answer(.|\n)*is an input, too.*name another"):
        import_answers([str(kept)], "item", tmp_path / "out")
    assert kept.read_bytes() == before and [*kept.parent.iterdir()] == [kept]


def test_answers_are_added_to_those_in_the_folder(tmp_path):
    path, out = write(tmp_path / "file", [record("1", TEXTS["1"])]), tmp_path / "out"
    import_answers([path], "item", out)
    more = write(tmp_path / "more", [record("1", TEXTS["1"]), record("2", TEXTS["2"])])
    result = import_answers([str(out / "answers.jsonl"), more], "item", out)
    assert (result["accepted"], result["rejected"]) == (2, 1)
    assert [line["entity_id"] for line in read_lines(out / "answers.jsonl")] == ["1", "2"]


def test_an_import_without_an_answer_does_not_replace_an_earlier_one(tmp_path):
    path, out = write(tmp_path / "file", [record("1", TEXTS["1"])]), tmp_path / "out"
    assert import_answers([path], "item", out)["accepted"] == 1
    before = {file.name: file.read_bytes() for file in out.iterdir()}
    with pytest.raises(CommandError, match="file:1: source_mismatch(.|\n)*an earlier import"):
        import_answers([path], "items", out)
    assert {file.name: file.read_bytes() for file in out.iterdir()} == before
    assert import_answers([path], "items", tmp_path / "new")["accepted"] == 0


def test_leftovers_of_a_killed_import_and_answers_of_the_other_kind_go(tmp_path):
    (tmp_path / ".import.partial").mkdir()
    (tmp_path / ".import.partial" / "answers.jsonl").write_text("half")
    write_all(ImportFolder(tmp_path, compressed=True))
    write_all(ImportFolder(tmp_path))
    assert {path.name for path in tmp_path.iterdir()} == {
        "answers.jsonl", "dead_letters.jsonl", "summary.json",
    }  # fmt: skip


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "out").write_text("")
    with pytest.raises(ConfigurationError, match="this is a file; name a folder"):
        write_all(ImportFolder(tmp_path / "out"))
    with pytest.raises(ConfigurationError, match="this is a file"):
        with written_whole(tmp_path / "out", []):
            pass


@pytest.mark.parametrize("compressed", [False, True])
def test_a_full_disk_is_named_and_leaves_the_earlier_import(tmp_path, compressed):
    folder = ImportFolder(tmp_path, compressed)
    write_all(folder, 1)
    before = folder.answers.read_bytes()
    with pytest.raises(OSError, match="No space left on device: .*answers.jsonl"):
        with writing(folder) as writer:
            hidden = tmp_path / ".import.partial" / folder.answers.name
            descriptor = os.open("/dev/full", os.O_WRONLY)
            (number,) = [
                int(name)
                for name in os.listdir("/proc/self/fd")
                if os.path.realpath(f"/proc/self/fd/{name}") == str(hidden.resolve())
            ]
            os.dup2(descriptor, number)  # from now on the disk is full
            os.close(descriptor)
            for entity in range(300):
                writer.write(Answer("item", str(entity), "individual", os.urandom(99).hex()))
            writer.finish({"read": 300})
    assert folder.answers.read_bytes() == before


def test_files_appear_when_all_are_complete(tmp_path):
    out = tmp_path / "deep" / "out"
    with written_whole(out, ["a", "b"]) as hidden:
        (hidden / "a").write_text("1")
        (hidden / "b").write_text("2")
        assert not (out / "a").exists()
    assert {path.name: path.read_text() for path in out.iterdir()} == {"a": "1", "b": "2"}
    with pytest.raises(RuntimeError):
        with written_whole(out, ["a"]) as hidden:
            (hidden / "a").write_text("new")
            raise RuntimeError
    assert {path.name: path.read_text() for path in out.iterdir()} == {"a": "1", "b": "2"}


def test_a_second_import_into_one_folder_is_refused(tmp_path):
    with written_whole(tmp_path, ["a"]) as hidden:
        (hidden / "a").write_text("first")
        with pytest.raises(CommandError, match="another preprocessing run writes here"):
            with written_whole(tmp_path, ["a"]):
                pass
    assert (tmp_path / "a").read_text() == "first"


def test_counts_shares_and_percentiles():
    summary = AnswerSummary(["f"], ["records"])
    lengths = [3, 50, 7, 400, 12]
    answers = [
        Answer(
            "item",
            str(number),
            "collective" if number else "individual",
            "x" * length,
            "why?" if number < 2 else None,
            "m" if number else None,
            {"prompt_tokens": 2, "completion_tokens": number, "other": 5} if number else None,
            location=Location("f", number),
        )
        for number, length in enumerate(lengths)
    ]
    letters = [
        dead_letter("f", line, reason, f"detail {line}")
        for line, reason in enumerate(["refusal"] * 4 + ["truncated"], start=1)
    ]
    assert list(summary.counted([*answers, *letters])) == [*answers, *letters]
    assert summary.counts() == {
        "read": 10,
        "accepted": 5,
        "rejected": 5,
        "rejected_by_reason": {"refusal": 4, "truncated": 1},
    }
    quality = summary.quality()
    assert quality["share_by_reason"] == {"refusal": 0.4, "truncated": 0.1}
    assert quality["extractions"] == {"collective": 4, "individual": 1}
    assert quality["models"] == {"m": 4, "unknown": 1}
    assert quality["tokens"] == {"prompt_tokens": 8, "completion_tokens": 10}
    assert quality["without_prompt"] == 3
    characters = quality["characters"]
    assert (characters["minimum"], characters["median"], characters["maximum"]) == (3, 12, 400)
    assert characters["mean"] == pytest.approx(94.4)
    assert characters["p95"] == pytest.approx(np.quantile(lengths, 0.95))
    assert [example["line"] for example in summary.examples()["refusal"]] == [1, 2, 3]
    assert summary.examples()["truncated"] == [{"file": "f", "line": 5, "detail": "detail 5"}]
    json.dumps(quality, allow_nan=False)


def test_nothing_read():
    summary = AnswerSummary([], [])
    assert summary.counts()["read"] == 0
    assert summary.quality()["characters"] is None


def test_a_file_named_twice_is_counted_together():
    summary = AnswerSummary(["a", "b", "a"], ["klg", "records", "klg"])
    answers = [Answer("item", "1", "individual", "x", location=Location(file, 1)) for file in "ab"]
    assert len(list(summary.counted([*answers, dead_letter("a", 2, "refusal", "")]))) == 3
    assert summary.files() == [
        {"file": "a", "format": "klg", "read": 2, "accepted": 1, "rejected": 1},
        {"file": "b", "format": "records", "read": 1, "accepted": 1, "rejected": 0},
    ]


def test_lines_for_people_begin_with_the_most_frequent_reason():
    lengths = {"minimum": 10, "p5": 11.0, "median": 1050.5, "p95": 2000.0, "maximum": 3000}
    lines = list(
        summary_lines(
            {
                "read": 2000,
                "accepted": 1500,
                "rejected": 500,
                "rejected_by_reason": {"malformed_json": 100, "refusal": 400},
                "quality": {
                    "share_by_reason": {"malformed_json": 0.05, "refusal": 0.2},
                    "characters": lengths,
                    "extractions": {"individual": 1500},
                    "without_prompt": 0,
                    "names": {
                        **{"lists": 20, "names": 1200, "usable": 1199},
                        **{"dropped": {"no_name": 1}, "members_left_out": 3},
                    },
                },
            }
        )
    )
    assert lines[0] == "2,000 answers read, 1,500 accepted (1,500 individual), 500 rejected"
    assert lines[1].split()[:3] == ["400", "20.0%", "refusal:"]
    assert lines[2].split()[:3] == ["100", "5.0%", "malformed_json:"]
    assert lines[3] == "characters: 10 to 3,000, median 1,050, 90 % of them 11 to 2,000"
    assert lines[4] == (
        "names: 1,200 in 20 lists, 1,199 of use; dropped: 1 no_name; 3 members of groups have none"
    )
    assert len(lines) == 5


def rejected(reasons: dict[str, int], accepted: int = 0) -> str:
    total = sum(reasons.values())
    result = {
        "read": accepted + total,
        "accepted": accepted,
        "rejected": total,
        "rejected_by_reason": reasons,
        "quality": {
            "share_by_reason": dict.fromkeys(reasons, 0.5),
            "characters": None,
            "names": None,
            "extractions": {},
            "without_prompt": 0,
        },
    }
    return "\n".join(summary_lines(result))


def test_results_of_hashed_requests_are_sent_to_the_command_that_hashed_them():
    for reason in ("unknown_custom_id", "invalid_custom_id"):
        assert "--read-batch" in rejected({reason: 90, "failed_request": 9})
    assert "--read-batch" not in rejected({"unknown_custom_id": 90}, accepted=1)
    assert "--read-batch" not in rejected({"refusal": 2})
